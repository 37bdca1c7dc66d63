package language

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/cockroachdb/apd/v3"
	"github.com/expr-lang/expr/builtin"
)

// Expr's own functions are called, not written again, so that an expression
// gives what expr's manual says. They cannot be called as they are: they stop at
// an absent value, do not know json.Number, panic for a wrong type, and their
// errors quote values, which belong to the event.

// exprFunction returns expr's function of that name as one of the language.
// wrong says what is the matter when it fails for values of the right kinds.
func exprFunction(name, wrong string) function {
	f := builtin.Builtins[builtin.Index[name]]
	least, most := arity(f)
	kinds := map[int][][]kind{} // by the number of values
	for count := least; count <= max(least, most); count++ {
		for place := range count {
			kinds[count] = append(kinds[count], kindsAt(f, place, count))
		}
	}
	return function{least: least, most: most, call: func(args []any) (any, error) {
		converted := make([]any, len(args))
		for i, arg := range args {
			at := kinds[len(args)]
			if at == nil { // one of any number of like values
				at = slices.Repeat(kinds[least], len(args))
			}
			var err error
			if converted[i], err = toExpr(arg, at[i]); err != nil {
				return nil, err
			}
		}
		v, err := callExpr(f, converted)
		if err != nil {
			return nil, errors.New(wrong)
		}
		return fromExpr(v)
	}}
}

var errExpr = errors.New("a function of expr panicked")

// callExpr calls a function of expr. Its errors quote values and must not be
// shown.
func callExpr(f *builtin.Function, args []any) (v any, err error) {
	defer func() {
		if recover() != nil {
			err = errExpr
		}
	}()
	switch {
	case f.Fast != nil:
		return f.Fast(args[0]), nil
	case f.Safe != nil:
		v, _, err = f.Safe(args...)
		return v, err
	}
	return f.Func(args...)
}

// exprTypes are the types that values of each kind have for expr.
var exprTypes = []struct {
	kind kind
	of   reflect.Type
}{
	{event.BoolKind, reflect.TypeFor[bool]()},
	{event.NumberKind, reflect.TypeFor[float64]()},
	{wholeKind, reflect.TypeFor[int]()},
	{event.TextKind, reflect.TypeFor[string]()},
	{event.ListKind, reflect.TypeFor[[]any]()},
	{event.ObjectKind, reflect.TypeFor[map[string]any]()},
	{timeKind, reflect.TypeFor[time.Time]()},
	{durationKind, reflect.TypeFor[time.Duration]()},
	{zoneKind, reflect.TypeFor[*time.Location]()},
}

// wholeKind is for messages only: whole numbers are of the kind number.
const wholeKind kind = "a whole number"

// arity returns how many values a function of expr takes; most is -1 for any
// number.
func arity(f *builtin.Function) (least, most int) {
	const many = 8
	least = -1
	for count := range many {
		if takes(f, slices.Repeat([]reflect.Type{reflect.TypeFor[any]()}, count)) {
			if least < 0 {
				least = count
			}
			most = count
		}
	}
	if most == many-1 {
		most = -1
	}
	return least, most
}

// takes reports whether a function of expr takes values of these types.
func takes(f *builtin.Function, types []reflect.Type) bool {
	if f.Validate != nil {
		_, err := f.Validate(types)
		return err == nil
	}
	return slices.ContainsFunc(f.Types, func(signature reflect.Type) bool {
		if signature.NumIn() != len(types) {
			return false
		}
		for i, t := range types {
			if t != reflect.TypeFor[any]() && !t.AssignableTo(signature.In(i)) {
				return false
			}
		}
		return true
	})
}

// kindsAt returns the kinds of values that a function of expr takes at a place.
func kindsAt(f *builtin.Function, place, count int) []kind {
	var kinds []kind
	types := slices.Repeat([]reflect.Type{reflect.TypeFor[any]()}, count)
	for _, t := range exprTypes {
		if types[place] = t.of; takes(f, types) {
			kinds = append(kinds, t.kind)
		}
	}
	if slices.Contains(kinds, event.NumberKind) {
		kinds = slices.DeleteFunc(kinds, func(k kind) bool { return k == wholeKind })
	}
	return kinds
}

// toExpr returns a value as a function of expr takes it that takes those kinds.
func toExpr(v any, kinds []kind) (any, error) {
	kind := kindOf(v)
	switch {
	case kind == event.NumberKind && slices.Contains(kinds, wholeKind):
		n, ok := wholeNumber(v)
		if !ok {
			return nil, wrongKind(string(wholeKind), v)
		}
		return int(n), nil
	case !slices.Contains(kinds, kind):
		return nil, wrongKind(oneOfKinds(kinds), v)
	}
	if object, ok := v.(objectLike); ok {
		return object.object(), nil
	}
	if zone, ok := v.(zone); ok {
		return zone.location, nil
	}
	return v, nil
}

