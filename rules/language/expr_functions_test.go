package language

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/builtin"
)

// exprCases are calls of each of expr's functions.
var exprCases = map[string][]string{
	"all":           {`all([1, 2], # > 0)`, `all([1, 2], # > 1)`, `all([], false)`},
	"any":           {`any([1, 2], # > 1)`, `any([1, 2], # > 2)`, `any([], true)`, `any(["a"], # startsWith "a")`},
	"none":          {`none([1, 2], # > 2)`, `none([1, 2], # > 1)`, `none([], true)`},
	"one":           {`one([1, 2], # > 1)`, `one([1, 2], # > 0)`, `one([], true)`},
	"filter":        {`filter([1, 2, 3], # > 1)`, `filter([], true)`, `filter([{a: 1}, {a: 2}], .a > 1)`},
	"map":           {`map([1, 2], # * 2)`, `map([], #)`, `map([1, 2], #index)`, `map([{a: 1}], .a)`},
	"find":          {`find([1, 2, 3], # > 1)`, `find([1], # > 1)`},
	"findIndex":     {`findIndex([1, 2, 3], # > 1)`, `findIndex([1], # > 1)`},
	"findLast":      {`findLast([1, 2, 3], # < 3)`, `findLast([1], # > 1)`},
	"findLastIndex": {`findLastIndex([1, 2, 3], # < 3)`, `findLastIndex([1], # > 1)`},
	"count":         {`count([1, 2, 3], # > 1)`, `count([true, false, true])`, `count([])`},
	"sum":           {`sum([1, 2, 3])`, `sum([1.5, 2])`, `sum([])`, `sum([1, 2], # * 2)`, `sum([0.1, 0.2])`},
	"groupBy": {`groupBy([1, 2, 3], # % 2)[1]`, `groupBy([1, 2, 3], # % 2)[5]`, `groupBy(["ab", "ac", "b"], #[0:1])`, `groupBy(["ab", "b"], #[0:1]).a`,
		`groupBy([1, 2], # > 1)[true]`, `sum(keys(groupBy([1, 2, 3], #)))`, `len(groupBy([1, 2, 3], # % 2))`, `groupBy([1, 2], # % 2)["1"]`, `groupBy([1.5, 1.5], #)[1.5]`},
	"sortBy": {`sortBy([3, 1, 2], #)`, `sortBy([3, 1, 2], #, "desc")`, `sortBy([{a: 2}, {a: 1}], .a) | map(.a)`, `sortBy([], #)`},
	"reduce": {`reduce([1, 2, 3], #acc + #)`, `reduce([1, 2], #acc + #, 10)`, `reduce([], #acc, 3)`, `reduce([], #acc)`},
	"len":    {`len("Ärger")`, `len([1, 2])`, `len({a: 1})`, `len("")`, `len(5)`},
	"type":   {`type(1)`, `type(1.5)`, `type("a")`, `type(true)`, `type([1])`, `type({a: 1})`, `type(nil)`, `type(now())`, `type(duration("1h"))`, `type(timezone("UTC"))`},
	"abs":    {`abs(-5)`, `abs(5)`, `abs(-5.5)`, `abs(0)`, `abs("a")`},
	"ceil":   {`ceil(1.5)`, `ceil(-1.5)`, `ceil(2)`, `ceil(0.1)`, `ceil("a")`},
	"floor":  {`floor(1.5)`, `floor(-1.5)`, `floor(2)`, `floor(1.999999)`, `floor("a")`},
	"round":  {`round(1.5)`, `round(-1.5)`, `round(2.4)`, `round(0.5)`, `round(-0.5)`, `round("a")`, `round(9007199254740993)`},
	"int": {`int("42")`, `int("09")`, `int("007")`, `int("0100")`, `int("-05")`, `int("00")`, `int("+7")`, `int(1.9)`, `int(-1.9)`, `int("1e3")`, `int(" 42")`, `int("42 ")`, `int("")`,
		`int("1.5")`, `int("0x10")`, `int("1_000")`, `int("a")`, `int(true)`, `int([1])`, `int(duration("1s"))`, `int("123456789012345678901")`},
	"float": {`float("1.5")`, `float("09.5")`, `float(".5")`, `float("5.")`, `float("-09.5")`, `float("1e3")`, `float("1E-3")`, `float("+1.5")`, `float("0x1p-2")`, `float(" 1")`, `float("")`, `float(".")`,
		`float("1_0")`, `float("a")`, `float(3)`, `float(true)`, `float("-.5e1")`, `float("00")`, `float("inf")`, `float("NaN")`, `float("1e400")`},
	"string":      {`string(1)`, `string(1.5)`, `string("a")`, `string(true)`, `string([1, "a"])`, `string([])`, `string({a: 1})`, `string([[1.5, true], {b: "c"}])`, `string(duration("90m"))`, `string(nil)`, `string(date("2026-03-13"))`},
	"trim":        {`trim("  a ")`, `trim("\t\na\u00a0")`, `trim("xaxx", "x")`, `trim("")`, `trim("xyax", "xy")`, `trim(1)`},
	"trimPrefix":  {`trimPrefix("ab", "a")`, `trimPrefix(" ab")`, `trimPrefix("  ab")`, `trimPrefix("ab", "x")`},
	"trimSuffix":  {`trimSuffix("ab", "b")`, `trimSuffix("ab ")`, `trimSuffix("ab", "x")`},
	"upper":       {`upper("ä")`, `upper("")`, `upper(1)`},
	"lower":       {`lower("Ä")`, `lower(1)`},
	"split":       {`split("a,b,c", ",")`, `split("a,b,c", ",", 2)`, `split("a,b", ",", 0)`, `split("ab", "")`, `split("", ",")`, `split("a,b", ",", -1)`, `split(1, ",")`},
	"splitAfter":  {`splitAfter("a,b", ",")`, `splitAfter("a,b,c", ",", 2)`, `splitAfter("ab", "")`},
	"replace":     {`replace("aaa", "a", "b")`, `replace("aaa", "a", "b", 2)`, `replace("ab", "", "-")`, `replace("a", "a", "")`, `replace("a", "a", "b", -1)`},
	"repeat":      {`repeat("ab", 2)`, `repeat("ab", 0)`, `repeat("a", -1)`, `repeat("a", 2000000)`},
	"join":        {`join(["a", "b"], "-")`, `join(["a", "b"])`, `join([], "-")`, `join(["a", 1])`},
	"indexOf":     {`indexOf("abc", "c")`, `indexOf("abc", "x")`, `indexOf("äb", "b")`, `indexOf("a", "")`},
	"lastIndexOf": {`lastIndexOf("abab", "b")`, `lastIndexOf("a", "x")`, `lastIndexOf("äb", "b")`},
	"hasPrefix":   {`hasPrefix("ab", "a")`, `hasPrefix("ab", "b")`},
	"hasSuffix":   {`hasSuffix("ab", "b")`, `hasSuffix("ab", "a")`},
	"max":         {`max(1, 2)`, `max([1, 3], 2)`, `max(1.5, 1)`, `max([[1], [5]])`, `max([])`, `max(5)`, `max(-1)`, `max(1, "a")`, `max("a")`},
	"min":         {`min(1, 2)`, `min([1, 3], 2)`, `min(0.5, 1)`, `min([])`},
	"mean":        {`mean(1, 2)`, `mean([1, 2, 3])`, `mean([])`, `mean([[1], [2]])`, `mean([1, 1, 2])`, `mean([0.1, 0.2])`, `mean(["a"])`, `mean([1, nil])`},
	"median":      {`median(1, 2, 3)`, `median([4, 1, 2, 3])`, `median([])`, `median([5])`, `median([0.1, 0.2])`},
	"toJSON":      {`toJSON(1)`, `toJSON("a\"")`, `toJSON(true)`, `toJSON(nil)`, `toJSON([])`, `toJSON([1, 2])`},
	"fromJSON":    {`fromJSON("[1, 2.5]")`, `fromJSON("{\"a\": null}")`, `fromJSON("\"a\"")`, `fromJSON("[")`, `fromJSON("9007199254740993")`},
	"toBase64":    {`toBase64("ab")`, `toBase64("")`},
	"fromBase64":  {`fromBase64("YWI=")`, `fromBase64("?")`},
	"now":         {`now().Year() > 2000`, `now(timezone("Asia/Tokyo")).Location() == timezone("Asia/Tokyo")`, `now() - now() < duration("1h")`},
	"duration":    {`duration("1h30m").Minutes()`, `duration("90s") > duration("1m")`, `duration("1h").Hours()`, `duration("1x")`, `duration("1m").Seconds()`},
	"date": {`date("2026-03-13").Year()`, `date("2026-03-13").Unix()`, `date("2026-03-13 10:41:58").Unix()`, `date("2026-03-13T10:41:58Z").Unix()`, `date("2026-03-13T10:41:58.5+02:00").UnixMilli()`,
		`date("13.3.2026", "2.1.2006").Unix()`, `date("2026-03-13 10:00", "2006-01-02 15:04", "Europe/Berlin").Unix()`, `date(timezone("Europe/Berlin"), "2026-03-13 10:00:00").Unix()`,
		`date(timezone("Asia/Tokyo"), "13.3.2026", "2.1.2006").Unix()`, `date("13 Mar 26 10:41 UTC").Unix()`, `date("Friday, 13-Mar-26 10:41:58 UTC").Unix()`, `date("Fri, 13 Mar 2026 10:41:58 GMT").Unix()`,
		`date("2026-03-13").AddDate(0, 1, 1).Format("2006-01-02")`, `date("2026-03-13").Before(date("2026-03-14"))`, `date("2026-03-13").Add(duration("1h")).Hour()`, `date("nonsense")`, `date("2026-02-30")`, `date("2026-03-13", "nonsense")`,
		`date("2026-03-13").Month() == 3`, `date("2026-03-13").Weekday() == "Friday"`,
		`date("10:41:58").Unix()`, `date("Fri, 13 Mar 2026 10:41:58 CEST").Unix()`, `date("Fri, 13 Mar 2026 10:41:58 BST")`, `date("2026-03-13 10:41").Unix()`},
	"timezone":  {`timezone("Europe/Berlin").String()`, `timezone("Europe/Nowhere")`, `timezone("UTC") == timezone("UTC")`},
	"first":     {`first([3, 1])`, `first([])`},
	"last":      {`last([3, 1])`, `last([])`},
	"get":       {`get([1, 2], 1)`, `get({a: 1}, "a")`, `get({a: 1}, "b")`, `get([1], 5)`, `get([1, 2], -1)`},
	"take":      {`take([1, 2, 3], 2)`, `take([1], 5)`, `take([1], 0)`, `take([1], -1)`},
	"keys":      {`keys({a: 1})`, `keys({})`, `keys([1])`},
	"values":    {`values({a: 1})`, `values({})`},
	"toPairs":   {`toPairs({a: 1})`, `toPairs({})`},
	"fromPairs": {`fromPairs([["a", 1], ["b", 2]])`, `fromPairs([])`, `fromPairs([1])`, `fromPairs([["a"]])`, `fromPairs([[1, 2]])`},
	"reverse":   {`reverse([1, 2, 3])`, `reverse([])`, `reverse([nil, 1])`, `reverse("ab")`},
	"uniq":      {`uniq([1, 2, 1])`, `uniq(["a", "a"])`, `uniq([[1], [1]])`, `uniq([])`, `uniq([1, "1"])`, `uniq([1, 1.0])`},
	"concat":    {`concat([1], [2])`, `concat([1])`, `concat([1], [])`, `concat([1], 2)`, `concat([[1]], [nil])`},
	"flatten":   {`flatten([[1, [2]], 3])`, `flatten([])`, `flatten([[], [[]]])`, `flatten([nil])`},
	"sort":      {`sort([3, 1, 2])`, `sort(["b", "a"], "desc")`, `sort([1.5, 1])`, `sort([1, "a"])`, `sort([])`, `sort([1], "up")`},
	"bitand":    {`bitand(6, 3)`, `bitand(6, 1.5)`, `bitand("a", 1)`},
	"bitor":     {`bitor(6, 3)`},
	"bitxor":    {`bitxor(6, 3)`},
	"bitnand":   {`bitnand(6, 3)`},
	"bitnot":    {`bitnot(0)`, `bitnot(5)`},
	"bitshl":    {`bitshl(1, 4)`, `bitshl(1, -1)`},
	"bitshr":    {`bitshr(16, 2)`, `bitshr(-16, 2)`, `bitshr(1, -1)`},
	"bitushr":   {`bitushr(-1, 60)`, `bitushr(16, 2)`},
}

