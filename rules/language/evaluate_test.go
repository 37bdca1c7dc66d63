package language

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/expr-lang/expr/builtin"
)

func exprFunctions() []string { return builtin.Names }

func numberOf(literal string) any { return json.Number(literal) }

// oddEvent has a value of every type, and members of every type.
func oddEvent(tb testing.TB) *event.Event {
	tb.Helper()
	raw := []byte(`{
		"yes": true, "no": false, "none": null, "empty": "", "tag": "{{call_cost}}", "percent": "%CALL_COST%",
		"text": "Ärger", "digits": "45", "number": 45, "id": 9007199254740993, "big": 123456789012345678901234567890,
		"price": 1.10, "tiny": 1e-400, "huge": 1e999999999, "negative": -7.5,
		"list": [3, 1, 2], "mixed": [1, "a", null, true, [1], {"a": 1}], "void": [], "texts": ["b", "a"],
		"items": [{"n": 1, "ok": true}, {"n": 2, "ok": false}, {"m": 3}], "nulls": [null, null],
		"object": {"a": 1, "b": null}, "nothing": {}, "pairs": [["a", 1], ["b", 2]], "oks": [true, false, null]
	}`)
	body, err := event.DecodeJSON(string(raw))
	if err != nil {
		tb.Fatal(err)
	}
	e := &event.Event{
		ID: "0195903e-3c5c-7bd0-9d0c-6a9f2f4f2f11", Source: "icfm", Name: "project_created", Test: true,
		Received: time.Date(2026, 3, 13, 10, 41, 58, 0, time.UTC), Method: "POST", Path: "/listen.php", IP: "203.0.113.9",
		Query:   map[string][]string{"user[]": {"a", "b"}, "empty": {""}, "void": {}},
		Headers: map[string][]string{"X-Project": {"ABC", "DEF"}},
		RawBody: raw, Body: body, BodyIsRaw: true,
		Fields: map[string]any{"order_id": int64(7)},
	}
	e.Parameters[event.Duration] = int64(45)
	e.Parameters[event.CallCost] = json.Number("0.35")
	e.Parameters[event.Date] = "2026-03-13"
	e.Parameters[event.Time] = "10:41:58"
	e.Parameters[event.Tenant] = ""
	e.Parameters[event.UnixTime] = int64(1773398518)
	e.Parameters[event.CallingName] = "Bob \"B\" Lee"
	return e
}

// evaluate gives the value and the absent names of an expression for oddEvent.
func evaluate(tb testing.TB, l *Language, source string) (any, []string, error) {
	tb.Helper()
	x, err := l.Compile(source)
	if err != nil {
		return nil, nil, err
	}
	b := l.Bind(oddEvent(tb))
	v, err := b.Evaluate(x)
	return v, b.Absent(), err
}

