package language

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

func TestNewLanguageRefusesNames(t *testing.T) {
	for _, name := range []string{
		"caller_id", "date", "body", "raw_body", "event", "order_id", "and", "not", "in", "let", "if", "nil", "true",
		"matches", "contains", "now", "len", "filter", "urlencode", "verbatim", "_x", "1x", "a-b", "", "größe", "$x",
	} {
		_, err := New(Definitions{
			Sources:    []Source{{Name: "erp", Fields: []string{"order_id"}}},
			Parameters: []config.Parameter{{Name: name, Value: "v"}},
		})
		if err == nil || !strings.Contains(err.Error(), "defining parameter "+name) {
			t.Errorf("parameter %q: %v", name, err)
		}
	}
	for _, name := range []string{"body", "or", "upper", "_x", ""} {
		_, err := New(Definitions{Sources: []Source{{Name: "erp", Fields: []string{name}}}})
		if err == nil || !strings.Contains(err.Error(), "of source erp") {
			t.Errorf("field %q: %v", name, err)
		}
	}
	// Several sources may have fields of the same name, and a field may fill a
	// system parameter.
	newLanguage(t, Definitions{Sources: []Source{{Name: "a", Fields: []string{"x", "caller_id"}}, {Name: "b", Fields: []string{"x"}}}})

	_, err := New(Definitions{Parameters: []config.Parameter{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}, {Name: "len"}}})
	if err == nil || !strings.Contains(err.Error(), "a is a custom parameter") || !strings.Contains(err.Error(), "len is a function") {
		t.Errorf("not all errors are reported: %v", err)
	}
}

func TestCustomParameters(t *testing.T) {
	l := newLanguage(t, Definitions{Parameters: []config.Parameter{
		{Name: "url", Value: "{{scheme}}://{{ host }}:{{port}}/{{"},
		{Name: "scheme", Value: "http"},
		{Name: "host", Value: "{{site}}.lan"},
		{Name: "site", Value: "london"},
		{Name: "port", Value: "8080"},
		{Name: "token", Value: "{env.{{site}}}"},
		{Name: "header", Value: "Bearer {{token}}"},
		{Name: "outer", Value: "x-{{header}}"},
		{Name: "twice", Value: "{{site}}{{site}}"},
	}})
	for name, want := range map[string]TrustedValue{
		"url":    {Value: "http://london.lan:8080/{{"},
		"token":  {Value: "{{site}}", Secret: true},
		"header": {Value: "Bearer {{site}}", Secret: true},
		"outer":  {Value: "x-Bearer {{site}}", Secret: true},
		"twice":  {Value: "londonlondon"},
	} {
		if got := compile(t, l, name).For(""); !reflect.DeepEqual(got, want) {
			t.Errorf("parameter %s is %+v, want %+v", name, got, want)
		}
		if got := l.IsSecret(name); got != want.Secret {
			t.Errorf("parameter %s is secret: %t", name, got)
		}
	}
	if l.IsSecret("none") {
		t.Error("a parameter that was not defined is secret")
	}
}

func TestCustomParameterErrors(t *testing.T) {
	growing := []config.Parameter{{Name: "p0", Value: strings.Repeat("x", 100)}}
	for i := 1; i < 40; i++ {
		last := growing[i-1].Name
		growing = append(growing, config.Parameter{Name: "p" + strings.Repeat("i", i), Value: "{{" + last + "}}{{" + last + "}}"})
	}
	for _, test := range []struct {
		name       string
		parameters []config.Parameter
		want       string
	}{
		{"cycle", []config.Parameter{{Name: "a", Value: "{{b}}"}, {Name: "b", Value: "-{{c}}"}, {Name: "c", Value: "{{a}}"}}, "a → b → c → a"},
		{"itself", []config.Parameter{{Name: "a", Value: "{{a}}"}}, "a → a"},
		{"undefined", []config.Parameter{{Name: "host", Value: "x"}, {Name: "a", Value: "{{hots}}"}}, "{{hots}} is not defined; did you mean host?; to define it, add: parameter hots VALUE"},
		{"system", []config.Parameter{{Name: "a", Value: "{{caller_id}}"}}, "{{caller_id}} comes with each event"},
		{"expression", []config.Parameter{{Name: "b", Value: "x"}, {Name: "a", Value: "{{upper(b)}}"}}, "no expressions"},
		{"growing", growing, "larger than 64 KiB"},
	} {
		_, err := New(Definitions{Parameters: test.parameters})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if err != nil && strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s is reported more than once: %v", test.name, err)
		}
	}
}