// The reasons for which a function gives something else than expr's.
const (
	becauseExact   = "numbers are exact decimals, so that an id keeps its last digit and 0.1 + 0.2 is 0.3"
	becauseAbsent  = "what is absent is unknown and makes the result absent"
	becauseCompact = "JSON is put into requests, where expr's indentation is of no use; members are in the order of names"
	becauseText    = "the text of a time is that of RFC 3339, which date() and other programs read"
	becauseRunes   = "places in a text count characters, as slices and len do; expr counts bytes"
	becauseUseful  = "expr fails, and there is only one thing that can be meant"
	becauseZone    = "letters of a zone that Go does not know are never taken for UTC"
	becauseDay     = "a time of day alone is that of the event's day, because in the year 0 zones were minutes apart from what is meant"
	becauseStrict  = "it would hide a mistake"
	becauseGo      = "Go's types of months and weekdays compare with nothing that can be written"
	becauseJSON    = "names of members are text, so that each value can be written as JSON"
)

// exprDifferences are the calls that give something else than in expr, what they
// give here (nil also for an error), and why.
var exprDifferences = map[string]struct {
	gives  any
	reason string
}{
	`sum([0.1, 0.2])`:              {json.Number("0.3"), becauseExact},
	`mean([0.1, 0.2])`:             {json.Number("0.15"), becauseExact},
	`median([0.1, 0.2])`:           {json.Number("0.15"), becauseExact},
	`round(9007199254740993)`:      {int64(9007199254740993), becauseExact},
	`fromJSON("9007199254740993")`: {int64(9007199254740993), becauseExact},
	`int("123456789012345678901")`: {json.Number("123456789012345678901"), becauseExact},
	`float("1e400")`:               {json.Number("1e400"), becauseExact},
	`float("inf")`:                 {nil, becauseExact},
	`float("NaN")`:                 {nil, becauseExact},
	`groupBy([1, 2, 3], # % 2)[5]`: {nil, becauseAbsent},
	`reduce([], #acc)`:             {nil, becauseAbsent},
	`string(nil)`:                  {nil, becauseAbsent},
	`mean([1, nil])`:               {nil, becauseAbsent},
	`max("a")`:                     {nil, becauseStrict},
	`groupBy([1, 2], # % 2)["1"]`:  {nil, becauseStrict},
	`toJSON([1, 2])`:               {"[1,2]", becauseCompact},
	`string(date("2026-03-13"))`:   {"2026-03-13T00:00:00Z", becauseText},
	`indexOf("äb", "b")`:           {int64(1), becauseRunes},
	`lastIndexOf("äb", "b")`:       {int64(1), becauseRunes},
	`join(["a", 1])`:               {"a1", becauseUseful},
	`take([1], -1)`:                {[]any{}, becauseUseful},
	`date(timezone("Europe/Berlin"), "2026-03-13 10:00:00").Unix()`: {int64(1773392400), becauseUseful},
	`date(timezone("Asia/Tokyo"), "13.3.2026", "2.1.2006").Unix()`:  {int64(1773327600), becauseUseful},
	`date("2026-03-13 10:41").Unix()`:                               {int64(1773398460), becauseUseful},
	`date("Fri, 13 Mar 2026 10:41:58 CEST").Unix()`:                 {int64(1773391318), becauseZone},
	`date("Fri, 13 Mar 2026 10:41:58 BST")`:                         {nil, becauseZone},
	`date("10:41:58").Unix()`:                                       {int64(1773398518), becauseDay},
	`date("2026-03-13").Month() == 3`:                               {true, becauseGo},
	`date("2026-03-13").Weekday() == "Friday"`:                      {true, becauseGo},
	`fromPairs([[1, 2]])`:                                           {nil, becauseJSON},
}

