package rules

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Numbers in expressions are decimals as they were written. int64 and int hold
// integers, json.Number everything that int64 cannot hold, float64 the literals
// of the expression itself. A float64 stands for its shortest decimal form, so
// that 1.1 in a rule equals 1.1 in a body. Nothing is compared or added by way
// of float64 unless both sides are float64: an id keeps its last digit.

// maxDigits bounds the size of decimals in arithmetic, in digits before and
// after the point. It keeps 1e999999999 in a body from filling the memory.
const maxDigits = 1000

var (
	errZeroDivision = errors.New("division by zero")
	errNumberSize   = errors.New("a number is too large or too long to calculate with")
)

func isNumber(v any) bool {
	switch v.(type) {
	case int64, int, json.Number, float64:
		return true
	}
	return false
}

// asInteger returns the value of an integer that int64 holds.
func asInteger(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int:
		return int64(v), true
	}
	return 0, false
}

// wholeNumber returns the value of a number without a fraction, also of 3.0.
func wholeNumber(v any) (int64, bool) {
	if i, ok := asInteger(v); ok {
		return i, true
	}
	if !isNumber(v) {
		return 0, false
	}
	r, err := toRat(v)
	if err != nil || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

// numberText returns a number as a decimal literal.
func numberText(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case int:
		return strconv.Itoa(v)
	case json.Number:
		return string(v)
	case float64:
		if math.Abs(v) < 1e21 && (math.Abs(v) >= 1e-6 || v == 0) {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	return ""
}

// compareNumbers returns -1, 0 or 1. Both values must be numbers.
func compareNumbers(a, b any) int {
	x, xIsInteger := asInteger(a)
	y, yIsInteger := asInteger(b)
	if xIsInteger && yIsInteger {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return parseDecimal(numberText(a)).compare(parseDecimal(numberText(b)))
}

// decimal is ±0.digits × 10^exponent. digits has no zeros at either end; zero
// has no digits.
type decimal struct {
	negative bool
	digits   string
	exponent int64
}

// parseDecimal takes a number literal apart without calculating its value,
// which costs the length of the literal and nothing more. Text that is no
// number literal counts as zero; values of that kind do not reach it, because
// DecodeJSON makes none.
func parseDecimal(literal string) decimal {
	var d decimal
	d.negative = strings.HasPrefix(literal, "-")
	literal = strings.TrimLeft(literal, "+-")
	mantissa, exponentText := literal, ""
	if i := strings.IndexAny(literal, "eE"); i >= 0 {
		mantissa, exponentText = literal[:i], literal[i+1:]
	}
	whole, fraction, hasPoint := strings.Cut(mantissa, ".")
	whole = strings.TrimLeft(whole, "0")
	digits := whole
	if hasPoint {
		digits += fraction
	}
	d.exponent = int64(len(whole))
	trimmed := strings.TrimLeft(digits, "0")
	d.exponent -= int64(len(digits) - len(trimmed))
	d.digits = strings.TrimRight(trimmed, "0")
	if d.digits == "" {
		return decimal{}
	}
	if exponentText != "" {
		// ParseInt returns the nearest int64 when the exponent is out of range.
		// A quarter of the range leaves room for adding to it.
		const most = math.MaxInt64 / 4
		e, _ := strconv.ParseInt(exponentText, 10, 64)
		d.exponent += min(max(e, -most), most)
	}
	return d
}

func (d decimal) compare(o decimal) int {
	size := func(d decimal) int {
		switch {
		case d.digits == "":
			return 0
		case d.negative:
			return -1
		}
		return 1
	}
	a, b := size(d), size(o)
	if a != b || a == 0 {
		return compareInts(int64(a), int64(b))
	}
	if d.exponent != o.exponent {
		return a * compareInts(d.exponent, o.exponent)
	}
	return a * strings.Compare(d.digits, o.digits)
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// toRat returns the exact value of a number.
func toRat(v any) (*big.Rat, error) {
	if i, ok := asInteger(v); ok {
		return new(big.Rat).SetInt64(i), nil
	}
	text := numberText(v)
	d := parseDecimal(text)
	if d.digits == "" {
		// Zero, also 0e99999999999999999999, which big.Rat does not read.
		return new(big.Rat), nil
	}
	if len(d.digits) > maxDigits || d.exponent > maxDigits || d.exponent < -maxDigits {
		return nil, errNumberSize
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, errors.New("a value is not a number")
	}
	return r, nil
}

// fromRat returns a number: int64 if it can hold the value, else its decimal
// form, cut to 17 significant digits if that would not end.
func fromRat(r *big.Rat) (any, error) {
	if r.IsInt() {
		if r.Num().IsInt64() {
			return r.Num().Int64(), nil
		}
		if r.Num().BitLen() > 4*maxDigits {
			return nil, errNumberSize
		}
		return json.Number(r.Num().String()), nil
	}
	if places, exact := r.FloatPrec(); exact && places <= maxDigits {
		return json.Number(r.FloatString(places)), nil
	}
	f, _ := r.Float64()
	return fromFloat(f)
}

func fromFloat(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errNumberSize
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f), nil
	}
	return json.Number(numberText(f)), nil
}

// calculate applies + - * / % or ** to two numbers.
func calculate(operator string, a, b any) (any, error) {
	x, xIsInteger := asInteger(a)
	y, yIsInteger := asInteger(b)
	if xIsInteger && yIsInteger {
		switch operator {
		case "+":
			if sum := x + y; (sum > x) == (y > 0) {
				return sum, nil
			}
		case "-":
			if difference := x - y; (difference < x) == (y > 0) {
				return difference, nil
			}
		case "*":
			if product := x * y; x == 0 || (product/x == y && !(x == -1 && y == math.MinInt64)) {
				return product, nil
			}
		case "%":
			if y == 0 {
				return nil, errZeroDivision
			}
			return x % y, nil
		}
	}
	if operator == "**" || operator == "^" {
		return power(a, b)
	}
	p, err := toRat(a)
	if err != nil {
		return nil, err
	}
	q, err := toRat(b)
	if err != nil {
		return nil, err
	}
	switch operator {
	case "+":
		return fromRat(p.Add(p, q))
	case "-":
		return fromRat(p.Sub(p, q))
	case "*":
		return fromRat(p.Mul(p, q))
	case "/":
		if q.Sign() == 0 {
			return nil, errZeroDivision
		}
		return fromRat(p.Quo(p, q))
	case "%":
		if !p.IsInt() || !q.IsInt() {
			return nil, errors.New("% is for whole numbers")
		}
		if q.Sign() == 0 {
			return nil, errZeroDivision
		}
		return fromRat(new(big.Rat).SetInt(new(big.Int).Rem(p.Num(), q.Num())))
	}
	return nil, errors.New("unknown operator " + operator)
}

// power is exact for whole numbers of moderate size.
func power(a, b any) (any, error) {
	p, err := toRat(a)
	if err != nil {
		return nil, err
	}
	n, whole := wholeNumber(b)
	if whole && n >= 0 && p.IsInt() && int64(p.Num().BitLen())*n <= 4*maxDigits {
		return fromRat(new(big.Rat).SetInt(new(big.Int).Exp(p.Num(), big.NewInt(n), nil)))
	}
	q, err := toRat(b)
	if err != nil {
		return nil, err
	}
	x, _ := p.Float64()
	y, _ := q.Float64()
	return fromFloat(math.Pow(x, y))
}

// rounded returns a number without its fraction: cut towards minus infinity
// after adding, in halves, the given shift. floor shifts by 0, round by 1.
func rounded(v any, halves int64) (any, error) {
	r, err := toRat(v)
	if err != nil {
		return nil, err
	}
	if r.IsInt() {
		return fromRat(r)
	}
	r.Add(r, big.NewRat(halves, 2))
	// Euclidean division by a positive denominator is floor division.
	return fromRat(new(big.Rat).SetInt(new(big.Int).Div(r.Num(), r.Denom())))
}
