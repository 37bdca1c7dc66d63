package receive_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// parsing says what a JSON text must lead to.
type parsing int

const (
	valid   parsing = iota // decoded, stored once
	invalid                // kept with parse_error
	either                 // RFC 8259 leaves it to the implementation
)

// TestJSONVectors posts JSON texts that are valid, invalid or neither. None may
// be refused, and the bytes stay.
func TestJSONVectors(t *testing.T) {
	depth := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	vectors := map[parsing][]string{
		valid: {
			`{}`, `{"":0}`, `{"a":{}}`, `[[],{}]`, `[null]`, `0`, `-0`, `-1`, `1.5`, `1e1`, `1E+1`, `0.1e-1`, `123456789012345678901234567890`,
			`true`, `false`, `null`, `""`, `" "`, `"\"\\\/\b\f\n\r\t"`, `"\u0000"`, `"\u00e9"`, `"\ud83c\udfac"`, `"é"`, `"🎬"`, "\"\u007f\"",
			` { "a" : [ 1 , 2 ] } `, "\t{}\n", "{\"a\":1}\r\n", `{"a":1,"a":2}`, `{"a":"{","b":"}"}`, `{"a":1e400}`, `[1,[2,[3,[4]]]]`,
			`{"a":"http:\/\/x"}`, `"` + strings.Repeat("x", 100_000) + `"`, `[` + strings.Repeat(`{"a":[1]},`, 500) + `0]`, depth(200),
		},
		invalid: {
			`{`, `}`, `[`, `]`, `{]`, `[}`, `{"a"`, `{"a":`, `{"a":}`, `{"a":1,}`, `{"a":1`, `{"a":"1`, `{"a" 1}`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`, `{1:1}`,
			`[1,]`, `[,1]`, `[1 2]`, `[1`, `[1,,2]`, `["a]`, `{"a":1}}`, `{"a":1} x`, `[1]]`, `[1] [`, `[] []`, `{} 2`, `1 2`, `01`, `-`, `+1`, `.5`, `1.`, `1e`, `1e+`, `0x10`, `1_000`,
			`NaN`, `Infinity`, `-Infinity`, `nul`, `tru`, `TRUE`, `None`, `undefined`, `'a'`, `"a`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"a\tb\"", "\"a\nb\"", "\"a\x00b\"",
			`{"a":1/*c*/}`, `//c`, `{"a":{{b}}}`, `{"a":{{b}},"c":1}`, `{"a":,"b":1}`, `{"a":"b"c"}`, "{\"a\":\x01}", `{"a"::1}`, `{"a":1,,"b":2}`, `{:1}`, `{,}`,
			strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), strings.Repeat(`[{"":`, 50_000), depth(100_000), strings.Repeat("{", 100_000),
		},
		either: {
			`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud83c\u0041"`, "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "[\"\xc0\xaf\"]", "\ufeff{}", `1e999999999`,
			`-1e-999999999`, strings.Repeat("1", 100_000), `0.` + strings.Repeat("1", 100_000), depth(400), depth(600), "{}\x00", "\x00", "[1]\f", "\u00a0{}",
		},
	}
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for expected, texts := range vectors {
		for _, text := range texts {
			name := text[:min(len(text), 40)]
			received, err := r.Receive(post("?event=x", "application/json", text), origin)
			if err != nil || len(received.Events) == 0 {
				t.Errorf("%q: %v", name, err)
				continue
			}
			for _, e := range received.Events {
				checkEvent(t, e)
				if e.Name != "x" {
					t.Errorf("%q: the event is %s", name, e.Name)
				}
				if expected == valid && e.ParseError != "" || expected == invalid && e.ParseError == "" {
					t.Errorf("%q: parse error %q", name, e.ParseError)
				}
			}
			if len(received.Events) == 1 && string(received.Events[0].RawBody) != text && !strings.HasPrefix(text, "[") {
				t.Errorf("%q: raw body is %q", name, received.Events[0].RawBody)
			}
		}
	}
}

// TestRecovery posts broken JSON to see what is read from it.
func TestRecovery(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, test := range []struct{ text, want string }{
		{`{"n":"Bob "B" Lee","x":1}`, `{"n":"Bob \"B\" Lee","x":1}`},
		{`{"n":""Bob"","x":1}`, `{"n":"\"Bob\"","x":1}`},
		{`{"n":"Lee, "B", Bob","x":1}`, `{"n":"Lee, \"B\", Bob","x":1}`},
		{`{"n":"5" TV","x":"a"}`, `{"n":"5\" TV","x":"a"}`},
		{`{"n":"ACME\","x":"a"}`, `{"n":"ACME\\","x":"a"}`},
		{`{"n":"ACME\"}`, `{"n":"ACME\\"}`},
		{`{"n":"C:\Users\x","m":"a\"b"}`, `{"n":"C:\\Users\\x","m":"a\"b"}`},
		{`{"n":"\u00e9\ud83c\udfac\ud83c\q"}`, `{"n":"é🎬\ufffd\\q"}`},
		{"{\"n\":\"a\tb\x00c\r\n\"}", `{"n":"a\tb\u0000c\r\n"}`},
		{`{"a":{{tag}},"b":{{ tag }} , "c":%TAG%,"d":1}`, `{"a":null,"b":null,"c":"%TAG%","d":1}`},
		{`{"a":,"b": ,"c":1,"d":}`, `{"a":null,"b":null,"c":1,"d":null}`},
		{`{"a":1 "b":"2" "c":3}`, `{"a":1,"b":"2","c":3}`},
		{"{\"a\":1\n\"b\":\"2\"\n\"c\":3}", `{"a":1,"b":"2","c":3}`},
		{`{"a":"1" "b":"2"}`, `{"a":"1","b":"2"}`},
		{`{a:1,b:"x",c:'y','d':2}`, `{"a":1,"b":"x","c":"y","d":2}`},
		{`{"a":05551,"b":-x,"c":1.50,"d":True}`, `{"a":"05551","b":"-x","c":1.50,"d":"True"}`},
		{`{"a":"x, "b":2,}`, `{"a":null,"b":2}`},
		{`{"a":"x", b":2,"c":"y}`, `{"a":"x","b":2,"c":null}`},
		{`{"a":1,"b":[1,2,,{"c":3},"x"y"],"d":4}`, `{"a":1,"b":[1,2,{"c":3},"x\"y"],"d":4}`},
		{`{"m":"{"e":"2","s":["a","b"]}","x":{{y}}}`, `{"m":{"e":"2","s":["a","b"]},"x":null}`},
		{`{"m":"[{"e":"2"}]","x":1}`, `{"m":[{"e":"2"}],"x":1}`},
		{`{"a":1,"b":{"c":2,"d":"half`, `{"a":1,"b":{"c":2,"d":null}}`},
		{`{"a":1,"b":123`, `{"a":1,"b":null}`},
		{`{"a":1}garbage`, `{"a":1}`},
		{`callback({"a":1})`, `{"a":1}`},
		{`callback({"a":"b"});`, `{"a":"b"}`},
		{`{"a":"1","a":"2","b":x}`, `{"a":"2","b":"x"}`},
		{`{"a":[1,2}`, `{"a":[1,2]}`},
		{`{"a":[{"b":1],"c":2}`, `{"a":[{"b":1}],"c":2}`},
		{`{"id":9007199254740993,"big":18446744073709551615,"x":y}`, `{"id":9007199254740993,"big":18446744073709551615,"x":"y"}`},
		{`nothing of it`, `"nothing of it"`},

		// Not values: a second colon, text that may be two, halves, comments,
		// what has no key, words of a value that look like a key.
		{`{"x"::"b"}`, `{"x":null}`},
		{`{"x":: b"}`, `{"x":null}`},
		{`{"x"::"b,c":"d"}`, `{"x":null}`},
		{`{"x":="b","y":1}`, `{"x":null,"y":1}`},
		{`{"x"=>"b","y":1}`, `{"y":1}`},
		{`{"x":,"b"}`, `{"x":null}`},
		{`{"a":"b":"c","d":1}`, `{"a":null,"d":1}`},
		{`{"a" "b":1}`, `{"b":1}`},
		{`{"a":"b" "c"}`, `{"a":null}`},
		{`["a" "b", "c"]`, `[null,"c"]`},
		{`{"a":/*c*/"b"}`, `{"a":null}`},
		{"{\"a\":1//c\n}", `{"a":null}`},
		{`{"a":1/*c*/,"b":2}`, `{"a":null,"b":2}`},
		{`{"a":x[1],"b":2}`, `{"a":null,"b":2}`},
		{`{"a":x{"event":"e"},"b":2}`, `{"a":null,"b":2}`},
		{`{"a":Lee, Bob,"b":2}`, `{"a":null,"b":2}`},
		{"{\"a\":Bob\nLee,\"b\":2}", `{"a":null,"b":2}`},
		{`{"a":Bob Lee,"b":+44 20 7946}`, `{"a":"Bob Lee","b":"+44 20 7946"}`},
		{`{"a":11:41:58,"b":O'Neill,"c":2}`, `{"a":"11:41:58","b":"O'Neill","c":2}`},
		{`{"a":"Re: "Budget": final","b":2}`, `{"a":"Re: \"Budget\": final","b":2}`},
		{`{"a":"He said "hi", event: foo","b":2}`, `{"a":"He said \"hi\", event: foo","b":2}`},
		{`{"a":"see "list"} there","b":2}`, `{"a":"see \"list\"} there","b":2}`},
		{`{"a":{{"event":"e"},"b":2}`, `{"a":{"b":2}}`},
		{`{"a":{"b":1],"event":"e"}}`, `{"a":{"b":1,"event":"e"}}`},
		{`{"a":'x, y',"b":'z'}`, `{"a":"x, y","b":"z"}`},
		{`{:"x","a":1}`, `{"a":1}`},
		{`{"a":"x","event`, `{"a":"x"}`},
		{`{"event":"pro`, `{"event":null}`},
		{`["x", truth, 12`, `[null]`},
	} {
		e := r.one(t, post("?event=x", "application/json", test.text))
		want, err := event.DecodeJSON(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e.Body, want) || e.ParseError == "" || string(e.RawBody) != test.text {
			got, _ := json.Marshal(e.Body)
			t.Errorf("%s\ngave %s\nwant %s (%s)", test.text, got, test.want, e.ParseError)
		}
		checkEvent(t, e)
	}
}

// TestHostileBodies posts bodies that would take quadratic time, or much
// memory, if anything did more than one look at each byte. Each takes minutes
// then.
func TestHostileBodies(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	fill := func(pattern string) string { return strings.Repeat(pattern, (1<<19)/len(pattern)) }
	for _, body := range []string{
		`{"a":"` + fill(`"`), `{"a":"` + fill(`\"`), `{"a":"` + fill(`",`), `{"a":"` + fill(`", `), `{"a":"` + fill(`","b`), `{"a":"` + fill(`","b"`),
		`{` + fill(`"a":`), `{` + fill(`"`), `{` + fill(`a`), `{` + fill(`a:`), `{"a":` + fill(" "), `{"a":"x"` + fill(" \n"), `[` + fill(`,`), `[` + fill(`"`),
		`[` + fill(`{"a":"`), `[` + fill(`"[{`), fill(`{{`), fill(`[{`), `{"a":` + fill(`{{a`), `{"a":"b" "` + fill(`" "`), `{"a":"` + fill(`}`), `{"a":"` + fill(`\u`),
		fill("<a>"), fill("<a "), "<a>" + fill("&amp;"), "<a>" + fill("&x;"), "<a>" + fill("<b/>"), fill("<!--"), "<a " + fill(`b="1" `), "<!DOCTYPE a [" + fill("<"),
		fill("a=&"), fill("a[]=1&"), fill("&"), fill("%"), fill("a%"), "a=" + fill("+"), "--b\r\n" + fill("Content-Disposition: form-data; name=a\r\n\r\n--b\r\n"),
		"--\r\ncontent-disposition:" + fill("\r\n--"), "--b\r\ncontent-disposition:" + fill("a;"), "--b\r\n" + fill("content-disposition:\r\n"),
		`{"a":"` + nested(60) + `","b":1}`, fill("\xff\xfe"), fill("\x00a"), fill("=?"), fill("("),
	} {
		for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/xml"} {
			body := body[:min(len(body), 1<<20)]
			received, err := r.Receive(post("?event=x", contentType, body), origin)
			if err != nil && status(err) != 413 {
				t.Errorf("%.40q as %s: %v", body, contentType, err)
			}
			if err == nil && len(received.Events) == 0 {
				t.Errorf("%.40q as %s: no event", body, contentType)
			}
		}
	}
}

// nested returns an object in text in an object in text, and so on, escaped in
// the form that grows least.
func nested(n int) string {
	text := `{"a":1}`
	for range n {
		text = `{"a":"` + strings.NewReplacer(`\`, `\u005c`, `"`, `\u0022`).Replace(text) + `"}`
		if len(text) > 1<<19 {
			break
		}
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
}

// TestOpenings checks how often text in text is opened.
func TestOpenings(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	e := r.one(t, post("?event=x", "application/json", `{"a":"`+nested(6)+`"}`))
	if _, isText := r.value(t, e, "body.a.a.a.a.a").(string); !isText {
		t.Errorf("got %#v", e.Body)
	}
	checkEvent(t, e)
}

// TestBodies posts bodies of all kinds, declared rightly and wrongly.
func TestBodies(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	part := func(head, body string) string {
		return "--b\r\nContent-Disposition: form-data; " + head + "\r\n\r\n" + body + "\r\n"
	}
	for _, test := range []struct {
		contentType, body string
		want              any
		broken            bool
	}{
		{"application/json", `"{\"a\":[1]}"`, map[string]any{"a": []any{int64(1)}}, false},
		{"application/json", `"plain"`, "plain", false},
		{"application/json", `{"a":"{\"b\":\"[{\\\"c\\\":1}]\"}"}`, map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": int64(1)}}}}, false},
		{"application/json", `{"a":"[1]","b":"{x}","c":"{}","d":"[]"}`, map[string]any{"a": "[1]", "b": "{x}", "c": map[string]any{}, "d": "[]"}, false},
		{"application/json", `{"calling_name":"[{}]","a":"[{}]"}`, map[string]any{"calling_name": "[{}]", "a": []any{map[string]any{}}}, false},
		{"application/json", `{"a":"","b":null,"c":"{{d}}"}`, map[string]any{"a": "", "b": nil, "c": "{{d}}"}, false},
		{"application/vnd.api+json; charset=utf-8", `{"a":1}`, map[string]any{"a": int64(1)}, false},
		{"application/json; charset=utf-16", `{"a":1}`, map[string]any{"a": int64(1)}, false}, // which it is not
		{"application/json; charset=no-such", `{"a":"é"}`, map[string]any{"a": "é"}, false},
		{"application/json", "{\x00\"\x00a\x00\"\x00:\x001\x00}\x00", map[string]any{"a": int64(1)}, false}, // UTF-16 without a mark
		{"text/html", `{"a":1}`, map[string]any{"a": int64(1)}, false},

		{"application/x-www-form-urlencoded", "a=1&a=2&b[]=x&b[]=y&c&=d&&e=%zz%4&f=a+b%2B", map[string]any{
			"a": []any{"1", "2"}, "b": []any{"x", "y"}, "c": "", "": "d", "e": "%zz%4", "f": "a b+"}, false},
		{"application/x-www-form-urlencoded", "a=1&a[]=2&b[]=3&b=4&[]=5", map[string]any{"a": []any{"1", "2"}, "b": []any{"3", "4"}, "[]": "5"}, false},
		{"application/x-www-form-urlencoded; charset=iso-8859-1", "a=%FC&b=\xfc&c=%C3%BC", map[string]any{"a": "ü", "b": "ü", "c": "ü"}, false},
		{"application/x-www-form-urlencoded", `{"a":"Bob "B" Lee"}`, map[string]any{"a": `Bob "B" Lee`}, true},
		{"application/x-www-form-urlencoded", "<?xml version='1.0'?><a>1</a>", map[string]any{"a": "1"}, false},
		{"", "a=1&b=2", map[string]any{"a": "1", "b": "2"}, false},
		{"text/plain", "a=1&b=2", map[string]any{"a": "1", "b": "2"}, false},
		{"text/plain", "a=1", "a=1", false},
		{"text/plain", "a = 1 & b", "a = 1 & b", false},
		{"text/plain", " [12:30] Bob\n", " [12:30] Bob\n", false},
		{"text/plain", "730114", "730114", false},
		{"text/plain; charset=iso-8859-1", "M\xfcller", "Müller", false},
		{"application/octet-stream", "\x00\x01\xff", nil, true},

		{"multipart/form-data; boundary=b", part(`name="a"`, "1") + part(`name="a"`, "2") + part(`name="l[]"`, "x") + part(`name="f"; filename="../e.txt"`, "data") + "--b--\r\n",
			map[string]any{"a": []any{"1", "2"}, "l": []any{"x"}, "f": map[string]any{"name": "e.txt", "size": int64(4), "type": ""}}, false},
		{"multipart/form-data; boundary=b", "preamble\r\n" + part(`name="a"`, "1") + "--b--", map[string]any{"a": "1"}, false},
		{"multipart/form-data; boundary=other", part(`name="a"`, "1") + "--b--", map[string]any{"a": "1"}, false},
		{"multipart/form-data; boundary=b", part(`name="a"`, "1") + part(`name="b"`, "cut")[:20], map[string]any{"a": "1"}, true},
		{"multipart/form-data; boundary=b", part(`name="a"`, `{"b":1}`) + "--b--", map[string]any{"a": map[string]any{"b": int64(1)}}, false},
		{"multipart/form-data", "no parts", "no parts", true},
		{"multipart/form-data; boundary=b", `{"a":1}`, map[string]any{"a": int64(1)}, false},

		{"text/xml", `<a x="1" xmlns="urn:x" xmlns:y="urn:y"><y:b>2</y:b><b>3</b><c/><x>4</x> t <d> <e>5</e></d></a>`, map[string]any{"a": map[string]any{
			"x": []any{"1", "4"}, "b": []any{"2", "3"}, "c": "", "#text": "t", "d": map[string]any{"e": "5"}}}, false},
		{"application/soap+xml", `<a> padded </a><!-- c -->`, map[string]any{"a": " padded "}, false},
		{"text/xml", `<a><b>Smith & Sons</b><c>1</c></a>`, map[string]any{"a": map[string]any{"b": "Smith & Sons", "c": "1"}}, true},
		{"text/xml", `<a><b>1</b><c>half`, map[string]any{"a": map[string]any{"b": "1"}}, true},
		{"text/xml", `<a><![CDATA[<b>]]></a>`, map[string]any{"a": "<b>"}, false},
		{"text/xml; charset=utf-8", `<?xml version="1.0" encoding="utf-16"?><a>é</a>`, map[string]any{"a": "é"}, false},
		{"", `<a>1</a>`, map[string]any{"a": "1"}, false},
		{"text/xml", "no XML", "no XML", true},
		{"text/plain", "<- see there", "<- see there", false},
	} {
		e := r.one(t, post("?event=x", test.contentType, test.body))
		if !reflect.DeepEqual(e.Body, test.want) || (e.ParseError != "") != test.broken || string(e.RawBody) != test.body {
			t.Errorf("%s: %.60q\ngave %#v (%s)\nwant %#v", test.contentType, test.body, e.Body, e.ParseError, test.want)
		}
		checkEvent(t, e)
	}
}

// TestDeepXML checks that deeply nested XML is cut off and what came before is
// kept.
func TestDeepXML(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	e := r.one(t, post("", "text/xml", "<r><event>x</event>"+strings.Repeat("<a>", 100_000)))
	if e.Name != "x" || !strings.Contains(e.ParseError, "deep") {
		t.Errorf("got %s, %q", e.Name, e.ParseError)
	}
	checkEvent(t, e)
}

// TestBatches checks what becomes of lists.
func TestBatches(t *testing.T) {
	for _, test := range []struct {
		batch, rest, contentType, body string
		events, raws                   []string
	}{
		{"", "", "application/json", ` [ {"event": "a", "n": 1.0} , "x", [2] ] `, []string{"a", "unknown", "unknown"}, []string{`{"event": "a", "n": 1.0}`, `"x"`, `[2]`}},
		{"", "?event=q", "application/json", `[{"event":"a"},{}]`, []string{"q", "q"}, []string{`{"event":"a"}`, `{}`}},
		{"", "", "application/json", `[]`, []string{"unknown"}, []string{`[]`}},
		{"", "", "application/json", `["{\"event\":\"a\"}"]`, []string{"a"}, []string{`"{\"event\":\"a\"}"`}},
		{"", "", "application/json", `"[{\"event\":\"a\"}]"`, []string{"a"}, []string{`{"event":"a"}`}},
		{"", "", "application/json", `[{"event":"a"},{"event":"b"`, []string{"a", "b"}, []string{`{"event":"a"}`, `{"event":"b"`}},
		{"body.list", "", "application/json", `{"event":"e","list":[{"event":"a","n":1.10,"s":"<é>"},{"id":2}]}`, []string{"a", "e"}, []string{`{"event":"a","n":1.10,"s":"<é>"}`, `{"id":2}`}},
		{"body.list", "", "application/json", `{"event":"e","list":[]}`, []string{"e"}, []string{`{"event":"e","list":[]}`}},
		{"body.list", "", "application/json", `{"event":"e","list":"x"}`, []string{"e"}, []string{`{"event":"e","list":"x"}`}},
		{"body.list", "", "application/json", `[{"event":"a"}]`, []string{"a"}, []string{`{"event":"a"}`}},
		{"body.list", "", "application/x-www-form-urlencoded", `list=%5B%7B%22event%22:%22a%22%7D%5D`, []string{"a"}, []string{`{"event":"a"}`}},
		{"body.r.i", "", "text/xml", `<r><event>e</event><i><event>a</event></i><i><n>2</n></i></r>`, []string{"a", "e"}, []string{`{"event":"a"}`, `{"n":"2"}`}},
	} {
		r := newRelay(t, receive.Options{}, open(config.Source{Batch: test.batch}))
		received, err := r.Receive(post(test.rest, test.contentType, test.body), origin)
		if err != nil {
			t.Fatal(err)
		}
		var events, raws []string
		ids := map[string]bool{}
		for _, e := range received.Events {
			events, raws = append(events, e.Name), append(raws, string(e.RawBody))
			checkEvent(t, e)
			ids[e.ID] = true
		}
		if !reflect.DeepEqual(events, test.events) || !reflect.DeepEqual(raws, test.raws) || len(ids) != len(events) {
			t.Errorf("%s\ngave %q %q\nwant %q %q", test.body, events, raws, test.events, test.raws)
		}
	}
}

// TestNames checks where an event's name is found.
func TestNames(t *testing.T) {
	declared := []config.EventType{{Name: "ringing"}, {Name: "Order Paid"}, {Name: "30011"}}
	long := strings.Repeat("é", 200)
	for _, test := range []struct{ rest, header, body, nameFrom, want string }{
		{"", "", `{"event":"a","event_name":"b"}`, "", "a"},
		{"", "", `{"EVENT":"a","Event":"b"}`, "", "a"},
		{"", "", `{"Event":"a","event":"b"}`, "", "b"},
		{"", "", `{"event":"","event_name":"{{event}}","eventType":"c"}`, "", "c"},
		{"", "", `{"eventName":"a"}`, "", "a"},
		{"", "", `{"event_type":"a"}`, "", "a"},
		{"", "", `{"hook_event":"a"}`, "", "a"},
		{"", "", `{"type":"a","status":"b"}`, "", "unknown"},
		{"", "", `{"type":"call","status":"Ringing"}`, "", "ringing"},
		{"", "", `{"type":"order-PAID"}`, "", "Order Paid"},
		{"", "", `{"type":30011}`, "", "30011"},
		{"", "", `{"event":30012}`, "", "unknown"},
		{"", "", `{"event":30011}`, "", "30011"},
		{"", "", `{"event":true,"type":1.5}`, "", "unknown"},
		{"", "", `{"data":{"event_type":"a","event":"b"}}`, "", "a"},
		{"", "", `{"data":{"event":"a"},"payload":{"event":"b"}}`, "", "a"},
		{"", "", `{"payload":{"event":"b"}}`, "", "b"},
		{"", "", `{"event":"Not Declared"}`, "", "Not Declared"},
		{"", "", `{"event":"` + long + `"}`, "", long[:256]},
		{"?type=ringing", "", `{"event":"a"}`, "", "ringing"},
		{"?type=other", "", `{"event":"a"}`, "", "a"},
		{"?EventName=q", "h", `{"event":"a"}`, "", "q"},
		{"?event=%7B%7Bevent%7D%7D", "h", `{"event":"a"}`, "", "h"},
		{"/p", "h", `{"event":"a"}`, "", "p"},
		{"/p%2Fq/r", "", "", "", "p/q"},
		{"/%7B%7Bevent%7D%7D?event=q", "", "", "", "q"},
		{"/", "", `{"event":"a"}`, "", "a"},
		{"/%FF%0A", "", "", "", "\uFFFD\n"},
		{"/p", "h", `{"event":"a","kind":"k"}`, "body.kind", "k"},
		{"/p", "h", `{"event":"a","kind":30011}`, "body.kind", "30011"},
		{"/p", "h", `{"event":"a"}`, "body.kind", "unknown"},
		{"/p", "h", `{"event":"a"}`, `headers["X-Event"] + "!"`, "h!"},
		{"", "", `{"event":"a","kind":["k"]}`, "body.kind", "unknown"},
	} {
		r := newRelay(t, receive.Options{}, open(config.Source{Events: declared, NameFrom: test.nameFrom}))
		request := post(test.rest, "application/json", test.body)
		if test.header != "" {
			request.Header.Set("X-Event", test.header)
		}
		if e := r.one(t, request); e.Name != test.want {
			t.Errorf("%s %s %s by %s is %q, want %q", test.rest, test.header, test.body, test.nameFrom, e.Name, test.want)
		}
	}
}

// TestMounts checks what follows the mount, however the path is written.
func TestMounts(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, test := range []struct{ mount, path, want string }{
		{"/listen.php", "//listen.php//x", "x"}, {"/listen.php", "/a/../listen.php/x/", "x"}, {"/a/b", "/a/b/x", "x"}, {"/a/b/", "/a/b/x", "x"},
		{"", "/x", "x"}, {"/", "/x", "x"}, {"/", "/", "unknown"}, {"/a", "/a/x%20y", "x y"}, {"/a%20b", "/a%20b/x", "x"}, {"/a b", "/a%20b/x", "x"},
	} {
		request := post("", "", "{}")
		request.URL = must(request.URL.Parse("http://h" + test.path))
		received, err := r.Receive(request, receive.Origin{Mount: test.mount})
		if err != nil || received.Events[0].Name != test.want {
			t.Errorf("%s at %s: got %v, %v, want %s", test.path, test.mount, received, err, test.want)
		}
	}
}