func TestEvaluate(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]any{
		// What every event has.
		`event`: "project_created", `source`: "icfm", `id`: "0195903e-3c5c-7bd0-9d0c-6a9f2f4f2f11", `test`: true,
		`method + path + ip`: "POST/listen.php203.0.113.9", `received`: "2026-03-13T10:41:58Z", `raw_body contains "9007199254740993"`: true,
		`order_id`: int64(7), `calling_name`: `Bob "B" Lee`,
		// Parameters with the names of functions, and the functions.
		`date == "2026-03-13"`: true, `duration > 30`: true, `time`: "10:41:58", `date`: "2026-03-13", `duration`: int64(45),
		`date(date) == date("2026-03-13")`: true, `duration("45s").Seconds() == duration`: true, `date("13.3.2026", "2.1.2006").Day()`: int64(13),
		`received - date("2026-03-13") > duration("10h")`: true, `received > date("2026-03-13 11:00:00", "2006-01-02 15:04:05", "Europe/Berlin")`: true,
		`received.In(timezone("Asia/Tokyo")).Hour()`: int64(19), `received.Weekday() in ["Saturday", "Sunday"]`: false,
		`now() - received > duration("1h")`: true, `date + " " + time`: "2026-03-13 10:41:58", `received.Format("02.01.")`: "13.03.",
		`duration * 2`: int64(90), `now().Unix() > unix_time`: true, `-duration("1h")`: "-1h0m0s",
		// Query and headers: first value, header names in any case.
		`headers["x-project"]`: "ABC", `headers["X-PROJECT"]`: "ABC", `query["user[]"]`: "a", `query.empty`: nil, `query.void`: nil, `headers.Other`: nil,
		`"x-project" in headers`: true, `"x" in headers`: false, `"user[]" in query`: true, `let h = headers; h["x-projecT"]`: "ABC",
		`headers[lower("X-Project")]`: "ABC", `keys(headers)`: []any{"X-Project"}, `len(query)`: int64(2), `headers == {"X-Project": "ABC"}`: true,
		`headers`: map[string]any{"X-Project": "ABC"}, `get(headers, "x-project")`: "ABC",
		// Members.
		`body.items[0].n`: int64(1), `body.items[-1].m`: int64(3), `body["text"]`: "Ärger", `body?.object?.a`: int64(1), `body.object["a"]`: int64(1),
		`body.nope.nope`: nil, `body.text.nope`: nil, `body.list.a`: nil, `body.list["a"]`: nil, `body.list[9]`: nil, `body.list[-9]`: nil, `body.number[0]`: nil,
		`body.object.b`: nil, `body.none`: nil, `body[caller_id]`: nil, `body[body.nope]`: nil, `body["no" + "ne"]`: nil, `body["tex" + "t"]`: "Ärger",
		`body.list[1.0]`: int64(1), `body.list[1.5]`: nil, `caller_id.x.y`: nil,
		// An empty text and a tag that was not replaced count as absent.
		`body.empty`: nil, `body.tag`: nil, `body.percent`: nil, `body.empty == nil`: true, `body.empty == ""`: nil, `body.empty != ""`: nil, `not (body.empty == "")`: nil,
		`body.nope == ""`: nil, `"" == body.text`: false, `body.text != ""`: true, `tenant`: "", `tenant == ""`: true, `tenant == nil`: false, `tenant != "200"`: true,
		`body.tag ?? "none"`: "none", `caller_id ?? body.nope ?? "x"`: "x", `body.text ?? "x"`: "Ärger", `test ?? false`: true,
		// Numbers are exact.
		`9007199254740993 == body.id`: true, `9007199254740992 == body.id`: false, `9007199254740992.0 == body.id`: false, `body.id > 9007199254740992`: true,
		`body.id + 1`: int64(9007199254740994), `body.big + 1`: numberOf("123456789012345678901234567891"), `body.big > body.id`: true, `body.big == body.big`: true,
		`body.price == 1.1`: true, `body.price`: numberOf("1.10"), `body.price * 3`: numberOf("3.3"), `0.1 + 0.2 == 0.3`: true, `body.price - 0.1`: int64(1),
		`body.tiny > 0`: true, `body.huge > body.big`: true, `-body.number`: int64(-45), `+body.price`: numberOf("1.1"), `-body.negative`: numberOf("7.5"),
		`9223372036854775807 + 1`: numberOf("9223372036854775808"), `body.number / 2`: numberOf("22.5"), `body.number / 5`: int64(9), `body.number % 7`: int64(3),
		`body.negative % 2 ?? 1`: errorText("% is for whole numbers"), `2 ** 62`: int64(1 << 62), `2 ** 64`: numberOf("18446744073709551616"), `2 ** 0.5 > 1.41`: true, `4 ^ 0.5`: int64(2),
		`body.number == 45.0`: true, `1 == 1.0`: true, `call_cost < 0.4`: true, `body.huge + 1`: errorText("too large"), `10 ** 5000`: errorText("too large"), `1 / 0`: errorText("division by zero"),
		// Operators on texts and lists.
		`body.text startsWith "Är"`: true, `body.text endsWith "x"`: false, `body.text not contains "x"`: true, `body.text matches "^.rger$"`: true, `body.text matches "^" + "x"`: false,
		`body.text matches body.text`: true, `"b" in body.texts`: true, `"c" in body.texts`: false, `4 in body.list`: false, `2 in body.list`: true, `2.0 in body.list`: true, `45 in [1, "a", 45.0]`: true,
		`"a" in body.object`: true, `"b" in body.object`: false, `"x" not in body.object`: true, `body.number in 40..50`: true, `body.text in ["Ärger"]`: true, `body.text in []`: false,
		`true in body.mixed`: true, `[1] in body.mixed`: true, `"z" in body.mixed`: nil, `"z" in [nil]`: nil, `body.id in [9007199254740993]`: true, `body.price in [1.1]`: true,
		`body.list == [3, 1, 2]`: true, `body.list == [3, "1", 2]`: false, `body.object == {"a": 1.0, "b": nil}`: true, `body.nothing == {}`: true, `body.yes == true`: true, `body.yes != body.no`: true,
		`"a" < "b"`: true, `body.text + "!"`: "Ärger!", `body.text[1:3]`: "rg", `body.text[:-1]`: "Ärge", `body.list[1:]`: []any{int64(1), int64(2)}, `body.list[5:9]`: []any{}, `body.text[3:1]`: "", `body.text[caller_id:]`: nil,
		`1 < body.number < 50`: true, `1 < body.number < 40`: false, `body.digits == string(body.number)`: true, `int(body.digits) == body.number`: true,
		// Choices fail closed.
		`body.yes ? 1 : 2`: int64(1), `body.no ? 1 : 2`: int64(2), `body.nope ? 1 : 2`: nil, `if body.nope { 1 } else { 2 }`: nil, `if body.no { 1 } else if body.yes { 3 } else { 2 }`: int64(3),
		`body.yes ?: 2`: true, `body.no ?: 2`: int64(2), `body.nope ?: 2`: nil, `(body.nope ?? false) ? 1 : 2`: int64(2),
		`let x = body.number; let y = x + 1; x < y`: true, `let x = caller_id; x == "a"`: nil, `let f = filter(body.items, .n > 1); len(f)`: int64(1), `1; 2`: int64(2),
		`[body.number, caller_id]`: []any{int64(45), nil}, `{a: body.number, "b c": caller_id, (body.text): 1}`: map[string]any{"a": int64(45), "b c": nil, "Ärger": int64(1)},
		`[received, 1.5, duration("1m")]`: []any{"2026-03-13T10:41:58Z", numberOf("1.5"), "1m0s"},
		// Lists.
		`any(body.items, .n > 1)`: true, `any(body.items, .n > 5)`: nil, `any(body.list, # > 5)`: false, `all(body.list, # > 0)`: true, `all(body.items, .n > 0)`: nil, `all(body.items, .n > 1)`: false,
		`none(body.list, # > 5)`: true, `none(body.items, .n > 5)`: nil, `none(body.items, .n > 1)`: false, `one(body.list, # > 2)`: true, `one(body.items, .n == 1)`: nil, `one(body.list, # > 0)`: false,
		`all(body.void, false)`: true, `any(body.void, true)`: false, `none(body.void, true)`: true, `one(body.void, true)`: false,
		`map(body.items, .n)`: []any{int64(1), int64(2), nil}, `filter(body.list, # > 1)`: []any{int64(3), int64(2)}, `count(body.items, .n > 0)`: int64(2), `count(body.oks)`: int64(1),
		`find(body.list, # < 3)`: int64(1), `find(body.list, # > 5)`: nil, `findIndex(body.list, # < 3)`: int64(1), `findLast(body.list, # < 3)`: int64(2), `findLastIndex(body.list, # < 3)`: int64(2), `findIndex(body.list, # > 5)`: nil,
		`sum(body.list)`: int64(6), `sum(body.list, # * 0.5)`: int64(3), `sum(body.items, .n)`: nil, `sum(body.items, .n ?? 0)`: int64(3), `reduce(body.list, #acc + #)`: int64(6), `reduce(body.list, #acc + # + #index, 10)`: int64(19),
		`reduce(body.void, #acc)`: nil, `reduce(body.void, #acc, 3)`: int64(3), `sortBy(body.items, .n, "desc") | map(.n)`: []any{int64(2), int64(1), nil}, `sortBy(body.list, #)`: []any{int64(1), int64(2), int64(3)},
		`groupBy(body.list, # > 1 ? "big" : "small")`: map[string]any{"big": []any{int64(3), int64(2)}, "small": []any{int64(1)}}, `any(body.items, any(body.list, # == 3))`: true,
		`body.items | filter(.n != nil) | map(string(.n)) | join(", ")`: "1, 2", `filter(body.items, .ok)`: []any{map[string]any{"n": int64(1), "ok": true}}, `any(body.mixed, # == nil)`: true,
		`map(body.list, #index)`: []any{int64(0), int64(1), int64(2)}, `any([1, 2], # == body.items[1].n)`: true, `let big = 2; any(body.list, {let d = # * big; d > 5})`: true, `any(1..3, # == 2)`: true,
	} {
		got, _, err := evaluate(t, l, source)
		if text, ok := want.(errorText); ok {
			if err == nil || !strings.Contains(err.Error(), string(text)) {
				t.Errorf("`%s` gives %#v, %v; want error %q", source, got, err, text)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("`%s` gives %#v, %v; want %#v", source, got, err, want)
		}
	}
}

