package language

import (
	"maps"
	"slices"
)

// addListFunctions adds the functions that take lists and objects.
func addListFunctions(functions map[string]function) {
	list := func(call func(list []any) (any, error)) func(args []any) (any, error) {
		return func(args []any) (any, error) {
			list, ok := args[0].([]any)
			if !ok {
				return nil, wrongKind("a list", args[0])
			}
			return call(list)
		}
	}
	members := func(of func(name any, value any) any) func(args []any) (any, error) {
		return func(args []any) (any, error) {
			if groups, ok := args[0].(groups); ok {
				list := make([]any, len(groups.keys))
				for i, key := range groups.keys {
					list[i] = of(key, groups.get(key))
				}
				return list, nil
			}
			object, ok := args[0].(map[string]any)
			if !ok {
				return nil, wrongKind("an object", args[0])
			}
			all := listOf(slices.Sorted(maps.Keys(object)))
			for i, name := range all {
				all[i] = of(name, object[name.(string)])
			}
			return all, nil
		}
	}
	for name, f := range map[string]function{
		"get":   {least: 2, most: 2}, // member access, which the compilation knows
		"first": {least: 1, most: 1, call: func(args []any) (any, error) { return memberOf(args[0], int64(0)), nil }, cost: free},
		"last":  {least: 1, most: 1, call: func(args []any) (any, error) { return memberOf(args[0], int64(-1)), nil }, cost: free},
		"take":  {least: 2, most: 2, call: takeFew, cost: free},
		"list":  {least: 1, most: 1, call: listOfOneOrMany, absent: true, cost: free},

		"keys":    {least: 1, most: 1, call: members(func(name, _ any) any { return name }), cost: walked, grouped: true},
		"values":  {least: 1, most: 1, call: members(func(_, value any) any { return value }), cost: walked, grouped: true},
		"toPairs": {least: 1, most: 1, call: members(func(name, value any) any { return []any{name, value} }), cost: walked, grouped: true},

		"count":   {least: 1, most: 1, call: list(func(list []any) (any, error) { return countTrue(list), nil })},
		"sum":     {least: 1, most: 1, call: list(sum), cost: deep},
		"uniq":    {least: 1, most: 1, call: list(unique), cost: deep},
		"flatten": {least: 1, most: 1, call: list(func(list []any) (any, error) { return flatten(list) }), cost: deep},
		"sort":    {least: 1, most: 2, call: sorted, cost: ordered},
	} {
		functions[name] = f
	}
}

// listOfOneOrMany makes a list of what senders write as a list only when there
// are several: the children of an XML element, the values of a form's field.
func listOfOneOrMany(args []any) (any, error) {
	switch v := args[0].(type) {
	case nil:
		return []any{}, nil
	case []any:
		return v, nil
	default:
		return []any{v}, nil
	}
}

func takeFew(args []any) (any, error) {
	list, ok := args[0].([]any)
	if !ok {
		return nil, wrongKind("a list", args[0])
	}
	n, ok := wholeNumber(args[1])
	if !ok {
		return nil, wrongKind("a whole number", args[1])
	}
	return list[:max(min(n, int64(len(list))), 0)], nil
}

// unique keeps the first of equal elements.
func unique(list []any) (any, error) {
	if err := weigh(list); err != nil {
		return nil, err
	}
	kept := []any{}
	seen := map[string]bool{}
	for _, element := range list {
		key, err := identity(element)
		if err != nil {
			return nil, err
		}
		if !seen[key] {
			seen[key] = true
			kept = append(kept, element)
		}
	}
	return kept, nil
}

func flatten(list []any) ([]any, error) {
	if err := weigh(list); err != nil {
		return nil, err
	}
	return appendFlat([]any{}, list), nil
}

func appendFlat(flat, list []any) []any {
	for _, element := range list {
		if inner, ok := element.([]any); ok {
			flat = appendFlat(flat, inner)
		} else {
			flat = append(flat, element)
		}
	}
	return flat
}

func sorted(args []any) (any, error) {
	list, ok := args[0].([]any)
	if !ok {
		return nil, wrongKind("a list", args[0])
	}
	var direction any = "asc"
	if len(args) == 2 {
		direction = args[1]
	}
	return sortBy(list, list, direction)
}
