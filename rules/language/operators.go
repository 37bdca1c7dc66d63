package language

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/expr-lang/expr/ast"
)

// The helpers in this file have the shape of expr's functions. text is the part
// of the expression that they stand for, for messages. Messages name types and
// never values, which belong to the event.

// maxText bounds texts that expressions make, in bytes.
const maxText = 16 << 20

var errTextSize = fmt.Errorf("a text would become longer than %d MiB", maxText>>20)

func isTrue(args ...any) (any, error)   { return args[0] == true, nil }
func isFalse(args ...any) (any, error)  { return args[0] == false, nil }
func isAbsent(args ...any) (any, error) { return args[0] == nil, nil }

// truth lets true, false and unknown pass.
func truth(text *part) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		switch args[0].(type) {
		case nil, bool:
			return args[0], nil
		}
		return nil, fmt.Errorf("`%s` is %s, but must be true or false", text, kindOf(args[0]))
	}
}

func negate(text *part) func(args ...any) (any, error) {
	check := truth(text)
	return func(args ...any) (any, error) {
		v, err := check(args...)
		if known, ok := v.(bool); ok {
			return !known, nil
		}
		return nil, err
	}
}

func (c *compilation) unary(n *ast.UnaryNode) ast.Node {
	operand := partOf(n.Node)
	switch n.Operator {
	case "not", "!":
		return c.call(negate(operand), c.rewrite(n.Node))
	case "-", "+":
		operator := n.Operator
		return c.call(func(args ...any) (any, error) {
			switch v := args[0].(type) {
			case nil:
				return nil, nil
			case time.Duration:
				if operator == "-" {
					return -v, nil
				}
				return v, nil
			}
			if !isNumber(args[0]) {
				return nil, fmt.Errorf("`%s%s`: %s is for numbers, not for %s", operator, operand, operator, kindOf(args[0]))
			}
			return calculate(operator, int64(0), args[0])
		}, c.rewrite(n.Node))
	}
	return c.fail(fmt.Errorf("operator %s is not known here", n.Operator))
}

func (c *compilation) binary(n *ast.BinaryNode) ast.Node {
	text := partOf(n)
	switch n.Operator {
	case "and", "&&":
		return c.junction(n, false)
	case "or", "||":
		return c.junction(n, true)
	case "??":
		return c.hold(c.rewrite(n.Left), func(held func() ast.Node) ast.Node {
			return choose(c.call(isAbsent, held()), c.rewrite(n.Right), held())
		})
	}
	if n.Operator == "==" || n.Operator == "!=" || n.Operator == "in" {
		c.checkWeekdays(n)
	}
	left, right := c.rewrite(n.Left), c.rewrite(n.Right)
	switch n.Operator {
	case "==", "!=":
		result := c.equality(text, left, right)
		if n.Operator == "!=" {
			return c.call(negate(text), result)
		}
		return result
	case "<":
		return c.priced(text, shallow, ordering(text, func(o int) bool { return o < 0 }), left, right)
	case "<=":
		return c.priced(text, shallow, ordering(text, func(o int) bool { return o <= 0 }), left, right)
	case ">":
		return c.priced(text, shallow, ordering(text, func(o int) bool { return o > 0 }), left, right)
	case ">=":
		return c.priced(text, shallow, ordering(text, func(o int) bool { return o >= 0 }), left, right)
	case "in":
		return c.membership(text, left, right)
	case "contains":
		return c.priced(text, shallow, onTexts(text, n.Operator, strings.Contains), left, right)
	case "startsWith":
		return c.priced(text, shallow, onTexts(text, n.Operator, strings.HasPrefix), left, right)
	case "endsWith":
		return c.priced(text, shallow, onTexts(text, n.Operator, strings.HasSuffix), left, right)
	case "matches":
		_, written := n.Right.(*ast.StringNode)
		return c.matching(text, left, right, written)
	case "..":
		return c.priced(text, spreadCost, spread(text), left, right)
	}
	return c.priced(text, arithmeticCost(n.Operator), arithmetic(text, n.Operator), left, right)
}