func TestUnknownNameInAnyConstruct(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for _, construct := range []string{
		`%s`, `%s == 1`, `1 != %s`, `%s < 1`, `not %s`, `!%s`, `-%s`, `%s and true`, `false and %s`, `true or %s`, `%s in [1]`,
		`1 in %s`, `1 in [%s]`, `"a" contains %s`, `%s matches "a"`, `"a" matches %s`, `%s startsWith "a"`, `%s + 1`, `1..%s`,
		`%s ?? 1`, `1 ?? %s`, `%s == nil`, `%s ? 1 : 2`, `test ? %s : 2`, `test ? 1 : %s`, `%s ?: 1`, `if test { %s } else { 1 }`,
		`%s.x`, `body[%s]`, `%s?.x`, `%s[1:2]`, `body.a[%s:]`, `[%s]`, `{a: %s}`, `{(%s): 1}`, `let x = %s; 1`, `let x = 1; %s`,
		`1; %s`, `%s; 1`, `len(%s)`, `len([%s])`, `upper(string(%s))`, `replace("a", "b", %s)`, `max(1, 2, 3, %s)`, `urlencode(%s)`,
		`toJSON({a: [%s]})`, `any(%s, true)`, `any([1], %s)`, `all([1], %s == #)`, `filter([1], %s)`, `map([1], [%s])`,
		`count([1], %s)`, `sum([1], %s)`, `find([1], %s)`, `findIndex([1], %s)`, `one([1], %s)`, `none([1], %s)`,
		`groupBy([1], %s)`, `sortBy([1], #, %s)`, `reduce([1], %s, 0)`, `reduce([1], 1, %s)`, `%s | upper()`, `received.In(%s)`,
		`%s.Year()`, `date(%s)`, `duration(%s) == nil`, `get(%s, 1)`, `get(body, %s)`, `verbatim(%s)`, `now() > %s`, `(%s)`,
		`any([1], {let x = #; x == %s})`,
	} {
		source := strings.ReplaceAll(construct, "%s", "caller_di")
		_, err := l.Compile(source)
		unknown := (*UnknownNameError)(nil)
		if !errors.As(err, &unknown) {
			t.Errorf("`%s`: %v", source, err)
			continue
		}
		if unknown.Name != "caller_di" || unknown.Suggestion != "caller_id" || unknown.Expression != source || unknown.Function {
			t.Errorf("`%s`: %+v", source, unknown)
		}
	}
}