// errorText is what the error of an expression must say.
type errorText string

// The values of SQL's three-valued logic, and expressions that have them.
var truthValues = []struct {
	source string
	value  any
}{
	{"true", true}, {"false", false}, {"nil", nil},
	{"body.yes", true}, {"body.no", false}, {"body.nope", nil}, {`(caller_id == "x")`, nil},
}

func TestLogic(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	check := func(source string, want any) {
		t.Helper()
		if got, _, err := evaluate(t, l, source); err != nil || got != want {
			t.Errorf("`%s` gives %v, %v; want %v", source, got, err, want)
		}
	}
	not := map[any]any{true: false, false: true, nil: nil}
	for _, a := range truthValues {
		check("not "+a.source, not[a.value])
		check("!"+a.source, not[a.value])
		check("not not "+a.source, a.value)
		for _, b := range truthValues {
			var and, or any
			switch {
			case a.value == false || b.value == false:
				and = false
			case a.value == true && b.value == true:
				and = true
			}
			switch {
			case a.value == true || b.value == true:
				or = true
			case a.value == false && b.value == false:
				or = false
			}
			check(a.source+" and "+b.source, and)
			check(a.source+" && "+b.source, and)
			check(a.source+" or "+b.source, or)
			check(a.source+" || "+b.source, or)
			check("not ("+a.source+" and "+b.source+")", not[and])
			check("not ("+a.source+" or "+b.source+")", not[or])
		}
	}
	// The right side is left alone when the left decides.
	check(`body.no and body.text > 1`, false)
	check(`body.yes or body.text > 1`, true)
	check(`body.nope == 1 and body.no and body.text > 1`, false)
	for _, source := range []string{`body.yes and body.text > 1`, `body.nope and body.text > 1`, `body.text and body.yes`, `body.no or body.number`, `not body.text`, `body.text ? 1 : 2`} {
		if v, _, err := evaluate(t, l, source); err == nil {
			t.Errorf("`%s` gives %v", source, v)
		}
	}
}