// TestExprFunctions runs each of expr's functions here and in expr. Each
// difference is listed with its reason, and is a difference.
func TestExprFunctions(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for _, name := range builtin.Names {
		if len(exprCases[name]) == 0 {
			t.Errorf("%s is a function of expr without a case", name)
		}
	}
	met := map[string]bool{}
	for name, cases := range exprCases {
		for _, source := range cases {
			if !strings.Contains(source, name+"(") {
				t.Errorf("`%s` does not call %s", source, name)
			}
			met[source] = true
			theirs, theirErr := expr.Eval(source, nil)
			ours, _, ourErr := evaluate(t, l, source)
			if ourErr != nil && strings.Contains(ourErr.Error(), "cannot be compiled") {
				t.Errorf("`%s`: %v", source, ourErr)
			}
			same := theirErr != nil && ourErr != nil || theirErr == nil && ourErr == nil && reflect.DeepEqual(plainOfExpr(theirs), plainOfExpr(ours))
			difference, listed := exprDifferences[source]
			switch {
			case same && listed:
				t.Errorf("`%s` gives %#v (%v) in both, but is listed as a difference", source, ours, ourErr)
			case !same && !listed:
				t.Errorf("`%s` gives %#v (%v), in expr %#v (%v)", source, ours, ourErr, theirs, theirErr)
			case listed && !reflect.DeepEqual(ours, difference.gives):
				t.Errorf("`%s` gives %#v (%v), want %#v, because %s", source, ours, ourErr, difference.gives, difference.reason)
			}
		}
	}
	for source := range exprDifferences {
		if !met[source] {
			t.Errorf("`%s` is listed as a difference and no case", source)
		}
	}
}

// plainOfExpr returns a value of expr as the language has it: one kind of
// numbers, objects with texts as names, absent for nil.
func plainOfExpr(v any) any {
	switch v := v.(type) {
	case nil, string, bool:
		return v
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v
		}
		return numberText(f)
	case fmt.Stringer:
		return v.String()
	}
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Slice, reflect.Array:
		list := make([]any, value.Len())
		for i := range list {
			list[i] = plainOfExpr(value.Index(i).Interface())
		}
		return list
	case reflect.Map:
		object := map[string]any{}
		for _, key := range value.MapKeys() {
			object[fmt.Sprint(key.Interface())] = plainOfExpr(value.MapIndex(key).Interface())
		}
		return object
	case reflect.Int, reflect.Int64:
		return fmt.Sprint(value.Int())
	case reflect.Float64:
		return numberText(value.Float())
	}
	return v
}
