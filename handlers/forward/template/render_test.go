package template

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

// What the administrator wrote in a URL is sent as written; what came with the
// event is encoded for its place.
func TestRenderURL(t *testing.T) {
	const body = `{"id": 4800000000000000017, "name": "A/B C&D=é?#%", "big": 12345678901234567890123, "price": 1.50,
		"on": true, "list": [1, "a b"], "dots": "..", "half": "a..b", "empty": "", "blank": " ", "plus": "+", "up": "../x"}`
	cases := []struct {
		name, url string
		query     []config.NameValue
		want      string // "error: …" for a request that is not sent
	}{
		{"plain", "http://h/a/b", nil, "/a/b"},
		{"no path", "http://h", nil, "/"},
		{"no path, query", "http://h?a=1", nil, "/?a=1"},
		{"lone mark", "http://h/a?", nil, "/a?"},
		{"as written", "http://h/%zz/a+b;c=@:&^|[]'()!*,~$/%2F/.././/x", nil, "/%zz/a+b;c=@:&^|[]'()!*,~$/%2F/.././/x"},
		{"written, needs encoding", `http://h/a b"<>` + "`" + `{}\ü` + "\x7f", nil, "/a%20b%22%3C%3E%60%7B%7D%5C%C3%BC%7F"},
		{"written query", "http://h/?a=b+c%zz&&d={}|^[]`\\ü\"'<>e f", nil, "/?a=b+c%zz&&d={}|^[]`\\%C3%BC%22%27%3C%3Ee%20f"},
		{"two slashes", "http://h//a/{{body.on}}", nil, "//a/true"},
		{"fragment", "http://h/a?b#c", nil, "/a?b"},
		{"blanks around", "  http://h/a \n", nil, "/a"},
		{"exact digits", "http://h/{{body.id}}/{{body.big}}/{{body.price}}", nil, "/4800000000000000017/12345678901234567890123/1.50"},
		{"text", "http://h/{{body.name}}/x", nil, "/A%2FB%20C%26D%3D%C3%A9%3F%23%25/x"},
		{"list", "http://h/{{body.list}}", nil, "/%5B1%2C%22a%20b%22%5D"},
		{"glued", "http://h/job-{{body.id}}.json", nil, "/job-4800000000000000017.json"},
		{"two in a segment", "http://h/{{body.on}}-{{body.plus}}", nil, "/true-%2B"},
		{"dots within", "http://h/{{body.half}}", nil, "/a..b"},
		{"parameter", "{{studio_api}}/{{body.on}}", nil, "/true"},
		{"parameter with query", "http://h/{{studio_path}}{{body.on}}", nil, "/a/b%20c?d=1true"},
		{"parameters joined", `{{studio_api + "/v1"}}/x`, nil, "/v1/x"},
		{"secret is no template", "http://h/{{tricky}}", nil, "/%7B%7Bbody.id%7D%7D"},
		{"query", "http://h/?a={{body.name}}&{{body.plus}}=1", nil, "/?a=A%2FB%20C%26D%3D%C3%A9%3F%23%25&%2B=1"},
		{"query, absent", "http://h/?a={{body.nothing}}&b=2", nil, "/?a=&b=2"},
		{"settings", "http://h/", []config.NameValue{{Name: "dry run", Value: "a b&c=d+e%20;#'é"}, {Name: "n[]", Value: "2020-01-01T00:00:00Z,/?@"}, {Name: "n[]", Value: ""}},
			"/?dry%20run=a%20b%26c=d%2Be%2520%3B%23%27%C3%A9&n[]=2020-01-01T00:00:00Z,/?@&n[]="},
		{"settings after the URL's", "http://h/?a=1", []config.NameValue{{Name: "b", Value: "{{body.name}}"}, {Name: "{{body.plus}}=", Value: "{{studio_token}}"}},
			"/?a=1&b=A%2FB%20C%26D%3D%C3%A9%3F%23%25&%2B%3D=s3cret/%22tok%26en"},

		{"absent", "http://h/a/{{body.nothing}}", nil, "error: url: {{body.nothing}} is absent or empty, and the path needs a value there; not sent"},
		{"empty", "http://h/a/{{body.empty}}", nil, "error: url: {{body.empty}} is absent or empty"},
		{"blank", "http://h/a/{{body.blank}}/b", nil, "error: url: {{body.blank}} is absent or empty"},
		{"glued absent", "http://h/job-{{body.nothing}}", nil, "error: url: {{body.nothing}} is absent or empty"},
		{"dots", "http://h/a/{{body.dots}}/b", nil, "error: url: {{body.dots}} makes a path segment of dots, which would lead to another path; not sent"},
		{"dots glued", `http://h/a/.{{body.half[1:2]}}`, nil, "error: url: {{body.half[1:2]}} makes a path segment of dots"},
		{"dots glued, encoded", `http://h/a/%2e{{body.half[1:2]}}`, nil, "error: url: {{body.half[1:2]}} makes a path segment of dots"},
		{"dots and a slash", `http://h/a/{{body.up}}`, nil, "error: url: {{body.up}} makes a path segment of dots"},
		{"dots and a parameter", `http://h/a/{{body.dots}};v=1/b`, nil, "error: url: {{body.dots}} makes a path segment of dots"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := prepare(t, config.Action{URL: c.url, Query: c.query})
			request, err := p.Render(decoded(t, body), testDelivery)
			if err != nil {
				if want, fails := strings.CutPrefix(c.want, "error: "); !fails || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("got error %v, want %s", err, c.want)
				}
				return
			}
			if got := string(onWire(t, request)); !strings.HasPrefix(got, "POST "+c.want+" HTTP/1.1\r\nHost: ") {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// Whoever reads a segment of dots, encoded or not, goes elsewhere.
func TestHoldsDots(t *testing.T) {
	for _, dots := range []string{".", "..", "%2e", "%2E%2e", ".%2e", "%252e%252e", "..%2fx", "a%2F..", `..%5cx`, `a\..\b`, "..;x", "%2e%2e%3bx", "a%2f..%20"} {
		if !holdsDots(dots) {
			t.Errorf("%q passes", dots)
		}
	}
	for _, fine := range []string{"", "...", "a.b", ".a", "a.", "..a", "a%2Fb", "%zz", "v1.2", "a..b", "%2e%2e%2e", ";.."} {
		if holdsDots(fine) {
			t.Errorf("%q is refused", fine)
		}
	}
}

func TestRenderBody(t *testing.T) {
	const eventBody = `{"name": "Bob \"B\" \\ <&>\u0000\n\u2028é\ud800", "id": 9007199254740993, "num": 1.10, "huge": 1e400,
		"on": false, "none": null, "list": [1, {"a": "\u0001<"}], "empty": ""}`
	cases := []struct {
		name, kind, contentType, text string
		want                          string
		empty                         []string
	}{
		{"quoted", config.BodyJSON, "", `{"a": "{{body.name}}", "b": "x{{body.id}}y{{body.none}}"}`,
			`{"a": "Bob \"B\" \\ <&>\u0000\n\u2028é�", "b": "x9007199254740993y"}`, []string{"body.none"}},
		{"bare", config.BodyJSON, "", `{"a": {{body.name}}, "b": [{{body.id}}, {{body.num}}, {{body.huge}}, {{body.on}}], "c": {{body.none}}, "d": {{body.list}}, "e": {{body.list[5]}}}`,
			`{"a": "Bob \"B\" \\ <&>\u0000\n\u2028é�", "b": [9007199254740993, 1.10, 1e400, false], "c": null, "d": [1,{"a":"\u0001<"}], "e": null}`, []string{"body.none", "body.list[5]"}},
		{"whole", config.BodyJSON, "", `{{body.list}}`, `[1,{"a":"\u0001<"}]`, nil},
		{"list in quotes", config.BodyJSON, "", `["{{body.list}}"]`, `["[1,{\"a\":\"\\u0001<\"}]"]`, nil},
		{"key", config.BodyJSON, "", `{"{{body.name}}": 1, {{caller_id}}: 2}`, `{"Bob \"B\" \\ <&>\u0000\n\u2028é�": 1, "0044 20": 2}`, nil},
		{"bare key that is no text", config.BodyJSON, "", `{ {{body.id}}: 2}`, "error: body: what was rendered is not well-formed JSON; not sent", nil},
		{"number that JSON cannot spell", config.BodyJSON, "", `[{{duration}}]`, `["007"]`, nil},
		{"number that JSON cannot spell, in a list", config.BodyJSON, "", `[{{[duration, "x"]}}]`, `[["007","x"]]`, nil},
		{"text of digits", config.BodyJSON, "", `{{caller_id}}`, `"0044 20"`, nil},
		{"parameter as it is", config.BodyJSON, "", `{"a": {{studio_path == "" ? 1 : 2}}, "b": "{{studio_host}}"}`, `{"a": 2, "b": "127.0.0.1"}`, nil},
		{"raw", config.BodyRaw, "", "n={{body.name}}\r\n{{body.list}}{{body.none}}", "n=Bob \"B\" \\ <&>\x00\n\u2028é�\r\n[1,{\"a\":\"\\u0001<\"}]", []string{"body.none"}},
		{"raw, JSON", config.BodyRaw, "Application/JSON; charset=utf-8", `["{{body.name}}", {{body.none}}]`, `["Bob \"B\" \\ <&>\u0000\n\u2028é�", null]`, []string{"body.none"}},
		{"raw, JSON lines", config.BodyRaw, "application/x-ndjson", "{{body.id}}\n{{body.on}}\n", "9007199254740993\nfalse\n", nil},
		{"raw, XML", config.BodyRaw, "application/soap+xml", "<a b='{{body.name}}'/>", "<a b='Bob &quot;B&quot; \\ &lt;&amp;&gt;�&#xA;\u2028é�'/>", nil},
		{"raw, urlencoded", config.BodyRaw, "application/x-www-form-urlencoded", "a b={{body.list}}", "a b=%5B1%2C%7B%22a%22%3A%22%5Cu0001%3C%22%7D%5D", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := prepare(t, config.Action{URL: "http://h/", Body: &config.Body{Kind: c.kind, Type: c.contentType, Text: c.text}})
			e := decoded(t, eventBody)
			e.Parameters[event.Duration] = json.Number("007")
			request, err := p.Render(e, testDelivery)
			if err != nil {
				if "error: "+err.Error() != c.want {
					t.Errorf("got error %v, want %s", err, c.want)
				}
				return
			}
			if got := string(request.Body); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if strings.Join(request.Empty(), ",") != strings.Join(c.empty, ",") {
				t.Errorf("empty are %q, want %q", request.Empty(), c.empty)
			}
			if c.kind == config.BodyJSON && !json.Valid(request.Body) {
				t.Error("not well-formed")
			}
		})
	}
}

func TestContentType(t *testing.T) {
	cases := []struct {
		body    config.Body
		headers []config.NameValue
		want    string
	}{
		{config.Body{}, nil, ""},
		{config.Body{Kind: config.BodyJSON, Text: "1"}, nil, "application/json"},
		{config.Body{Kind: config.BodyJSON, Text: "1"}, []config.NameValue{{Name: "content-type", Value: "application/vnd.x+json"}}, "application/vnd.x+json"},
		{config.Body{Kind: config.BodyRaw, Text: "1"}, nil, "text/plain; charset=utf-8"},
		{config.Body{Kind: config.BodyRaw, Type: "text/csv", Text: "1"}, nil, "text/csv"},
		{config.Body{Kind: config.BodyRaw, Type: "text/csv", Text: "1"}, []config.NameValue{{Name: "Content-Type", Value: "text/tsv"}}, "text/tsv"},
	}
	for _, c := range cases {
		request, err := prepare(t, config.Action{URL: "http://h/", Body: &c.body, Headers: c.headers}).Render(eventtest.With(nil), testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(request.Header["Content-Type"], "|"); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.body, got, c.want)
		}
	}
	// A header decides about escaping as the type of the body does.
	p := prepare(t, config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "Content-Type", Value: "application/json"}}, Body: &config.Body{Kind: config.BodyRaw, Text: `"{{body}}"`}})
	request, err := p.Render(eventtest.With(`"`), testDelivery)
	if err != nil || string(request.Body) != `"\""` {
		t.Errorf("got %s, %v", request.Body, err)
	}
}