func TestUnknownNameError(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	_, err := l.Compile(`caller_di != "x"`)
	const want = "unknown name \"caller_di\" in `caller_di != \"x\"`; did you mean caller_id or body.caller_di?"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = l.Compile(`let amount = 1; zzzzzz == amounts`)
	for _, part := range []string{`unknown name "zzzzzz"`, "; did you mean body.zzzzzz? Or declare it in the source: field zzzzzz `body.zzzzzz`. What exists: ", `unknown name "amounts"`, "did you mean amount or body.amounts?"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	unknown := (*UnknownNameError)(nil)
	if _, err = l.Compile(`uper(caller_id)`); !errors.As(err, &unknown) || !unknown.Function || unknown.Suggestion != "upper" {
		t.Errorf("unknown function: %v", err)
	}
	if _, err = l.Compile(`received.Yaer()`); !errors.As(err, &unknown) || !unknown.Function || unknown.Suggestion != "Year" {
		t.Errorf("unknown method: %v", err)
	}
}

func TestCompileRefuses(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	doubled := "test"
	for range 40 {
		doubled = "(" + doubled + " ?: test)"
	}
	for _, test := range []struct{ name, source, want string }{
		{"nothing", " ", "empty"},
		{"syntax", `body.status ==`, "something is missing at the end (at character 14)"},
		{"two values", `1 2`, "unexpected token"},
		{"one equals sign", `body.status = "Approved"`, "= does not compare: write == (at character 13)"},
		{"if", `if body.status == "Approved"`, "a condition stands alone, without if"},
		{"if then", `if body.x == 1 then true`, "a condition stands alone, without if"},
		{"when", `when body.x == 1`, "a condition stands alone, without if"},
		{"if in the middle", `test and if body.x == 1`, "if cannot stand inside a condition"},
		{"unless", `unless body.x == 1`, "write not (…)"},
		{"three equals signs", `body.x === 1`, "write == or !="},
		{"pattern sign", `body.x =~ "a"`, "write text matches"},
		{"unequal", `body.x <> 1`, "write !="},
		{"one and sign", `body.x == 1 & body.y == 2`, "write and"},
		{"large and", `body.x == 1 AND body.y == 2`, "write and"},
		{"one or sign", `body.x == 1 | body.y == 2`, "write or"},
		{"large or", `body.x == 1 OR body.y == 2`, "write or"},
		{"large not", `NOT test`, "write not"},
		{"is", `body.x is nil`, "write =="},
		{"like", `body.x like "a"`, "write contains, startsWith"},
		{"starts with", `body.x starts with "a"`, "write startsWith"},
		{"curly quotes", `body.x == “a”`, "straight quotes"},
		{"braces", `{{caller_id}} == "1"`, "no {{ and }}"},
		{"open text", `body.x == "a`, "the second quote of a text is missing"},
		{"if in a text", `"if x = 1" 2`, "unexpected token"},
		{"second line", "test and\nbody.x = 1", "write == (at line 2, character 8)"},
		{"null", `body.x == null`, "did you mean nil?"},
		{"large true", `test == TRUE`, "did you mean true?"},
		{"bare name", `status == "Approved"`, "did you mean body.status? Or declare it in the source: field status `body.status`."},
		{"bare name near another", `state == "Approved"`, "did you mean date or body.state?"},
		{"env", `$env`, "must not begin with $"},
		{"env member", `$env.event`, "must not begin with $"},
		{"env in get", `get($env, "event")`, "must not begin with $"},
		{"env as function", `$env()`, "unknown function"},
		{"underscore", `_f0`, "must not begin with _"},
		{"underscore call", `_f0(1)`, "unknown function"},
		{"let underscore", `let _a = 1; _a`, "underscore"},
		{"let system parameter", `let caller_id = 1; 1`, "a system parameter"},
		{"let variable", `let body = 1; 1`, "a variable"},
		{"let field", `let order_id = 1; 1`, "a field of source icfm"},
		{"let parameter", `let approved = 1; 1`, "a custom parameter"},
		{"let function", `let len = 1; 1`, "a function"},
		{"let let", `let a = 1; let a = 2; a`, "declared already"},
		{"let out of scope", `(let a = 1; a) + a`, `unknown name "a"`},
		{"function without brackets", `upper`, "needs brackets"},
		{"too few arguments", `replace("a", "b")`, "takes 3 to 4 values"},
		{"too many arguments", `upper("a", "b")`, "takes 1 values"},
		{"call of a value", `body.status()`, "unknown function"},
		{"call of a call", `now().In()`, "takes 1 values"},
		{"a text beside or", `body.status == "Won" or "Lost"`, "`\"Lost\"` stands alone beside or, but must be true or false; to compare with several values write: x in [\"a\", \"b\"]"},
		{"a number beside and", `body.n > 1 and 2`, "`2` stands alone beside and"},
		{"text has no members", `studio_api.x`, "has no members"},
		{"three predicates", `any(body, any(#, any(#, true)))`, "nested 2 deep"},
		{"predicate in pipe", `body | any(# | any(# | any(true)))`, "nested 2 deep"},
		{"constant comparison", `"45" > 30`, "`\"45\" > 30` compares text with a number"},
		{"constant in a part", `test and "45" == 45`, "compares text with a number"},
		{"parameter", `approved > 30`, "compares text with a number"},
		{"constant calculation", `1 % 0`, "division by zero"},
		{"constant function", `int("x")`, "not a number"},
		{"pattern", `caller_id matches "("`, "missing closing )"},
		{"pattern of a parameter", `caller_id matches studio_api + "("`, "not a regular expression"},
		{"pattern number", `caller_id matches 1`, "must be text"},
		{"verbatim inside", `upper(verbatim(body.x))`, "whole expression"},
		{"verbatim of two", `verbatim(1, 2)`, "whole expression"},
		{"pointer outside", `#`, "unexpected token"},
		{"accumulator outside", `map([1], #acc)`, "unknown pointer"},
		{"too long", `"` + strings.Repeat("x", maxSource) + `"`, "longer than 16 KiB"},
		{"too many parts", strings.Repeat("1+", maxNodes) + "1", "maximum allowed nodes"},
		{"doubled parts", doubled, "more than 2000 parts"},
		{"deep", strings.Repeat("(", 8000) + "1", ""},
		{"large constant", "let a = [1,1]; let b = [a,a]; let c = [b,b]; let d = [c,c]; let e = [d,d]; let f = [e,e]; let g = [f,f];" +
			"let h = [g,g,g,g,g,g,g,g,g,g]; let i = [h,h,h,h,h,h,h,h,h,h]; let j = [i,i,i,i,i,i,i,i,i,i]; let k = [j,j,j,j,j,j,j,j,j,j,j]; [k,k,k,k,k,k]", "more than"},
	} {
		_, err := l.Compile(test.source)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// Errors go to logs and to the activity. What stands in a secret must not.
func TestErrorsHoldNoSecrets(t *testing.T) {
	l := newLanguage(t, Definitions{Parameters: []config.Parameter{{Name: "token", Value: "{env.hunter2(}"}}})
	for _, source := range []string{
		`token > 1`, `token + 1`, `caller_id matches token`, `duration(token)`, `date(token)`, `timezone(token)`, `int(token)`,
		`token.x`, `token and true`, `any(token, true)`, `fromBase64(token)`, `1 in token`, `-token`, `token[1.5:]`, `{(1): token}`,
	} {
		_, err := l.Compile(source)
		if err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("`%s`: %v", source, err)
		}
	}
}

func TestTrusted(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]any{
		`studio_api`:                        "http://192.168.1.20:8080",
		`studio_api + "/folders"`:           "http://192.168.1.20:8080/folders",
		`upper(approved)`:                   "APPROVED",
		`"x"`:                               "x",
		`1 + 2`:                             int64(3),
		`1.5`:                               "1.5",
		`nil`:                               nil,
		`approved == "Approved" ? "a" : 1`:  "a",
		`let a = approved; a + a`:           "ApprovedApproved",
		`join(map(["a", "b"], # + "!"))`:    "a!b!",
		`duration("90m").Minutes()`:         int64(90),
		`verbatim(approved)`:                "Approved",
		`studio_api[7:14]`:                  "192.168",
		`if true { approved } else { nil }`: "Approved",
	} {
		x := compile(t, l, source)
		if text, ok := want.(string); ok && source == "1.5" {
			want = numberOf(text)
		}
		if !x.Trusted() {
			t.Errorf("`%s` is not trusted", source)
			continue
		}
		if got := x.For("200"); got.Value != want || got.Secret || got.Missing != nil || len(x.Tenants()) != 0 {
			t.Errorf("`%s` gives %+v, want %#v", source, got, want)
		}
		if evaluated, err := l.Bind(eventtest.Typical(t)).Evaluate(x); err != nil || evaluated != want {
			t.Errorf("`%s` evaluates to %#v, %v", source, evaluated, err)
		}
	}
	for _, source := range []string{
		`body.status`, `studio_api + body.status`, `now()`, `now().Year()`, `date("2026-03-13").Year()`, `string(now())`, `true or test`, `order_id`, `caller_id`,
		`approved == "x" and test`, `false ? body.x : "a"`, `source`, `verbatim(body.x)`, `headers["x"] ?? "a"`, `len(query)`,
	} {
		if x := compile(t, l, source); x.Trusted() {
			t.Errorf("`%s` is trusted to be %#v", source, x.For("").Value)
		}
	}
}

func TestVerbatim(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]bool{
		`verbatim(body.status)`:        true,
		`verbatim(upper(body.status))`: true,
		`body.status | verbatim()`:     true,
		`body.status`:                  false,
	} {
		x := compile(t, l, source)
		if x.Verbatim() != want || x.String() != source {
			t.Errorf("`%s` is verbatim: %t", x, x.Verbatim())
		}
	}
	v, err := l.Bind(eventtest.Typical(t)).Evaluate(compile(t, l, `verbatim(body.status)`))
	if v != "Approved" || err != nil {
		t.Errorf("verbatim gives %#v, %v", v, err)
	}
}

