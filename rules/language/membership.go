package language

import (
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/expr-lang/expr/ast"
)

// membership is x in y: whether a list holds a value, or an object has a member
// of that name.
func (c *compilation) membership(text *part, left, right ast.Node) ast.Node {
	if value, ok := literal(right); ok {
		if list, ok := value.([]any); ok {
			set := newConstantSet(list)
			return c.call(func(args ...any) (any, error) { return set.holds(text, args[0]) }, left)
		}
	}
	return c.priced(text, deep, func(args ...any) (any, error) {
		x, y := args[0], args[1]
		if x == nil || y == nil {
			return nil, nil
		}
		switch y := y.(type) {
		case []any:
			return listHolds(text, y, x)
		case map[string]any, objectLike:
			if kindOf(x) != event.TextKind {
				return nil, fmt.Errorf("`%s`: the members of an object have names, so %s cannot be in it", text, kindOf(x))
			}
			return memberOf(y, x) != nil, nil
		}
		hint := ""
		if kindOf(y) == event.TextKind {
			hint = "; for one of several write in [\"a\", \"b\"], for a text within another write contains"
		}
		return nil, fmt.Errorf("`%s`: in is for lists and objects, not for %s%s", text, kindOf(y), hint)
	}, left, right)
}

// listHolds looks for a value in a list. If it is not there, an absent element
// makes the answer unknown, as in SQL; a list in which nothing compares with the
// value is an error.
func listHolds(text *part, list []any, value any) (any, error) {
	if err := weigh(list, value); err != nil {
		return nil, fmt.Errorf("`%s`: %w", text, err)
	}
	kind := kindOf(value)
	var unlikely any
	comparable, unknown := false, false
	for _, element := range list {
		switch {
		case element == nil:
			unknown = true
		case kindOf(element) != kind:
			unlikely = element
		case same(element, value):
			return true, nil
		default:
			comparable = true
		}
	}
	if unknown {
		return nil, nil
	}
	if unlikely != nil && !comparable {
		return nil, unlike(text, value, unlikely)
	}
	return false, nil
}

// constantSet is a list of the expression itself, prepared for looking things up
// in it: the cost does not grow with its length.
type constantSet struct {
	list     []any
	texts    map[string]bool
	integers map[int64]bool
	// onlyTexts and onlyIntegers say that there is nothing else in the list, so
	// that what is not found is not there.
	onlyTexts, onlyIntegers bool
}

func newConstantSet(list []any) *constantSet {
	s := &constantSet{list: list, texts: map[string]bool{}, integers: map[int64]bool{}}
	for _, element := range list {
		if text, ok := element.(string); ok {
			s.texts[text] = true
		}
		if i, ok := asInteger(element); ok {
			s.integers[i] = true
		}
	}
	s.onlyTexts = len(list) > 0 && countKind(list, event.TextKind) == len(list)
	s.onlyIntegers = len(list) > 0 && countIntegers(list) == len(list)
	return s
}

func countKind(list []any, kind kind) (n int) {
	for _, element := range list {
		if kindOf(element) == kind {
			n++
		}
	}
	return n
}

func countIntegers(list []any) (n int) {
	for _, element := range list {
		if _, ok := asInteger(element); ok {
			n++
		}
	}
	return n
}

func (s *constantSet) holds(text *part, value any) (any, error) {
	if value == nil {
		return nil, nil
	}
	if t, ok := value.(string); ok && (s.onlyTexts || s.texts[t]) {
		return s.texts[t], nil
	}
	if i, ok := asInteger(value); ok && (s.onlyIntegers || s.integers[i]) {
		return s.integers[i], nil
	}
	return listHolds(text, s.list, value)
}