func TestRenderHeaders(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", Headers: []config.NameValue{
		{Name: "X-Project", Value: " {{body.id}} "}, {Name: "SOAPAction", Value: "urn:x"}, {Name: "x-project", Value: "two"}, {Name: "X-None", Value: "{{body.none}}"},
		{Name: "X-Text", Value: "Jürgen {{body.name}}"}, {Name: "{{studio_host == '' ? 'X-No' : 'X-Yes'}}", Value: "1"}, {Name: "Host", Value: "{{studio_host}}:81"}, {Name: "user-agent", Value: "mine"},
	}})
	event := decoded(t, `{"id": 7, "name": "日本"}`)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	event.Headers = map[string][]string{"Traceparent": {trace}}
	request, err := p.Render(event, testDelivery)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"X-Project": "7|two", "SOAPAction": "urn:x", "X-None": "", "X-Text": "Jürgen 日本", "X-Yes": "1", "User-Agent": "mine",
		"Idempotency-Key": testDelivery, "X-Event-Id": event.ID, "Traceparent": trace,
	}
	for name, value := range want {
		if got := strings.Join(request.Header[name], "|"); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	if len(request.Header) != len(want) {
		t.Errorf("%d headers, want %d: %v", len(request.Header), len(want), request.Header)
	}
	if request.Host != "127.0.0.1:81" {
		t.Errorf("Host is %q", request.Host)
	}
	if strings.Join(request.Empty(), ",") != "body.none" {
		t.Errorf("empty are %q", request.Empty())
	}
	for _, bad := range []string{"a\r\nX: y", "a\nb", "\x00", "a\tb", "\x7f", "\u0085"} {
		_, err := p.Render(eventtest.With(map[string]any{"id": bad}), testDelivery)
		if err == nil || !strings.HasPrefix(err.Error(), "header X-Project: {{body.id}}: the value holds a control character") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "x", trace + "0", strings.ToUpper(trace), trace[:54] + "\n"} {
		event.Headers = map[string][]string{"Traceparent": {bad}}
		if request, err := p.Render(event, testDelivery); err != nil || request.Header["Traceparent"] != nil {
			t.Errorf("traceparent %q is sent on (%v)", bad, err)
		}
	}
}

