package rules

import (
	"errors"
	"fmt"
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
	object := func(call func(object map[string]any, names []string) (any, error)) func(args []any) (any, error) {
		return func(args []any) (any, error) {
			object, ok := args[0].(map[string]any)
			if !ok {
				return nil, wrongKind("an object", args[0])
			}
			return call(object, sortedNames(object))
		}
	}
	for name, f := range map[string]function{
		"get":   {least: 2, most: 2}, // member access, which the compilation knows
		"first": {least: 1, most: 1, call: func(args []any) (any, error) { return memberOf(args[0], int64(0)), nil }},
		"last":  {least: 1, most: 1, call: func(args []any) (any, error) { return memberOf(args[0], int64(-1)), nil }},
		"take":  {least: 2, most: 2, call: firstFew},

		"keys": {least: 1, most: 1, call: object(func(_ map[string]any, names []string) (any, error) { return listOf(names), nil })},
		"values": {least: 1, most: 1, call: object(func(object map[string]any, names []string) (any, error) {
			values := listOf(names)
			for i, name := range names {
				values[i] = object[name]
			}
			return values, nil
		})},
		"toPairs": {least: 1, most: 1, call: object(func(object map[string]any, names []string) (any, error) {
			pairs := listOf(names)
			for i, name := range names {
				pairs[i] = []any{name, object[name]}
			}
			return pairs, nil
		})},
		"fromPairs": {least: 1, most: 1, call: list(fromPairs)},

		"count": {least: 1, most: 1, call: list(func(list []any) (any, error) { return countTrue(list), nil })},
		"sum":   {least: 1, most: 1, call: list(sum)},
		"reverse": {least: 1, most: 1, call: list(func(list []any) (any, error) {
			reversed := slices.Clone(list)
			slices.Reverse(reversed)
			return reversed, nil
		})},
		"uniq":    {least: 1, most: 1, call: list(unique)},
		"flatten": {least: 1, most: 1, call: list(func(list []any) (any, error) { return flatten(list) })},
		"concat":  {least: 1, most: -1, call: concatenate},
		"sort":    {least: 1, most: 2, call: sorted},
		"max":     {least: 1, most: -1, call: func(args []any) (any, error) { return extreme(args, 1) }},
		"min":     {least: 1, most: -1, call: func(args []any) (any, error) { return extreme(args, -1) }},
		"mean":    {least: 1, most: -1, call: mean},
		"median":  {least: 1, most: -1, call: median},
	} {
		functions[name] = f
	}
}

func firstFew(args []any) (any, error) {
	list, ok := args[0].([]any)
	if !ok {
		return nil, wrongKind("a list", args[0])
	}
	n, err := howMany(args[1])
	if err != nil {
		return nil, err
	}
	return list[:max(min(n, len(list)), 0)], nil
}

func fromPairs(pairs []any) (any, error) {
	object := make(map[string]any, len(pairs))
	for _, element := range pairs {
		pair, ok := element.([]any)
		if !ok || len(pair) != 2 {
			return nil, errors.New("it takes a list of pairs, each a list of name and value")
		}
		name, ok := pair[0].(string)
		if !ok {
			return nil, fmt.Errorf("the first of a pair is a name, not %s", kindOf(pair[0]))
		}
		object[name] = pair[1]
	}
	return object, nil
}

// unique keeps the first of equal elements. Comparing each with each is bounded,
// because a list can have a hundred thousand elements.
func unique(list []any) (any, error) {
	const most = 5000
	if err := weigh(list); err != nil {
		return nil, err
	}
	kept := []any{}
	seen := map[string]bool{}
	for _, element := range list {
		if text, ok := element.(string); ok {
			if !seen[text] {
				seen[text] = true
				kept = append(kept, element)
			}
			continue
		}
		if slices.ContainsFunc(kept, func(k any) bool { return same(k, element) }) {
			continue
		}
		if len(kept) >= most {
			return nil, fmt.Errorf("it compares lists of up to %d different elements", most)
		}
		kept = append(kept, element)
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

var errListSize = fmt.Errorf("a list would become longer than %d elements", maxElements)

func concatenate(args []any) (any, error) {
	all := []any{}
	for _, arg := range args {
		list, ok := arg.([]any)
		if !ok {
			return nil, wrongKind("lists", arg)
		}
		if len(all)+len(list) > maxElements {
			return nil, errListSize
		}
		all = append(all, list...)
	}
	return all, nil
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

// numbers collects the numbers among arguments, which may be lists of lists of
// them. ok is false when one is absent: what is made of all cannot be told then.
func numbers(args []any) (list []any, ok bool, err error) {
	all, err := flatten(args)
	if err != nil {
		return nil, false, err
	}
	for _, v := range all {
		if v == nil {
			return nil, false, nil
		}
		if !isNumber(v) {
			return nil, false, wrongKind("numbers", v)
		}
	}
	return all, len(all) > 0, nil
}

// extreme is the greatest number for sign 1, the least for -1.
func extreme(args []any, sign int) (any, error) {
	list, ok, err := numbers(args)
	if !ok || err != nil {
		return nil, err
	}
	return slices.MaxFunc(list, func(a, b any) int { return sign * compareNumbers(a, b) }), nil
}

func mean(args []any) (any, error) {
	list, ok, err := numbers(args)
	if !ok || err != nil {
		return nil, err
	}
	total, err := sum(list)
	if err != nil {
		return nil, err
	}
	return calculate("/", total, int64(len(list)))
}

func median(args []any) (any, error) {
	list, ok, err := numbers(args)
	if !ok || err != nil {
		return nil, err
	}
	slices.SortFunc(list, compareNumbers)
	middle := len(list) / 2
	if len(list)%2 == 1 {
		return list[middle], nil
	}
	return mean([]any{list[middle-1], list[middle]})
}

// addBitFunctions adds the functions on the bits of whole numbers.
func addBitFunctions(functions map[string]function) {
	errShift := errors.New("it cannot shift by less than 0 bits")
	for name, call := range map[string]func(a, b int64) (int64, error){
		"bitand":  func(a, b int64) (int64, error) { return a & b, nil },
		"bitor":   func(a, b int64) (int64, error) { return a | b, nil },
		"bitxor":  func(a, b int64) (int64, error) { return a ^ b, nil },
		"bitnand": func(a, b int64) (int64, error) { return a &^ b, nil },
		"bitshl": func(a, b int64) (int64, error) {
			if b < 0 {
				return 0, errShift
			}
			return a << b, nil
		},
		"bitshr": func(a, b int64) (int64, error) {
			if b < 0 {
				return 0, errShift
			}
			return a >> b, nil
		},
		"bitushr": func(a, b int64) (int64, error) {
			if b < 0 {
				return 0, errShift
			}
			return int64(uint64(a) >> b), nil
		},
	} {
		functions[name] = function{least: 2, most: 2, call: func(args []any) (any, error) {
			a, ok1 := wholeNumber(args[0])
			b, ok2 := wholeNumber(args[1])
			if !ok1 {
				return nil, wrongKind("whole numbers", args[0])
			}
			if !ok2 {
				return nil, wrongKind("whole numbers", args[1])
			}
			return call(a, b)
		}}
	}
	functions["bitnot"] = function{least: 1, most: 1, call: func(args []any) (any, error) {
		a, ok := wholeNumber(args[0])
		if !ok {
			return nil, wrongKind("a whole number", args[0])
		}
		return ^a, nil
	}}
}
