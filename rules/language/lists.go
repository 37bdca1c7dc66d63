package language

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// A condition over a list may be true, false or unknown for each element, which
// the machine's own loops do not know. So the machine makes the list of the
// answers (its "map"), and a fold turns list and answers into the result.

// maxElements bounds the lists that expressions make.
const maxElements = 1_000_000

// listFold makes the result of a function over a list of the elements and the
// answers for them.
type listFold func(elements, answers []any) (any, error)

var listFolds = map[string]listFold{
	"all":  func(_, answers []any) (any, error) { return kleene(answers, false) },
	"any":  func(_, answers []any) (any, error) { return kleene(answers, true) },
	"none": foldNone,
	"one":  foldOne,
	"filter": func(elements, answers []any) (any, error) {
		kept := []any{}
		for i, answer := range answers {
			if answer == true {
				kept = append(kept, elements[i])
			}
		}
		return kept, nil
	},
	"map":   func(_, answers []any) (any, error) { return answers, nil },
	"count": func(_, answers []any) (any, error) { return countTrue(answers), nil },
	"sum":   func(_, answers []any) (any, error) { return sum(answers) },
	"find": func(elements, answers []any) (any, error) {
		if i := slices.Index(answers, any(true)); i >= 0 {
			return elements[i], nil
		}
		return nil, nil
	},
	"findIndex": func(_, answers []any) (any, error) {
		if i := slices.Index(answers, any(true)); i >= 0 {
			return int64(i), nil
		}
		return nil, nil
	},
	"findLast": func(elements, answers []any) (any, error) {
		for i := len(answers) - 1; i >= 0; i-- {
			if answers[i] == true {
				return elements[i], nil
			}
		}
		return nil, nil
	},
	"findLastIndex": func(_, answers []any) (any, error) {
		for i := len(answers) - 1; i >= 0; i-- {
			if answers[i] == true {
				return int64(i), nil
			}
		}
		return nil, nil
	},
	"groupBy": foldGroups,
}

// answersAreConditions names the functions whose answers are true, false or
// unknown.
var answersAreConditions = []string{
	"all", "any", "none", "one", "filter", "count", "find", "findIndex", "findLast", "findLastIndex",
}

// kleene is deciding if one answer is, else unknown if one is unknown.
func kleene(answers []any, deciding bool) (any, error) {
	unknown := false
	for _, answer := range answers {
		switch answer {
		case deciding:
			return deciding, nil
		case nil:
			unknown = true
		}
	}
	if unknown {
		return nil, nil
	}
	return !deciding, nil
}

func foldNone(_, answers []any) (any, error) {
	some, err := kleene(answers, true)
	if known, ok := some.(bool); ok {
		return !known, err
	}
	return nil, err
}

// foldOne is whether exactly one answer is true, whatever the unknown ones are.
func foldOne(_, answers []any) (any, error) {
	unknown := slices.Contains(answers, any(nil))
	switch n := countTrue(answers); {
	case n > 1:
		return false, nil
	case unknown:
		return nil, nil
	default:
		return n == 1, nil
	}
}

func countTrue(answers []any) (n int64) {
	for _, answer := range answers {
		if answer == true {
			n++
		}
	}
	return n
}

// sum is absent when one of its parts is: a total that leaves something out is
// not the total.
func sum(parts []any) (any, error) {
	var total any = int64(0)
	for _, part := range parts {
		if part == nil {
			return nil, nil
		}
		if !isNumber(part) {
			return nil, fmt.Errorf("it adds up numbers, and one of them is %s", kindOf(part))
		}
		var err error
		if total, err = calculate("+", total, part); err != nil {
			return nil, err
		}
	}
	return total, nil
}

// foldGroups makes lists by answer; elements without an answer are in no group.
func foldGroups(elements, answers []any) (any, error) {
	result := groups{lists: map[string][]any{}}
	for i, answer := range answers {
		if answer == nil {
			continue
		}
		id, err := identity(answer)
		if err != nil {
			return nil, err
		}
		if _, met := result.lists[id]; !met {
			result.keys = append(result.keys, answer)
		}
		result.lists[id] = append(result.lists[id], elements[i])
	}
	return result, nil
}