// TestTestEventsAreMarked checks that requests for test events say so, and
// others do not, whatever the event came with.
func TestTestEventsAreMarked(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "X-Other", Value: "{{test}}"}}})
	for _, test := range []bool{true, false} {
		event := decoded(t, `{}`)
		event.Test = test
		event.Headers = map[string][]string{"X-Event-Test": {"0"}}
		request, err := p.Render(event, testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if test {
			want = []string{"1"}
		}
		if got := request.Header["X-Event-Test"]; !slices.Equal(got, want) {
			t.Errorf("of an event with test %v, X-Event-Test is %q", test, got)
		}
	}
}

// Whatever the relay says about a failed request, it does not repeat what came
// with the event.
func TestRenderErrorsHoldNoValues(t *testing.T) {
	event := eventtest.With(map[string]any{"v": "gehe\tim/../x"})
	for _, action := range []config.Action{
		{URL: "http://h/{{body.v}}"},
		{URL: "http://h/", Headers: []config.NameValue{{Name: "X", Value: "{{body.v}}"}}},
	} {
		_, err := prepare(t, action).Render(event, testDelivery)
		if err == nil || strings.Contains(err.Error(), "gehe") {
			t.Errorf("%+v: %v", action, err)
		}
	}
}

var benchAction = config.Action{
	URL: "{{studio_api}}/folders/{{body.project.id}}", Query: []config.NameValue{{Name: "number", Value: "{{caller_id}}"}, {Name: "dry_run", Value: "no"}},
	Headers: []config.NameValue{{Name: "X-Project", Value: "{{body.project.id}}"}, {Name: "Authorization", Value: "Bearer {{studio_token}}"}},
	Body:    &config.Body{Kind: config.BodyJSON, Text: `{"project": {{body.project.id}}, "name": "{{body.project.name}}", "by": "{{calling_name}}"}`},
}

func benchEvent() *event.Event {
	return eventtest.With(map[string]any{"project": map[string]any{"id": int64(4711), "name": "Spring campaign \"Blüte\""}})
}

func BenchmarkRender(b *testing.B) {
	p, event := prepare(b, benchAction), benchEvent()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Render(event, testDelivery); err != nil {
			b.Fatal(err)
		}
	}
}