// All functions of expr are functions here, so that its documentation holds.
func TestEveryFunctionOfExpr(t *testing.T) {
	for _, name := range exprFunctions() {
		_, isFunction := functions[name]
		if !isFunction && listFolds[name] == nil && name != "reduce" && name != "sortBy" {
			t.Errorf("expr's function %s is missing", name)
		}
	}
}

// The variable subject came after the others: where a configuration has a field or a
// parameter of that name, it means what it meant.
func TestSubjectMayBeRedefined(t *testing.T) {
	e := eventtest.Typical(t)
	e.Subject, e.Fields = "Job 7", map[string]any{"subject": "of a field"}
	for name, c := range map[string]struct {
		definitions Definitions
		source      string
		want        any
		names       bool
	}{
		"the event's":    {Definitions{}, `subject + "!"`, "Job 7!", true},
		"a field's":      {Definitions{Sources: []Source{{Name: "erp", Fields: []string{"subject"}}}}, `subject + "!"`, "of a field!", false},
		"a parameter's":  {Definitions{Parameters: []config.Parameter{{Name: "subject", Value: "fixed"}}}, `subject + "!"`, "fixed!", false},
		"a variable's":   {Definitions{}, `let subject = "x"; subject + "!"`, "x!", true},
		"the event's id": {Definitions{}, `id`, e.ID, false},
	} {
		l := newLanguage(t, c.definitions)
		x, err := l.Compile(c.source)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := l.Bind(e).Evaluate(x)
		if err != nil || got != c.want || l.NamesSubject(c.source) != c.names {
			t.Errorf("%s: %v and %v, want %v; it is named: %v", name, got, err, c.want, l.NamesSubject(c.source))
		}
	}
	e.Subject = ""
	l := newLanguage(t, Definitions{})
	x, err := l.Compile("subject")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Bind(e).Evaluate(x); got != nil || err != nil {
		t.Errorf("no subject is %v, %v, want absent", got, err)
	}
}
