package language

import (
	"encoding/json"
	"fmt"
	"math/bits"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/expr-lang/expr/ast"
)

// What one evaluation may do is bounded by counting steps, because the machine
// has no measure for work and the event decides how long lists and texts are. A
// step is an element that a condition over a list goes through. What is done for
// an element counts too, as far as it grows with the length of something that
// the event holds: else two lists of an event multiply. Outside conditions over
// lists each part of an expression runs once and costs about the length of its
// values, which max_body and maxText bound; so only what costs a product of two
// lengths counts there.

const (
	// maxSteps bounds the steps of one evaluation.
	maxSteps = 1_000_000
	// stepBytes is how much text counts as a step, stepElements how many elements
	// that an operation walks through by itself.
	stepBytes    = 64
	stepElements = 8
	// callSteps is how much more a function does with a character or an element
	// than comparing it takes.
	callSteps = 8
)

// costs tells how many steps an operation takes for its values.
type costs func(args []any) int

// shallow is the cost of what reads its texts, and the elements of its lists
// without looking into them.
func shallow(args []any) int {
	steps := 0
	for _, arg := range args {
		if list, ok := arg.([]any); ok {
			steps += len(list) / stepElements
		} else {
			steps += textSize(arg) / stepBytes
		}
	}
	return steps
}

// walked is the cost of what goes through the names of an object, and sorts them.
func walked(args []any) int {
	switch object := args[0].(type) {
	case map[string]any:
		return len(object)
	case groups:
		return len(object.keys)
	}
	return 0
}

// deep is the cost of what looks at all that is in its values.
func deep(args []any) int {
	left := maxWeight
	for _, arg := range args {
		if weighWithin(arg, &left, event.MaxDepth) != nil {
			return maxSteps
		}
	}
	return (maxWeight-left)/stepElements + shallow(args)
}

// ordered is the cost of what sorts a list.
func ordered(args []any) int {
	list, _ := args[0].([]any)
	return deep(args) * bits.Len(uint(len(list)))
}

// free is the cost of what does not depend on the length of its values.
func free([]any) int { return 0 }

// ofCall is the cost of a function that reads so much.
func (cost costs) ofCall() costs {
	return func(args []any) int { return cost(args) * callSteps }
}

// plus adds a fixed number of steps to a cost.
func (cost costs) plus(steps int) costs {
	return func(args []any) int { return cost(args) + steps }
}

// textSize is the length of a text, or of a number as it was written.
func textSize(v any) int {
	if text, ok := v.(string); ok {
		return len(text)
	}
	number, _ := v.(json.Number)
	return len(number)
}

// spend counts steps. The error names the part of the expression that took the
// last of them.
func (b *Bound) spend(steps int, text *part) error {
	if b.steps += steps; b.steps > maxSteps {
		return fmt.Errorf("`%s` and what is around it take more than %d steps; the lists or texts of the event are too long for it", text, maxSteps)
	}
	return nil
}

// priced is call for an operation whose cost depends on the lengths of its
// values. It is counted where it may run more than once: within a condition over
// a list.
func (c *compilation) priced(text *part, cost costs, fn func(args ...any) (any, error), args ...ast.Node) ast.Node {
	if c.predicates == 0 {
		return c.call(fn, args...)
	}
	return c.counted(text, cost, fn, args...)
}

// counted is priced for an operation that counts wherever it stands.
func (c *compilation) counted(text *part, cost costs, fn func(args ...any) (any, error), args ...ast.Node) ast.Node {
	for _, arg := range args {
		if c.configuredOf(arg) == nil {
			return c.callLater(func(args ...any) (any, error) {
				if err := args[0].(*Bound).spend(cost(args[1:]), text); err != nil {
					return nil, err
				}
				return fn(args[1:]...)
			}, append([]ast.Node{eventNode()}, args...)...)
		}
	}
	return c.call(fn, args...)
}