func oneOfKinds(kinds []kind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// fromExpr returns the result of a function of expr as a value of the language.
func fromExpr(v any) (any, error) {
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case float64:
		return fromFloat(v)
	case []string:
		return listOf(v), nil
	case *time.Location:
		return zone{v}, nil
	case map[any]any:
		object := make(map[string]any, len(v))
		for key, value := range v {
			name, ok := key.(string)
			if !ok {
				return nil, fmt.Errorf("the name of a member is text, not %s", kindOf(key))
			}
			object[name] = value
		}
		return object, nil
	}
	return v, nil
}

// numberFunction returns a function of expr that takes numbers, or lists of
// them. Expr calculates with float64. Numbers that it would round are left to
// exactly, which gets them as one list.
func numberFunction(name string, fits func(v any) bool, exactly func(numbers []any) (any, error)) function {
	f := builtin.Builtins[builtin.Index[name]]
	least, most := arity(f)
	return function{least: least, most: most, cost: deep, call: func(args []any) (any, error) {
		if most == 1 && !isNumber(args[0]) {
			return nil, wrongKind(string(event.NumberKind), args[0])
		}
		list, known, err := numbers(args)
		if err != nil || !known {
			return nil, err
		}
		converted := make([]any, len(list))
		for i, v := range list {
			if !fits(v) {
				return exactly(list)
			}
			converted[i] = v
			if _, isInteger := asInteger(v); !isInteger {
				// What fits has a literal that ParseFloat reads.
				converted[i], _ = strconv.ParseFloat(numberText(v), 64)
			}
		}
		if most != 1 {
			converted = []any{converted}
		}
		v, err := callExpr(f, converted)
		if err != nil {
			return nil, err
		}
		return fromExpr(widen(v))
	}}
}

// widen returns the int64 that expr passes through as int.
func widen(v any) any {
	if i, ok := v.(int64); ok {
		return int(i)
	}
	return v
}

// numbers collects the numbers among arguments, which may be lists of lists of
// them. known is false when one is absent: what is made of all cannot be told
// then.
func numbers(args []any) (list []any, known bool, err error) {
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
	return all, true, nil
}

// fitsFloat reports whether float64 tells a number from all its neighbours, so
// that it can be rounded and compared without loss.
func fitsFloat(v any) bool {
	if i, ok := asInteger(v); ok {
		return -1<<53 < i && i < 1<<53
	}
	m := parseMagnitude(numberText(v))
	return len(m.digits) <= 15 && -300 < m.exponent && m.exponent < 300
}

// fitsSum reports whether a number can be added up in float64: not 0.1.
func fitsSum(v any) bool {
	i, ok := asInteger(v)
	return ok && math.MinInt32 <= i && i <= math.MaxInt32
}

func addNumberFunctions(functions map[string]function) {
	rounding := func(round func(result, of *apd.Decimal) (apd.Condition, error)) func([]any) (any, error) {
		return func(numbers []any) (any, error) { return rounded(numbers[0], round) }
	}
	functions["abs"] = numberFunction("abs", fitsFloat, rounding(exact.Abs))
	functions["ceil"] = numberFunction("ceil", fitsFloat, rounding(exact.Ceil))
	functions["floor"] = numberFunction("floor", fitsFloat, rounding(exact.Floor))
	functions["round"] = numberFunction("round", fitsFloat, rounding(exact.RoundToIntegralValue))
	functions["max"] = numberFunction("max", fitsFloat, func(numbers []any) (any, error) { return slices.MaxFunc(numbers, compareNumbers), nil })
	functions["min"] = numberFunction("min", fitsFloat, func(numbers []any) (any, error) { return slices.MinFunc(numbers, compareNumbers), nil })
	functions["mean"] = numberFunction("mean", fitsSum, mean)
	functions["median"] = numberFunction("median", fitsSum, median)
	for _, name := range []string{"bitand", "bitor", "bitxor", "bitnand", "bitnot", "bitshl", "bitshr", "bitushr"} {
		functions[name] = exprFunction(name, "it cannot shift by less than 0 bits")
	}
}

func mean(numbers []any) (any, error) {
	total, err := sum(numbers)
	if err != nil {
		return nil, err
	}
	return calculate("/", total, int64(len(numbers)))
}

func median(numbers []any) (any, error) {
	sorted := slices.SortedFunc(slices.Values(numbers), compareNumbers)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle], nil
	}
	return mean(sorted[middle-1 : middle+1])
}
