package language

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

func TestCompareNumbers(t *testing.T) {
	// In ascending order; equal ones are grouped.
	ascending := [][]any{
		{json.Number("-1e999999999999999999999")},
		{json.Number("-1e400")},
		{json.Number("-9223372036854775809")},
		{int64(math.MinInt64), json.Number("-9223372036854775808.0")},
		{-1.5, json.Number("-15e-1"), json.Number("-1.50")},
		{int64(-1), -1, -1.0},
		{json.Number("-1e-400")},
		{int64(0), 0, 0.0, json.Number("0.000"), json.Number("-0e5"), json.Number("0e999999999999999999999")},
		{json.Number("1e-400"), json.Number("0.1e-399")},
		{0.1, json.Number("0.1"), json.Number("1e-1"), json.Number("0.100")},
		{json.Number("0.10000000000000000001")},
		{int64(1), 1.0, json.Number("1e0"), json.Number("0.1e1"), json.Number("1000e-3")},
		{int64(10), json.Number("1e1")},
		{int64(9007199254740992), 9007199254740992.0},
		{int64(9007199254740993), json.Number("9007199254740993.0")},
		{int64(math.MaxInt64)},
		{json.Number("9223372036854775808"), json.Number("9.223372036854775808e18")},
		{1e300, json.Number("1e300")},
		{json.Number("1e400")},
		{json.Number("1e999999999999999999999")},
	}
	for i, left := range ascending {
		for j, right := range ascending {
			for _, a := range left {
				for _, b := range right {
					if got, want := compareNumbers(a, b), compareInts(int64(i), int64(j)); got != want {
						t.Errorf("comparing %T %v with %T %v gives %d, want %d", a, a, b, b, got, want)
					}
				}
			}
		}
	}
}

func FuzzNumbers(f *testing.F) {
	for _, seed := range [][2]string{
		{"1", "2"}, {"9223372036854775807", "1"}, {"-9223372036854775808", "-1"}, {"1.10", "1.1"}, {"-0", "0"}, {"123456789012345678901234567890", "7"},
		{"1e20", "100000000000000000000"}, {"0.1", "0.2"}, {"-7.5", "2"}, {"4611686018427387904", "2"}, {"3037000500", "3037000500"}, {"-1", "-9223372036854775808"}, {"0E10000000000000000000", "1"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, left, right string) {
		if len(left) > 60 || len(right) > 60 || !event.IsNumberLiteral(left) || !event.IsNumberLiteral(right) {
			return
		}
		decode := func(literal string) (any, *big.Rat) {
			v, err := event.DecodeJSON(literal)
			if err != nil {
				t.Fatal(err)
			}
			d := parseMagnitude(literal)
			if d.exponent > 300 || d.exponent < -300 {
				return v, nil
			}
			r, ok := new(big.Rat).SetString(literal)
			if !ok && d.digits == "" {
				// Zero, with an exponent that is too large for big.Rat.
				r, ok = new(big.Rat), true
			}
			if !ok {
				t.Fatalf("%s is no number", literal)
			}
			return v, r
		}
		a, x := decode(left)
		b, y := decode(right)
		if x == nil || y == nil {
			compareNumbers(a, b)
			return
		}
		if got := compareNumbers(a, b); got != x.Cmp(y) {
			t.Errorf("comparing %s with %s gives %d", left, right, got)
		}
		for operator, want := range map[string]*big.Rat{
			"+": new(big.Rat).Add(x, y), "-": new(big.Rat).Sub(x, y), "*": new(big.Rat).Mul(x, y),
		} {
			got, err := calculate(operator, a, b)
			if err != nil {
				t.Errorf("%s %s %s: %v", left, operator, right, err)
				continue
			}
			if r, ok := new(big.Rat).SetString(numberText(got)); !ok || r.Cmp(want) != 0 {
				t.Errorf("%s %s %s gives %v, %v", left, operator, right, got, err)
			}
			if n, ok := got.(json.Number); ok && want.IsInt() && want.Num().IsInt64() {
				t.Errorf("%s %s %s gives %s, which int64 can hold", left, operator, right, n)
			}
		}
	})
}