// junction is "and" when deciding is false, "or" when it is true: the value that
// decides whatever the other side is.
func (c *compilation) junction(n *ast.BinaryNode, deciding bool) ast.Node {
	for _, side := range []ast.Node{n.Left, n.Right} {
		if value, ok := literal(side); ok && value != nil && kindOf(value) != event.BoolKind {
			return c.fail(fmt.Errorf("`%s` stands alone beside %s, but must be true or false; to compare with several values write: x in [\"a\", \"b\"]", partOf(side), n.Operator))
		}
	}
	left := c.call(truth(partOf(n.Left)), c.rewrite(n.Left))
	decides := isFalse
	if deciding {
		decides = isTrue
	}
	check := truth(partOf(n.Right))
	join := func(args ...any) (any, error) {
		right, err := check(args[1])
		switch {
		case err != nil:
			return nil, err
		case right == deciding:
			return deciding, nil
		case args[0] == nil || right == nil:
			return nil, nil
		}
		return !deciding, nil
	}
	return c.hold(left, func(held func() ast.Node) ast.Node {
		return choose(c.call(decides, held()), constantNode(deciding), c.call(join, held(), c.rewrite(n.Right)))
	})
}

// unlike is the error for values that do not compare. It is an error and not
// false, because a condition that can never hold should be seen.
func unlike(text *part, a, b any) error {
	hint := ""
	if isNumber(a) != isNumber(b) && (kindOf(a) == event.TextKind || kindOf(b) == event.TextKind) {
		hint = "; convert one of them with int(), float() or string()"
	}
	return fmt.Errorf("`%s` compares %s with %s%s", text, kindOf(a), kindOf(b), hint)
}

func ordering(text *part, holds func(order int) bool) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		a, b := args[0], args[1]
		if a == nil || b == nil {
			return nil, nil
		}
		result, ok := order(a, b)
		if !ok {
			return nil, unlike(text, a, b)
		}
		return holds(result), nil
	}
}

func (c *compilation) equality(text *part, left, right ast.Node) ast.Node {
	for _, sides := range [][2]ast.Node{{left, right}, {right, left}} {
		if value, ok := literal(sides[1]); ok && value == nil {
			return c.call(isAbsent, sides[0])
		}
	}
	return c.priced(text, deep, func(args ...any) (any, error) {
		a, b := args[0], args[1]
		if a == nil || b == nil {
			return nil, nil
		}
		if x, ok := a.(string); ok {
			if y, ok := b.(string); ok {
				return x == y, nil
			}
		}
		if kindOf(a) != kindOf(b) {
			return nil, unlike(text, a, b)
		}
		if err := weigh(a, b); err != nil {
			return nil, fmt.Errorf("`%s`: %w", text, err)
		}
		return same(a, b), nil
	}, left, right)
}

func onTexts(text *part, operator string, holds func(a, b string) bool) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		if args[0] == nil || args[1] == nil {
			return nil, nil
		}
		a, aIsText := args[0].(string)
		b, bIsText := args[1].(string)
		if !aIsText || !bIsText {
			hint := ""
			if kindOf(args[0]) == event.ListKind {
				hint = `; for lists write "x" in list`
			}
			return nil, fmt.Errorf("`%s`: %s is for texts, not for %s and %s%s", text, operator, kindOf(args[0]), kindOf(args[1]), hint)
		}
		return holds(a, b), nil
	}
}

// pattern is a regular expression as a value. It is not a pointer, because the
// machine follows pointers.
type pattern struct{ *regexp.Regexp }

// matching compiles a configured pattern once. One that comes with the event is
// bounded, because the time to compile it is not. What is wrong with a pattern
// is quoted only if it is written in the expression: it may be a secret.
func (c *compilation) matching(text *part, left, right ast.Node, written bool) ast.Node {
	const maxPattern = 1000
	wrong := func(err error) error {
		if !written {
			return fmt.Errorf("`%s`: the pattern is not a regular expression", text)
		}
		return fmt.Errorf("`%s`: %w", text, err)
	}
	if value := c.configuredOf(right); value != nil {
		compiled, err := combine([]*configured{value}, func(tenant string) (any, error) {
			switch source := value.of(tenant).(type) {
			case nil:
				return nil, nil
			case string:
				compiled, err := regexp.Compile(source)
				if err != nil {
					return nil, wrong(err)
				}
				return pattern{compiled}, nil
			default:
				return nil, fmt.Errorf("`%s`: a pattern must be text, not %s", text, kindOf(source))
			}
		})
		if err != nil {
			return c.fail(err)
		}
		return c.priced(text, patternCost, func(args ...any) (any, error) {
			compiled, ok := args[1].(pattern)
			if text, isText := args[0].(string); ok && isText {
				return compiled.MatchString(text), nil
			}
			if !ok {
				return nil, nil
			}
			return onTexts(text, "matches", nil)(args[0], "")
		}, left, c.configuredNode(compiled))
	}
	return c.callLater(func(args ...any) (any, error) {
		bound, args := args[0].(*Bound), args[1:]
		pattern, ok := args[1].(string)
		matched, isText := args[0].(string)
		if !ok || !isText {
			return onTexts(text, "matches", nil)(args...)
		}
		if len(pattern) > maxPattern {
			return nil, fmt.Errorf("`%s`: the pattern is longer than %d bytes", text, maxPattern)
		}
		// A short pattern can stand for a large program: (a{30}){30}.
		parsed, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return nil, wrong(err)
		}
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			return nil, wrong(err)
		}
		size := len(program.Inst)
		if err := bound.spend(size/stepElements+size*len(matched)/stepBytes, text); err != nil {
			return nil, err
		}
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			return nil, wrong(err)
		}
		return compiled.MatchString(matched), nil
	}, eventNode(), left, right)
}

