package receive_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// TestSeveralValues posts bodies that hold several JSON values. Each is an
// event, with its bytes as they came. Those with "!" could not be read whole.
func TestSeveralValues(t *testing.T) {
	const a, b, c = `{"event":"a","n":1.0}`, `{"event":"b"}`, `{"event":"c"}`
	broken := `{"event":"x","n":"Bob "B" Lee"}`
	for name, test := range map[string]struct {
		batch, contentType, body string
		events, raws             []string
	}{
		"lines":              {"", "application/x-ndjson", a + "\n" + b + "\n" + c + "\n", []string{"a", "b", "c"}, []string{a, b, c}},
		"blank lines":        {"", "application/jsonl", "\r\n" + a + "\r\n\r\n" + b + "\r\n", []string{"a", "b"}, []string{a, b}},
		"lines as JSON":      {"", "application/json", a + "\n" + b, []string{"a", "b"}, []string{a, b}},
		"lines as text":      {"", "text/plain", a + "\n" + b, []string{"a", "b"}, []string{a, b}},
		"lines as form":      {"", "application/x-www-form-urlencoded", a + "\n" + b, []string{"a", "b"}, []string{a, b}},
		"sequence":           {"", "application/json-seq", "\x1e" + a + "\n\x1e" + b + "\n", []string{"a", "b"}, []string{a, b}},
		"nothing between":    {"", "", a + b + c, []string{"a", "b", "c"}, []string{a, b, c}},
		"commas between":     {"", "", a + "," + b + " , " + c + ",", []string{"a", "b", "c"}, []string{a, b, c}},
		"over lines":         {"", "application/json", "{\n\"event\":\"a\"\n}\n{\n\"event\":\"b\"\n}", []string{"a", "b"}, []string{"{\n\"event\":\"a\"\n}", "{\n\"event\":\"b\"\n}"}},
		"lists":              {"", "application/json", "[" + a + "," + b + "]\n[" + c + "]", []string{"a", "b", "c"}, []string{a, b, c}},
		"list and object":    {"", "application/json", "[" + a + "]" + b, []string{"a", "b"}, []string{a, b}},
		"texts":              {"", "application/json", "\"{\\\"event\\\":\\\"a\\\"}\"\n\"x\"", []string{"a", "unknown"}, []string{`"{\"event\":\"a\"}"`, `"x"`}},
		"empty list between": {"", "application/json", a + "\n[]\n" + b, []string{"a", "unknown", "b"}, []string{a, "[]", b}},
		"batch":              {"body.list", "application/json", `{"event":"e","list":[` + a + `,{"n":1}]}` + "\n" + b, []string{"a", "e", "b"}, []string{a, `{"n":1}`, b}},
		"cut off":            {"", "application/json", a + "\n" + `{"event":"b","x":1,"n":"ha`, []string{"a", "b!"}, []string{a, `{"event":"b","x":1,"n":"ha`}},
		"cut off name":       {"", "application/json", a + "\n" + `{"event":"b`, []string{"a", "unknown!"}, []string{a, `{"event":"b`}},
		"cut off after key":  {"", "application/json", a + b + `{"eve`, []string{"a", "b", "unknown!"}, []string{a, b, `{"eve`}},
		"cut off list":       {"", "application/json", "[" + a + "]\n[" + b + "," + `{"event":"c"`, []string{"a", "b!", "c!"}, []string{a, b, `{"event":"c"`}},
		"broken line":        {"", "application/json", a + "\n" + broken + "\n" + c, []string{"a", "x!", "c"}, []string{a, broken, c}},
		"open line":          {"", "application/json", a + "\n" + `{"event":"x","n":"half` + "\n" + c, []string{"a", "x!", "c"}, []string{a, `{"event":"x","n":"half`, c}},
		"broken first":       {"", "application/json", broken + a, []string{"x!", "a"}, []string{broken, a}},
		"more behind":        {"", "application/json", a + " and " + b + " so on", []string{"a!", "b!"}, []string{a + " and", b + " so on"}},
		"other bytes":        {"", "application/json", `{"event":"a","n":"` + "\xff" + `"}` + "\n" + b, []string{"a", "b"}, []string{`{"event":"a","n":"` + "\xff" + `"}`, b}},
		"one only":           {"", "application/json", a + "\n\n", []string{"a"}, []string{a + "\n\n"}},
		"one and a scalar":   {"", "application/json", b + ` "x"`, []string{"b!"}, []string{b + ` "x"`}},

		"broken list":           {"", "application/json", "[" + a + ", " + broken + " ,\n" + c + " ] ", []string{"a!", "x!", "c!"}, []string{a, broken, c}},
		"broken list of one":    {"", "application/json", "[" + broken + "]", []string{"x!"}, []string{"[" + broken + "]"}},
		"list with rest":        {"", "application/json", "[" + a + "," + b + "] and so on", []string{"a!", "b!"}, []string{a, b + "] and so on"}},
		"list with rest inside": {"", "application/json", "[" + a + " and," + b + "]", []string{"a!", "b!"}, []string{a + " and", b}},
		"list of other bytes":   {"", "application/json", `[{"event":"a","n":"` + "\xff" + `"},` + b + "]", []string{"a", "b"}, []string{`{"event":"a","n":"` + "\xff" + `"}`, b}},
		"broken at batch":       {"body.list", "application/json", `{"list":[` + broken + "," + a + "]}", []string{"x!", "a!"}, []string{broken, a}},
		"cut off at batch":      {"body.list", "application/json", `{"list":[` + a + "," + `{"event":"b","n":"ha`, []string{"a!", "b!"}, []string{a, `{"event":"b","n":"ha`}},
		"cut off XML": {"list(body.o.i)", "text/xml", "<o><i><event>a</event></i><i><event>b</event></i><i><eve", []string{"a!", "b!"},
			[]string{`{"event":"a"}`, "<o><i><event>a</event></i><i><event>b</event></i><i><eve"}},
		"XML of one":         {"list(body.o.i)", "text/xml", "<o><i><event>a</event></i></o>", []string{"a"}, []string{`{"event":"a"}`}},
		"cut off XML of one": {"list(body.o.i)", "text/xml", "<o><i><event>a</event></i>", []string{"a!"}, []string{"<o><i><event>a</event></i>"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, receive.Options{}, open(config.Source{Batch: test.batch}))
			received, err := r.Receive(post("", test.contentType, test.body), origin)
			if err != nil {
				t.Fatal(err)
			}
			var events, raws []string
			for _, e := range received.Events {
				mark := ""
				if e.ParseError != "" {
					mark = "!"
				}
				events, raws = append(events, e.Name+mark), append(raws, string(e.RawBody))
				checkEvent(t, e)
			}
			if !reflect.DeepEqual(events, test.events) || !reflect.DeepEqual(raws, test.raws) {
				t.Errorf("%s\ngave %q %q\nwant %q %q", test.body, events, raws, test.events, test.raws)
			}
		})
	}
}