func TestAbsentOperands(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	operands := []string{"body.text", "body.number", "body.price", "body.yes", "body.list", "body.object", `"x"`, "1", "1.5", "[1]", "received", `duration("1h")`}
	absents := []string{"caller_id", "body.nope", "body.none", "body.empty", "body.tag", "headers.nope", "query.nope", "body.text.nope", "body.list[9]", "find(body.void, true)"}
	operators := []string{"==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "not contains", "startsWith", "endsWith", "matches", "+", "-", "*", "/", "%", "**", ".."}
	for _, absent := range absents {
		for _, operator := range operators {
			for _, operand := range operands {
				sources := []string{absent + " " + operator + " " + operand, "not (" + absent + " " + operator + " " + operand + ")"}
				if !strings.Contains("+-*/%**..", operator) {
					sources = append(sources, "not not ("+absent+" "+operator+" "+operand+")")
				} else {
					sources = sources[:1]
				}
				if operator != "matches" {
					sources = append(sources, operand+" "+operator+" "+absent)
				} else if operand != "body.text" && operand != `"x"` {
					continue // A pattern that is no text is an error by itself.
				}
				for _, source := range sources {
					if v, _, err := evaluate(t, l, source); v != nil || err != nil {
						t.Errorf("`%s` gives %v, %v", source, v, err)
					}
				}
			}
		}
		for _, source := range []string{absent + " == nil", "nil == " + absent, "not (" + absent + " != nil)", absent + ` ?? true`, `(` + absent + ` ?? 1) == 1`} {
			if v, _, err := evaluate(t, l, source); v != true || err != nil {
				t.Errorf("`%s` gives %v, %v", source, v, err)
			}
		}
	}
	for _, operand := range operands {
		for source, want := range map[string]bool{operand + " == nil": false, operand + " != nil": true, "nil != " + operand: true} {
			if v, _, err := evaluate(t, l, source); v != want || err != nil {
				t.Errorf("`%s` gives %v, %v", source, v, err)
			}
		}
	}
}

func TestAbsentNames(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string][]string{
		`body.project.stauts == "x"`:                       {"body.project.stauts"},
		`caller_id != "x" and body.nope == 1`:              {"caller_id", "body.nope"},
		`body.nope == 1 or body.nope == 2`:                 {"body.nope"},
		`body.no and body.nope == 1`:                       nil,
		`body.text == "x"`:                                 nil,
		`headers["x-other"] == "x"`:                        {`headers["x-other"]`},
		`body[caller_id]`:                                  {"caller_id", "body[caller_id]"},
		`any(body.items, .n > 5)`:                          {".n"},
		`order_id == 7 and direction == "in"`:              {"direction"},
		`body.items[7].n`:                                  {"body.items[7].n"},
		`body?.a?.b`:                                       {"body?.a?.b"},
		`filter(body.items, .n > 1)[0].m`:                  {".n", "filter(body.items, .n > 1)[0].m"},
		`body.empty`:                                       {"body.empty"},
		`verbatim(body.nope)`:                              {"body.nope"},
		`let p = body.project; p.status == "x" ? 1 : path`: {"body.project", "p.status"},
	} {
		_, absent, err := evaluate(t, l, source)
		if err != nil || !slices.Equal(absent, want) {
			t.Errorf("`%s`: absent are %q, %v; want %q", source, absent, err, want)
		}
	}
	b := l.Bind(oddEvent(t))
	for _, source := range []string{`caller_id == "x"`, `body.nope`, `caller_id`} {
		if _, err := b.Evaluate(compile(t, l, source)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"caller_id", "body.nope"}; !slices.Equal(b.Absent(), want) {
		t.Errorf("absent are %q, want %q", b.Absent(), want)
	}
}

func TestIncomparable(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]string{
		`body.digits > 30`:                             "evaluating `body.digits > 30` compares text with a number; convert one of them with int(), float() or string()",
		`body.yes and body.digits == 45`:               "evaluating `body.yes and body.digits == 45`: `body.digits == 45` compares text with a number",
		`body.number != "45"`:                          "compares a number with text",
		`body.yes == "true"`:                           "compares true or false with text",
		`body.list == 1`:                               "compares a list with a number",
		`body.object < body.object`:                    "compares an object with an object",
		`body.yes < body.no`:                           "compares true or false with true or false",
		`received > "2026-01-01"`:                      "compares a time with text",
		`body.digits in [45, 46]`:                      "compares text with a number",
		`body.number in body.texts`:                    "compares a number with text",
		`body.number in body.text`:                     "in is for lists and objects, not for text; for one of several write in [\"a\", \"b\"], for a text within another write contains",
		`body.number in body.object`:                   "so a number cannot be in it",
		`body.number contains "4"`:                     "contains is for texts, not for a number and text",
		`body.texts contains "a"`:                      `for lists write "x" in list`,
		`body.number startsWith "4"`:                   "startsWith is for texts",
		`body.number matches "4"`:                      "matches is for texts",
		`body.text matches body.list`:                  "matches is for texts",
		`body.text - 1`:                                "- does not work on text and a number",
		`body.text + 1`:                                "+ does not work on text and a number",
		`received + received`:                          "+ does not work on a time and a time",
		`-body.text`:                                   "`-body.text`: - is for numbers, not for text",
		`body.text..3`:                                 "from text to a number",
		`1..100000`:                                    "10000 numbers",
		`body.text[body.text:]`:                        "a place is a whole number",
		`body.number[1:]`:                              "not of a number",
		`any(body.text, true)`:                         "`any(body.text, true)` goes through a list, not text",
		`any(body.items, .n)`:                          "the condition is a number",
		`any(body.items, .n > "a")`:                    "`.n > \"a\"` compares a number with text",
		`sum(body.mixed)`:                              "one of them is text",
		`sortBy(body.mixed, #)`:                        "cannot order",
		`sortBy(body.list, #, body.text)`:              `"asc" or "desc"`,
		`{(body.number): 1}`:                           "must be text",
		`upper(body.number)`:                           "`upper(body.number)`: it takes text, not a number",
		`len(body.number)`:                             "it takes text, a list or an object, not a number",
		`body.text.Year()`:                             "only a time has that, not text",
		`int(body.text)`:                               "not a number",
		`repeat(body.text, 100000000)`:                 "16 MiB",
		`any(map(1..10000, 1..10000), any(#, # == 0))`: "more than 1000000 steps",
		`body.text matches repeat("a", 2000)`:          "",
		`body.text matches repeat(body.text, 2000)`:    "longer than 1000 bytes",
	} {
		v, _, err := evaluate(t, l, source)
		if want == "" {
			if err != nil {
				t.Errorf("`%s`: %v", source, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("`%s` gives %v, %v; want error %q", source, v, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "Ärger") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("`%s`: the error quotes the event or has several lines: %v", source, err)
		}
	}
}

// A value that events and expressions hold must never make a function panic,
// whatever the function makes of it.
func TestOddArguments(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	values := []string{
		"caller_id", "body.text", "body.digits", "body.number", "body.big", "body.huge", "body.negative", "body.yes", "body.list",
		"body.mixed", "body.void", "body.object", "body.items", "body.pairs", "query", "headers", "received", `duration("1h")`,
		`timezone("UTC")`, "nil", `""`, "-1", "1.5", "[[1, [2]], []]", "{}", "raw_body",
	}
	check := func(source string, absent bool) {
		t.Helper()
		v, _, err := evaluate(t, l, source)
		if err != nil {
			for _, sign := range []string{"runtime", "reflect", "interface", "panic", "internal", "compiled"} {
				if strings.Contains(err.Error(), sign) {
					t.Errorf("`%s` fails with %v", source, err)
				}
			}
		}
		if absent && (v != nil || err != nil) {
			t.Errorf("`%s` of something absent gives %v, %v", source, v, err)
		}
	}
	knowAbsent := map[string]bool{"type": true, "toJSON": true, "tojson": true, "default": true, "list": true}
	for name, f := range functions {
		most := f.most
		if most < 0 {
			most = f.least + 1
		}
		for count := f.least; count <= most; count++ {
			arguments := slices.Repeat([]string{`"2"`}, count)
			check(name+"("+strings.Join(arguments, ", ")+")", false)
			for place := range count {
				for _, value := range values {
					for _, other := range []string{`"2"`, "2", "body.list", "body.object"} {
						arguments := slices.Repeat([]string{other}, count)
						arguments[place] = value
						source := name + "(" + strings.Join(arguments, ", ") + ")"
						check(source, value == "caller_id" && !knowAbsent[name] && name != "get" && f.check == nil)
					}
				}
			}
		}
	}
	for name := range methods {
		for _, value := range values {
			for _, argument := range []string{"", "body.text", `timezone("UTC")`, "caller_id", "1"} {
				if count := len(methods[name]); count < 2 && (count == 0) == (argument == "") {
					check("("+value+")."+name+"("+argument+")", value == "caller_id" || argument == "caller_id")
				}
			}
		}
	}
	for name := range listFolds {
		for _, value := range values {
			for _, condition := range []string{"true", "nil", "#", "# > 1", ".a", "caller_id", "# == nil"} {
				check(fmt.Sprintf("%s(%s, %s)", name, value, condition), value == "caller_id")
			}
		}
	}
	for _, value := range values {
		for _, rest := range []string{"#", ".a", "#acc", "#acc + #", "# > 1"} {
			for _, third := range []string{"", ", 0", ", caller_id", `, "desc"`, ", body.list"} {
				check(fmt.Sprintf("reduce(%s, %s%s)", value, rest, third), value == "caller_id")
				if !strings.Contains(rest, "acc") {
					check(fmt.Sprintf("sortBy(%s, %s%s)", value, rest, third), value == "caller_id")
				}
			}
		}
		for _, other := range values {
			for _, operator := range []string{"==", "!=", "<", "<=", ">", ">=", "in", "contains", "startsWith", "endsWith", "matches", "+", "-", "*", "/", "%", "**", "..", "and", "or", "??"} {
				check("("+value+") "+operator+" ("+other+")", false)
			}
			check("("+value+")["+other+"]", false)
			check("("+value+")["+other+":]", false)
			check("("+value+")[:"+other+"]", false)
			check("{("+other+"): "+value+"}", false)
		}
		check("not ("+value+")", false)
		check("-("+value+")", value == "caller_id")
		check("("+value+") ? 1 : 2", value == "caller_id")
		check("("+value+").a.b", value == "caller_id")
	}
}

func TestFunctions(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]any{
		`len(body.text)`: int64(5), `len(body.list)`: int64(3), `len(body.object)`: int64(2),
		`type(caller_id)`: "nil", `type(body.number)`: "int", `type(body.price)`: "float", `type(body.list)`: "array", `type(body.object)`: "map", `type(received)`: "time.Time",
		`abs(-5)`: int64(5), `abs(body.negative)`: numberOf("7.5"), `ceil(body.price)`: int64(2), `ceil(-1.5)`: int64(-1), `floor(body.price)`: int64(1), `floor(-1.5)`: int64(-2),
		`round(1.5)`: int64(2), `round(-1.5)`: int64(-2), `round(1.4)`: int64(1), `round(body.id)`: int64(9007199254740993), `floor(body.big)`: numberOf("123456789012345678901234567890"),
		`int("45")`: int64(45), `int("+45")`: int64(45), `int("-09")`: int64(-9), `int(" 45")`: errorText("trim"), `int("-1.9")`: errorText("float("), `int(1.9)`: int64(1), `int("9007199254740993")`: int64(9007199254740993), `float("1.50")`: numberOf("1.50"),
		`string(body.price)`: "1.10", `string(true)`: "true", `string(body.list)`: "[3 1 2]", `string(body.id)`: "9007199254740993", `string(1e30)`: "1e+30", `string(received)`: "2026-03-13T10:41:58Z",
		`trim("  a ")`: "a", `trim("xax", "x")`: "a", `trimPrefix("ab", "a")`: "b", `trimSuffix("ab", "b")`: "a", `upper("ä")`: "Ä", `lower("Ä")`: "ä",
		`indexOf("Äb", "b")`: int64(1), `lastIndexOf("abab", "b")`: int64(3), `indexOf("a", "x")`: int64(-1), `hasPrefix("ab", "a")`: true, `hasSuffix("ab", "a")`: false,
		`split("a,b,c", ",")`: []any{"a", "b", "c"}, `split("a,b,c", ",", 2)`: []any{"a", "b,c"}, `splitAfter("a,b", ",")`: []any{"a,", "b"},
		`replace("aaa", "a", "b")`: "bbb", `replace("aaa", "a", "b", 2)`: "bba", `repeat("ab", 2)`: "abab", `join(["a", 1, nil, true], "-")`: "a-1-true", `join(["a", "b"])`: "ab",
		`toJSON({b: 1, a: [nil, "x\"", 1.5]})`: `{"a":[null,"x\"",1.5],"b":1}`, `toJSON(caller_id)`: "null", `tojson("a")`: `"a"`, `fromJSON("[1, 9007199254740993]")`: []any{int64(1), int64(9007199254740993)},
		`toBase64("ab")`: "YWI=", `fromBase64("YWI=")`: "ab", `fromBase64("YWL/")`: "ab\ufffd", `urlencode("a b/ä~")`: "a%20b%2F%C3%A4~", `urlencode(45)`: "45", `json_text("a\"b\\c\n")`: `a\"b\\c\n`, `json_text(45)`: "45", `json_text("\"") + tojson("a")`: `\""a"`, `toxml("<a b='\"&\n">")`: errorText(""), `toxml("<&>\"'\u0001")`: "&lt;&amp;&gt;&quot;&apos;\ufffd",
		`first(body.list)`: int64(3), `last(body.list)`: int64(2), `take(body.list, 2)`: []any{int64(3), int64(1)}, `take(body.list, 9)`: []any{int64(3), int64(1), int64(2)}, `take(body.list, -1)`: []any{}, `get(body.object, "a")`: int64(1),
		`keys(body.object)`: []any{"a", "b"}, `values(body.object)`: []any{int64(1), nil}, `toPairs({a: 1})`: []any{[]any{"a", int64(1)}}, `fromPairs(body.pairs)`: map[string]any{"a": int64(1), "b": int64(2)},
		`reverse(body.list)`: []any{int64(2), int64(1), int64(3)}, `uniq([1, 1.0, "a", "a", nil, nil])`: []any{int64(1), "a", nil}, `concat([1], [2], [])`: []any{int64(1), int64(2)}, `flatten([[1, [2]], [], 3])`: []any{int64(1), int64(2), int64(3)},
		`sort(body.list)`: []any{int64(1), int64(2), int64(3)}, `sort(body.texts, "desc")`: []any{"b", "a"}, `max(1, body.list)`: int64(3), `min(1, [2, [0.5]])`: numberOf("0.5"), `max(body.void)`: nil, `max(1, [nil])`: nil,
		`mean(body.list)`: int64(2), `mean(1, 2)`: numberOf("1.5"), `median(body.list)`: int64(2), `median(4, 1, 2, 3)`: numberOf("2.5"),
		`bitand(6, 3)`: int64(2), `bitor(6, 3)`: int64(7), `bitxor(6, 3)`: int64(5), `bitnand(6, 3)`: int64(4), `bitshl(1, 4)`: int64(16), `bitshr(16, 2)`: int64(4), `bitushr(-1, 60)`: int64(15), `bitnot(0)`: int64(-1), `bitshl(1, -1)`: errorText("shift"),
	} {
		got, _, err := evaluate(t, l, source)
		if text, ok := want.(errorText); ok {
			if err == nil || !strings.Contains(err.Error(), string(text)) {
				t.Errorf("`%s` gives %#v, %v; want error %q", source, got, err, text)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("`%s` gives %#v, %v; want %#v", source, got, err, want)
		}
	}
}

// An expression is shared by all workers.
func TestEvaluateConcurrently(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	x := compile(t, l, `any(body.services, .hours > 10) and body.status in ["Approved", approved] and (caller_id ?? "x") == "x"`)
	e := eventtest.Typical(t)
	done := make(chan error)
	for range 8 {
		go func() {
			var err error
			for range 200 {
				v, e := l.Bind(e).Evaluate(x)
				if v != true || e != nil {
					err = fmt.Errorf("gives %v, %w", v, e)
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Compiling must not take more than its share for a long expression either: what
// it does for each part must not depend on the part's length.
func TestLongExpressions(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]any{
		strings.Repeat("not ", 1900) + "test":                                                        true,
		strings.Repeat("test and ", 900) + "test":                                                    true,
		"body" + strings.Repeat(".a", 900):                                                           nil,
		strings.Repeat("upper(", 900) + "body.text" + strings.Repeat(")", 900):                       "ÄRGER",
		"body.number in [" + strings.Repeat("1, ", 1900) + "45]":                                     true,
		strings.Repeat("(", 5000) + "test" + strings.Repeat(")", 5000):                               true,
		strings.Repeat("(test or not ", 600) + "test" + strings.Repeat(")", 600):                     true,
		strings.Repeat("body.no ? 1 : ", 300) + "2":                                                  int64(2),
		"let a = body.number; " + strings.Repeat("(let b = a; ", 90) + "a" + strings.Repeat(")", 90): errorText("declared already"),
	} {
		got, _, err := evaluate(t, l, source)
		if text, ok := want.(errorText); ok {
			if err == nil || !strings.Contains(err.Error(), string(text)) {
				t.Errorf("`%.30s…` gives %v", source, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("`%.30s…` gives %v, %v; want %v", source, got, err, want)
		}
	}
}

func FuzzEvaluate(f *testing.F) {
	for _, source := range []string{
		`body.status in ["Approved", "Confirmed"]`, `caller_id != "anonymous" and duration > 30`, `any(body.items, .n > 1 and any(body.list, # == 2))`,
		`let x = body.id; x + 1 == 9007199254740994 ? "a" : nil`, `reduce(body.list, #acc + #, 0) | string()`, `body?.a?.[0] ?? headers["x-project"]`,
		`if test { upper(body.text)[1:] } else { toJSON({(body.text): [query]}) }`, `received.In(timezone("Europe/Rome")).Hour() in 8..18`,
		`not (body.text matches "^[a-z]+$") or 1 < body.number < 3`, `sortBy(body.items, .n, "desc")[0].n ** 2 % 7`, `((test ?: 1) ?: 2) ?: 3`, "`raw` // comment",
		`b"bytes" == body.text`, `0x1F + 1_000.5e3`, `{"a": 1}.a`, `::len("x")`,
	} {
		f.Add(source)
	}
	l := newLanguage(f, typicalDefinitions())
	e := oddEvent(f)
	f.Fuzz(func(t *testing.T, source string) {
		x, err := l.Compile(source)
		if err != nil {
			if strings.Contains(err.Error(), "cannot be compiled") {
				t.Errorf("`%s`: %v", source, err)
			}
			return
		}
		v, err := l.Bind(e).Evaluate(x)
		if err != nil {
			if strings.Contains(err.Error(), "runtime error") || strings.Contains(err.Error(), "interface conversion") {
				t.Errorf("`%s`: %v", source, err)
			}
			return
		}
		if !isPlain(v) {
			t.Errorf("`%s` gives %#v", source, v)
		}
	})
}
