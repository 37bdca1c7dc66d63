package language

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"
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
	d, err := toDecimal(v)
	if err != nil {
		return 0, false
	}
	i, err := d.Int64()
	return i, err == nil
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
	return parseMagnitude(numberText(a)).compare(parseMagnitude(numberText(b)))
}

// magnitude is ±0.digits × 10^exponent. digits has no zeros at either end; zero
// has no digits.
type magnitude struct {
	negative bool
	digits   string
	exponent int64
}

// parseMagnitude takes a number literal apart without calculating its value.
// That costs the length of the literal, whatever its exponent, where making an
// apd.Decimal of a long literal costs the square of it. Text that is no
// number literal counts as zero; values of that kind do not reach it, because
// DecodeJSON makes none.
func parseMagnitude(literal string) magnitude {
	var d magnitude
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
		return magnitude{}
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

func (d magnitude) compare(o magnitude) int {
	size := func(d magnitude) int {
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

// exact calculates with all digits of operands that toDecimal makes.
var exact = apd.Context{
	Precision: 4 * maxDigits, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent,
	Traps: apd.DefaultTraps, Rounding: apd.RoundHalfUp,
}

// toDecimal returns the exact value of a number.
func toDecimal(v any) (*apd.Decimal, error) {
	if i, ok := asInteger(v); ok {
		return apd.New(i, 0), nil
	}
	text := numberText(v)
	m := parseMagnitude(text)
	if m.digits == "" {
		return new(apd.Decimal), nil
	}
	if len(m.digits) > maxDigits || m.exponent > maxDigits || m.exponent < -maxDigits {
		return nil, errNumberSize
	}
	// Zeros at the ends of the literal are no part of the magnitude, but they cost.
	d, _, err := apd.NewFromString("." + m.digits)
	if err != nil {
		return nil, errors.New("a value is not a number")
	}
	d.Exponent += int32(m.exponent)
	d.Negative = m.negative
	return d, nil
}

// fromDecimal returns a number: int64 if it can hold the value, else its decimal
// form.
func fromDecimal(d *apd.Decimal) (any, error) {
	if d.Form != apd.Finite {
		return nil, errNumberSize
	}
	d.Reduce(d)
	if d.IsZero() {
		return int64(0), nil
	}
	if i, err := d.Int64(); err == nil {
		return i, nil
	}
	if d.NumDigits()+int64(max(d.Exponent, 0)) > 2*maxDigits {
		return nil, errNumberSize
	}
	if d.Exponent < -2*maxDigits {
		return inexact(d)
	}
	return json.Number(d.Text('f')), nil
}

// inexact returns the nearest number that float64 holds: what a division that
// does not end is cut to.
func inexact(d *apd.Decimal) (any, error) {
	f, err := d.Float64()
	if err != nil {
		return nil, errNumberSize
	}
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
	p, err := toDecimal(a)
	if err != nil {
		return nil, err
	}
	q, err := toDecimal(b)
	if err != nil {
		return nil, err
	}
	if (operator == "/" || operator == "%") && q.IsZero() {
		return nil, errZeroDivision
	}
	var result apd.Decimal
	var condition apd.Condition
	switch operator {
	case "+":
		_, err = exact.Add(&result, p, q)
	case "-":
		_, err = exact.Sub(&result, p, q)
	case "*":
		_, err = exact.Mul(&result, p, q)
	case "/":
		// A quotient is calculated with zeros up to the precision, so more than a
		// short one would cost.
		division := exact.WithPrecision(uint32(40 + p.NumDigits() + q.NumDigits()))
		if condition, err = division.Quo(&result, p, q); err == nil && condition.Inexact() {
			return inexact(&result)
		}
	case "%":
		if !isWhole(p) || !isWhole(q) {
			return nil, errors.New("% is for whole numbers")
		}
		_, err = exact.Rem(&result, p, q)
	default:
		return nil, errors.New("unknown operator " + operator)
	}
	if err != nil {
		return nil, errNumberSize
	}
	return fromDecimal(&result)
}

func isWhole(d *apd.Decimal) bool {
	var fraction apd.Decimal
	d.Modf(nil, &fraction)
	return fraction.IsZero()
}

// power is exact for whole numbers of moderate size.
func power(a, b any) (any, error) {
	p, err := toDecimal(a)
	if err != nil {
		return nil, err
	}
	base, baseIsWhole := wholeNumber(a)
	n, whole := wholeNumber(b)
	if baseIsWhole && whole && n >= 0 && n <= 4*maxDigits {
		if result := big.NewInt(base); int64(result.BitLen())*n <= 4*maxDigits {
			result.Exp(result, big.NewInt(n), nil)
			return fromDecimal(apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(result), 0))
		}
	}
	q, err := toDecimal(b)
	if err != nil {
		return nil, err
	}
	x, err1 := p.Float64()
	y, err2 := q.Float64()
	if err1 != nil || err2 != nil {
		return nil, errNumberSize
	}
	return fromFloat(math.Pow(x, y))
}

// rounded applies one of the roundings of exact to a number.
func rounded(v any, rounding func(result, of *apd.Decimal) (apd.Condition, error)) (any, error) {
	d, err := toDecimal(v)
	if err != nil {
		return nil, err
	}
	var result apd.Decimal
	if _, err := rounding(&result, d); err != nil {
		return nil, errNumberSize
	}
	return fromDecimal(&result)
}

// truncate cuts the fraction off.
func truncate(result, of *apd.Decimal) (apd.Condition, error) {
	of.Modf(result, nil)
	return 0, nil
}