// patternCost is the cost of looking for a pattern, which is slower than
// comparing.
func patternCost(args []any) int {
	size := textSize(args[0])
	if p, ok := args[1].(pattern); ok {
		return size * len(p.String()) / stepBytes
	}
	return size
}

// maxRange bounds the numbers in a range.
const maxRange = 10_000

// spread makes the list of a..b.
func spread(text *part) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		if args[0] == nil || args[1] == nil {
			return nil, nil
		}
		first, ok1 := wholeNumber(args[0])
		last, ok2 := wholeNumber(args[1])
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("`%s`: a range goes from one whole number to another, not from %s to %s", text, kindOf(args[0]), kindOf(args[1]))
		}
		if first > last {
			return []any{}, nil
		}
		if uint64(last)-uint64(first) >= maxRange {
			return nil, fmt.Errorf("`%s`: a range may have %d numbers", text, maxRange)
		}
		list := make([]any, 0, last-first+1)
		for i := first; ; i++ {
			if list = append(list, i); i == last {
				return list, nil
			}
		}
	}
}

// spreadCost is the length of the list that a..b makes.
func spreadCost(args []any) int {
	first, ok1 := wholeNumber(args[0])
	last, ok2 := wholeNumber(args[1])
	if !ok1 || !ok2 || first > last {
		return 0
	}
	return int(min(uint64(last)-uint64(first), maxRange)) / stepElements
}

// arithmeticCost is the cost of calculating with decimals, or of putting texts
// together.
func arithmeticCost(operator string) costs {
	return func(args []any) int {
		_, ok1 := asInteger(args[0])
		_, ok2 := asInteger(args[1])
		switch {
		case (operator == "/" || operator == "**" || operator == "^") && isNumber(args[0]) && isNumber(args[1]):
			return shallow(args) + 10
		case ok1 && ok2:
			return 0
		}
		return shallow(args)
	}
}

func arithmetic(text *part, operator string) func(args ...any) (any, error) {
	return func(args ...any) (any, error) {
		a, b := args[0], args[1]
		if a == nil || b == nil {
			return nil, nil
		}
		var result any
		var err error
		switch {
		case isNumber(a) && isNumber(b):
			result, err = calculate(operator, a, b)
		case operator == "+" && kindOf(a) == event.TextKind && kindOf(b) == event.TextKind:
			x, y := a.(string), b.(string)
			if len(x)+len(y) > maxText {
				err = errTextSize
			} else {
				result = x + y
			}
		default:
			result, err = calculateTime(operator, a, b)
		}
		if errors.Is(err, errNoSuchSum) {
			return nil, fmt.Errorf("`%s`: %s does not work on %s and %s", text, operator, kindOf(a), kindOf(b))
		}
		if err != nil {
			return nil, fmt.Errorf("`%s`: %w", text, err)
		}
		return result, nil
	}
}

var errNoSuchSum = errors.New("no such operation")

// calculateTime adds and subtracts times and durations.
func calculateTime(operator string, a, b any) (any, error) {
	switch a := a.(type) {
	case time.Time:
		switch b := b.(type) {
		case time.Time:
			if operator == "-" {
				return a.Sub(b), nil
			}
		case time.Duration:
			switch operator {
			case "+":
				return a.Add(b), nil
			case "-":
				return a.Add(-b), nil
			}
		}
	case time.Duration:
		switch b := b.(type) {
		case time.Time:
			if operator == "+" {
				return b.Add(a), nil
			}
		case time.Duration:
			switch operator {
			case "+":
				return a + b, nil
			case "-":
				return a - b, nil
			}
		}
	}
	return nil, errNoSuchSum
}