// overList rewrites a function that takes a list and a condition.
func (c *compilation) overList(n *ast.BuiltinNode) ast.Node {
	// The list is made once, so conditions that make it do not multiply with this
	// one: a pipe of them is not nested.
	list := c.rewrite(n.Arguments[0])
	var third ast.Node
	if len(n.Arguments) > 2 {
		third = c.rewrite(n.Arguments[2])
	}
	c.predicates++
	if c.predicates > maxPredicates {
		c.predicates--
		return c.fail(fmt.Errorf("`%s`: conditions over lists may be nested %d deep, because each level multiplies the work", partOf(n), maxPredicates))
	}
	predicate := c.rewrite(n.Arguments[1].(*ast.PredicateNode).Node)
	c.predicates--
	if _, ok := predicate.(*ast.CallNode); !ok {
		// expr's checker refuses a condition of which it can tell that it is nil.
		predicate = c.callLater(func(args ...any) (any, error) { return args[0], nil }, predicate)
	}
	text := partOf(n)
	return c.hold(c.callLater(elements(text), eventNode(), list), func(held func() ast.Node) ast.Node {
		return choose(c.call(isAbsent, held()), &ast.NilNode{}, c.loop(n.Name, text, held, predicate, third))
	})
}

// loop is the part of overList that runs when there is a list.
func (c *compilation) loop(name string, text *part, held func() ast.Node, predicate, third ast.Node) ast.Node {
	switch name {
	case "reduce":
		arguments := []ast.Node{held(), &ast.PredicateNode{Node: predicate}}
		if third != nil {
			return &ast.BuiltinNode{Name: name, Arguments: append(arguments, third)}
		}
		// The machine fails on an empty list; what it would have given is absent.
		empty := func(args ...any) (any, error) { return len(args[0].([]any)) == 0, nil }
		return choose(c.call(empty, held()), &ast.NilNode{}, &ast.BuiltinNode{Name: name, Arguments: arguments})
	case "sortBy":
		if third == nil {
			third = constantNode("asc")
		}
		return c.counted(text, func(args []any) int { return ordered(args[1:2]) }, func(args ...any) (any, error) {
			sorted, err := sortBy(args[0].([]any), args[1].([]any), args[2])
			if err != nil {
				return nil, fmt.Errorf("`%s`: %w", text, err)
			}
			return sorted, nil
		}, held(), answers(held(), predicate), third)
	}
	fold := listFolds[name]
	if fold == nil {
		return c.fail(fmt.Errorf("`%s`: %s is not known here", text, name))
	}
	conditions := slices.Contains(answersAreConditions, name)
	// Answers of other folds can be long: what groupBy and sum look at.
	cost := free
	if !conditions && name != "map" {
		cost = func(args []any) int { return deep(args[1:2]) }
	}
	return c.counted(text, cost, func(args ...any) (any, error) {
		answers := args[1].([]any)
		for _, answer := range answers {
			if _, known := answer.(bool); conditions && !known && answer != nil {
				return nil, fmt.Errorf("`%s`: the condition is %s, but must be true or false", text, kindOf(answer))
			}
		}
		result, err := fold(args[0].([]any), answers)
		if err != nil {
			return nil, fmt.Errorf("`%s`: %w", text, err)
		}
		return result, nil
	}, held(), answers(held(), predicate))
}

// answers is the list of what a condition gives for each element.
func answers(list, predicate ast.Node) ast.Node {
	return &ast.BuiltinNode{Name: "map", Arguments: []ast.Node{list, &ast.PredicateNode{Node: predicate}}}
}

// elements lets a list or nothing pass, and counts the work to come.
func elements(text *part) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		if args[1] == nil {
			return nil, nil
		}
		list, ok := args[1].([]any)
		if !ok {
			return nil, fmt.Errorf("`%s` goes through a list, not %s%s", text, kindOf(args[1]), listHint(text.node))
		}
		return list, args[0].(*Bound).spend(len(list), text)
	}
}

// listHint says what to write in place of the list that a function goes through,
// where a sender writes a list only when there are several.
func listHint(node ast.Node) string {
	n, ok := node.(*ast.BuiltinNode)
	if !ok || len(n.Arguments) == 0 {
		return ""
	}
	return fmt.Sprintf("; if it may be one or several, write list(%s)", partOf(n.Arguments[0]))
}

// sortBy sorts elements by their keys, ascending or descending. Equal keys keep
// their order; elements without a key come last.
func sortBy(elements, keys []any, direction any) (any, error) {
	if direction != "asc" && direction != "desc" {
		if direction == nil {
			return nil, nil
		}
		return nil, fmt.Errorf(`the order is "asc" or "desc"`)
	}
	places := make([]int, len(elements))
	for i := range places {
		places[i] = i
	}
	var err error
	slices.SortStableFunc(places, func(i, j int) int {
		a, b := keys[i], keys[j]
		if a == nil || b == nil {
			return compareInts(boolInt(a == nil), boolInt(b == nil))
		}
		result, ok := order(a, b)
		if !ok {
			err = fmt.Errorf("it cannot order %s and %s", kindOf(a), kindOf(b))
		}
		if direction == "desc" {
			return -result
		}
		return result
	})
	if err != nil {
		return nil, err
	}
	sorted := make([]any, len(elements))
	for i, place := range places {
		sorted[i] = elements[place]
	}
	return sorted, nil
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