// TestCallersBraces posts what a template of JSON gives when a caller's name is
// put into it unescaped and holds the end of an object and the beginning of
// another. It makes no second event: of a PBX never, elsewhere unless the values
// name their events themselves or have a line each.
func TestCallersBraces(t *testing.T) {
	pbx, named, beside := open(config.Source{Preset: "pbxware"}), open(config.Source{NameFrom: "body.kind"}), open(config.Source{NameFrom: `query.kind ?? "x"`})
	other := open(config.Source{})
	const template = `{"event":"incoming_call","calling_name":"NAME","called_number":"100"}`
	lines := "{\n\"event\": \"incoming_call\",\n\"calling_name\": \"NAME\",\n\"called_number\": \"100\"\n}\n"
	nested := "{\"event\":\"incoming_call\",\"calling_name\":\"NAME\",\"to\":\n{\"called_number\":\"100\"}}"
	for _, test := range []struct {
		source               config.Source
		rest, template, name string
		events               string
	}{
		{pbx, "", template, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{pbx, "", lines, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{pbx, "", template, "x\"}\n{\"event\":\"hangup\",\"calling_name\":\"Boss", "incoming_call!"},
		{pbx, "", template, `x"}[{"event":"hangup"}]{"event":"hangup","a":"`, "incoming_call!"},
		{pbx, "", template, `x"}{"event":"hangup"`, "incoming_call!"},
		{pbx, "/incoming_call", template, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{other, "/incoming_call", template, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{other, "/incoming_call", lines, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{other, "/incoming_call", nested, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{other, "/incoming_call", nested, `x"} {"event":"hangup"} {"calling_name":"Boss"`, "incoming_call!"},
		{other, "/incoming_call", lines, `x"} {"event":"hangup"} "`, "incoming_call!"},
		{other, "/incoming_call", "[" + template + "]", `x"}]{"event":"hangup","a":"`, "incoming_call!"},
		{other, "/incoming_call", template + "\n" + template, "Bob", "incoming_call incoming_call"},
		{other, "/incoming_call", template + "\n" + `{"cut":"o`, "Bob", "incoming_call incoming_call!"},
		{other, "?event=incoming_call", template, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{beside, "?kind=incoming_call", template, `x"}{"event":"hangup","calling_name":"Boss`, "incoming_call!"},
		{named, "/incoming_call", template + template, "Bob", "unknown unknown"},
		{other, "", template + template, "Bob", "incoming_call incoming_call"},
		{other, "", template + `{"event":"b"}` + "\n" + `{"event":"c`, "Bob", "incoming_call b unknown!"},
	} {
		body := strings.ReplaceAll(test.template, "NAME", test.name)
		received, err := newRelay(t, receive.Options{}, test.source).Receive(post(test.rest, "application/json", body), origin)
		if err != nil {
			t.Fatal(err)
		}
		var events []string
		for _, e := range received.Events {
			mark := ""
			if e.ParseError != "" {
				mark = "!"
			}
			events = append(events, e.Name+mark)
			checkEvent(t, e)
		}
		if got := strings.Join(events, " "); got != test.events {
			t.Errorf("%s %s: got %s, want %s", test.rest, body, got, test.events)
		}
		if e := received.Events[0]; len(events) == 1 && (string(e.RawBody) != body || strings.HasPrefix(body, "{") && e.Parameters[event.CallingName] != "x") {
			t.Errorf("%s %s: kept %s, calling_name %v", test.rest, body, e.RawBody, e.Parameters[event.CallingName])
		}
	}
}

// TestBrokenKept posts broken JSON, as JSONTestSuite has it (n_*.json). Whatever
// it is, one event keeps it byte for byte.
func TestBrokenKept(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, text := range []string{
		`[1 true]`, "[a\xe5]", `["": 1]`, `[""],`, `[,1]`, `[1,,2]`, `["x",,]`, `["x"]]`, `["",]`, `["x"`, `[x`, `[3[4]]`, "[\xff]", `[1:2]`, `[,]`, `[-]`, `[   , ""]`,
		"[\"a\",\n4\n,1,", `[1,]`, `[1,,]`, "[\"\va\"\\f]", `[*]`, `[""`, `[1,`, "[1,\n1\n,1", `[{}`, `[fals]`, `[nul]`, `[tru]`, "123\x00", `[++1234]`, `[+1]`, `[+Inf]`,
		`[-01]`, `[-1.0.]`, `[-2.]`, `[-NaN]`, `[.-1]`, `[.2e-3]`, `[0.1.2]`, `[0.3e+]`, `[0.3e]`, `[0.e1]`, `[0E+]`, `[0E]`, `[0e+]`, `[0e]`, `[1.0e+]`, `[1.0e-]`, `[1.0e]`,
		`[1 000.0]`, `[1eE2]`, `[2.e+3]`, `[2.e-3]`, `[2.e3]`, `[9.e+]`, `[Inf]`, `[NaN]`, "[\uff11]", `[1+2]`, `[0x1]`, `[0x42]`, `[Infinity]`, "[0e+-1]", `[-123.123foo]`,
		"[123\xe5]", "[1e1\xe5]", "[0\xe5]", `[-Infinity]`, `[-foo]`, `[- 1]`, `[-012]`, `[-.123]`, `[-1x]`, `[1ea]`, "[1e\xe5]", `[1.]`, `[.123]`, `[1.2a-3]`, `[1.8011670033376514H-308]`, `[012]`,
		`["x", truth]`, `{[: "x"}`, `{"x", null}`, `{"x"::"b"}`, "{\U0001F1E8\U0001F1ED}", `{"a":"a" 123}`, `{key: 'value'}`, "{\"\xb9\":\"0\",}", `{"a" b}`, `{:"b"}`, `{"a" "b"}`, `{"a":`, `{"a"`,
		`{1:1}`, `{9999E9999:1}`, `{null:null,null:null}`, `{"id":0,,,,,}`, `{'a':0}`, `{"id":0,}`, `{"a":"b"}/**/`, `{"a":"b"}/**//`, `{"a":"b"}//`, `{"a":"b"}/`, `{"a":"b",,"c":"d"}`, `{a: "b"}`,
		`{"a":"a`, `{ "foo" : "bar", "a" }`, `{"a":"b"}#`, " ", `["\uD800\"]`, `["\uD800\u"]`, `["\uD800\u1"]`, `["\uD800\u1x"]`, `[é]`, "[\"\\\x00\"]", `["\x00"]`, `["\\\"]`, "[\"\\\t\"]",
		"[\"\\\U0001F300\"]", `["\"]`, `["\u00A"]`, `["\uD834\uDd"]`, `["\uD800\uD800\x"]`, "[\"\\u\xe5\"]", `["\a"]`, `["\uqqqq"]`, "[\"\\\xe5\"]", `[\u0020"asd"]`, `[\n]`, `"`, `['single quote']`, `abc`, `["\`,
		"[\"a\x00a\"]", "[\"new\nline\"]", "[\"\t\"]", `"\UA66D"`, `""x`, `["asd]`, `<.>`, `[<null>]`, `[1]x`, `[1]]`, `["asd]`, `aå`, `[True]`, `1]`, `{"x": true,`, `[][]`, `]`, "\xef\xbb{}", "\xe5", `[`,
		`{}}`, `{"":`, `{"a":/*comment*/"b"}`, `{"a": true} "x"`, `['`, `[,`, strings.Repeat("[", 2000), `[{`, `["a`, `["a"`, `{`, `{]`, `{,`, `{[`, `{"a`, `{'a'`, `["\{["\{["\{["\{`, "\xe9", `*`, `{"a":"b"}#{}`, "[\u2060]",
		`[\u000A""]`, `[1`, `[ false, nul`, `[ true, fals`, `[ false, tru`, `{"asd":"asd"`, "å", "[\u00a0]", strings.Repeat(`[{"":`, 500), `2@`, "[\f]",
	} {
		for _, contentType := range []string{"application/json", ""} {
			received, err := r.Receive(post("?event=x", contentType, text), origin)
			if err != nil || len(received.Events) != 1 {
				t.Errorf("%.40q as %q: %d events, %v", text, contentType, len(received.Events), err)
				continue
			}
			e := received.Events[0]
			if string(e.RawBody) != text || e.ParseError == "" && contentType != "" && strings.TrimSpace(text) != "" {
				t.Errorf("%.40q as %q: kept %.40q (%s)", text, contentType, e.RawBody, e.ParseError)
			}
			checkEvent(t, e)
		}
	}
}

// TestEventsBound checks that no form of body gives more events than one
// request may hold.
func TestEventsBound(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{Batch: "body.list"}))
	for _, test := range []struct {
		body func(n int) string
	}{
		{func(n int) string { return strings.Repeat(`{"a":1}`, n) }},
		{func(n int) string { return strings.Repeat("{}\n", n) }},
		{func(n int) string { return strings.Repeat("{}\n", n-1) + "{x" }},
		{func(n int) string { return strings.Repeat(`{"a":x}`, n) }},
		{func(n int) string { return "[" + strings.Repeat("{},", n-1) + "{}]" }},
		{func(n int) string { return "[" + strings.Repeat("{},", n-1) + "{}" }},
		{func(n int) string { return strings.Repeat("["+strings.Repeat("{},", n/2-1)+"{}]", 2) }},
		{func(n int) string { return strings.Repeat(`{"list":[`+strings.Repeat("{},", n/2-1)+"{}]}", 2) }},
	} {
		received, err := r.Receive(post("", "application/json", test.body(10_000)), origin)
		if err != nil || len(received.Events) != 10_000 {
			t.Errorf("%.20q: %v", test.body(10), err)
		}
		if _, err := r.Receive(post("", "application/json", test.body(10_002)), origin); status(err) != 413 {
			t.Errorf("%.20q: got %v, want status 413", test.body(10), err)
		}
	}
}

// TestValuesWithKeys checks that a key in the first of several values proves
// the request, and that it is removed from all of them.
func TestValuesWithKeys(t *testing.T) {
	const key = "a-key-of-some-length"
	r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: []config.Credential{{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{key}}}})
	body := fmt.Sprintf("{\"event\":\"a\",\"token\":%q}\n{\"event\":\"b\",\"token\":%q}", key, key)
	received, err := r.Receive(post("", "application/json", body), origin)
	if err != nil || len(received.Events) != 2 {
		t.Fatal(received, err)
	}
	for i, want := range []string{`{"event":"a"}`, `{"event":"b"}`} {
		checkNoSecret(t, received.Events[i], key)
		if string(received.Events[i].RawBody) != want {
			t.Errorf("kept %s", received.Events[i].RawBody)
		}
	}
	received, err = r.Receive(post("?event=x", "application/json", strings.Replace(body, "\n", "", 1)), origin)
	if err != nil || len(received.Events) != 1 || string(received.Events[0].RawBody) != `{"event":"a"}{"event":"b"}` {
		t.Error("values in a line gave", received, err)
	}
	if _, err := r.Receive(post("", "application/json", "{\"event\":\"a\"}\n"+body), origin); status(err) != 401 {
		t.Errorf("got %v, want status 401", err)
	}
}
