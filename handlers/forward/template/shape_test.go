package template

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

// shapeActions have a value of the event in every place where one may stand.
var shapeActions = []config.Action{
	{
		URL: "{{studio_api}}/folders/{{body.v}}/job-{{body.v}}.json?first={{body.v}}&fixed=1", Method: "POST",
		Query:   []config.NameValue{{Name: "q", Value: "a {{body.v}}"}, {Name: "fixed", Value: "two"}, {Name: "n{{body.v}}", Value: "1"}},
		Headers: []config.NameValue{{Name: "X-Fixed", Value: "1"}},
		Body:    &config.Body{Kind: config.BodyJSON, Text: `{"quoted": "<{{body.v}}>", "bare": {{body.v}}, "list": [{{body.v}}, "{{body.v}}"], "k{{body.v}}": 1, "fixed": {"a": null}}`},
	},
	{
		URL: "http://127.0.0.1:8080/x", Method: "PUT",
		Headers: []config.NameValue{{Name: "X-Value", Value: "v={{body.v}}"}, {Name: "X-Fixed", Value: "1"}, {Name: "X-Value", Value: "{{body.v}}"}},
		Body:    &config.Body{Kind: config.BodyRaw, Type: "text/xml", Text: `<a b="{{body.v}}">{{body.v}}<fixed/></a>`},
	},
	{
		URL: "http://127.0.0.1:8080/x?{{body.v}}", Method: "PATCH",
		Body: &config.Body{Kind: config.BodyRaw, Text: "raw {{body.v}} end"},
	},
	{
		URL: "http://127.0.0.1:8080/x", Method: "POST", Auth: &config.ActionAuth{Kind: config.AuthBasic, User: "u{{body.v}}", Password: "{{body.v}}"},
		Body: &config.Body{Kind: config.BodyURLEncoded, Fields: []config.BodyField{{Name: "a", Value: "a {{body.v}}"}, {Name: "fixed", Value: "&"}, {Name: "n{{body.v}}", Value: "1"}}},
	},
	{
		URL: "http://127.0.0.1:8080/x", Method: "POST", Auth: &config.ActionAuth{Kind: config.AuthAPIKey, In: config.InQuery, Name: "k{{body.v}}", Value: "{{body.v}}"},
		Body: &config.Body{Kind: config.BodyForm, Fields: []config.BodyField{
			{Name: "a", Value: "<{{body.v}}>"}, {Name: "n{{body.v}}", Value: "{{body.v}}", Type: "text/plain"}, {Name: "fixed", Value: "{{body.v}}"}, {Name: "j", Value: `["{{body.v}}"]`, Type: "application/json"},
		}},
	},
	{
		URL: "http://127.0.0.1:8080/x", Method: "DELETE", Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "{{body.v}}"},
		Body: &config.Body{Kind: config.BodyXML, Text: `<a b='{{body.v}}'><![CDATA[{{body.v}}]]><fixed/></a>`},
	},
}

// onWire returns the bytes of a request as net/http writes them.
func onWire(t testing.TB, r *Request) []byte {
	t.Helper()
	var raw bytes.Buffer
	if err := r.HTTP(context.Background()).Write(&raw); err != nil {
		t.Fatalf("writing: %v", err)
	}
	return raw.Bytes()
}

// parsed reads a request as a server does, and wants it to be exactly one.
func parsed(t testing.TB, raw []byte) (*http.Request, []byte) {
	t.Helper()
	reader := bufio.NewReader(bytes.NewReader(raw))
	request, err := http.ReadRequest(reader)
	if err != nil {
		t.Fatalf("a server cannot read %q: %v", raw, err)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		t.Fatalf("a server cannot read the body of %q: %v", raw, err)
	}
	if rest, _ := io.ReadAll(reader); len(rest) > 0 {
		t.Fatalf("after the request there is more: %q", rest)
	}
	return request, body
}

// valid returns a text as JSON and XML can carry it.
func valid(text string) string { return string([]rune(text)) }

// checkShape renders the actions for a value, and wants each request to have
// the shape that the administrator wrote, with the value in its places, or not
// to be sent.
func checkShape(t testing.TB, prepared []requests, value any) {
	t.Helper()
	text, err := event.TextOf(value)
	if err != nil {
		t.Fatal(err)
	}
	event := eventtest.With(map[string]any{"v": value})
	if seen, err := prepared[0].language.Bind(event).Evaluate(prepared[2].standard.body.firstTag().expression); err != nil || seen == nil {
		// It counts as absent: nothing is put in.
		return
	}
	for i, p := range prepared {
		request, err := p.Render(event, testDelivery)
		if err != nil {
			// An API key is in the query of one of them, and a blank one is not sent.
			if (i == 2 || i == 4) && strings.TrimSpace(text) != "" {
				t.Errorf("%q: query, raw body and form can carry everything, but: %v", text, err)
			}
			continue
		}
		got, body := parsed(t, onWire(t, request))
		if got.Host != "127.0.0.1:8080" || got.Method != shapeActions[i].Method {
			t.Errorf("%q: goes to %s %s", text, got.Method, got.Host)
		}
		if got.Header.Get("Idempotency-Key") != testDelivery || got.Header.Get("X-Event-Id") != event.ID {
			t.Errorf("%q: headers are %v", text, got.Header)
		}
		names := []string{"Content-Length", "Content-Type", "Idempotency-Key", "User-Agent", "X-Event-Id"}
		path, query, _ := strings.Cut(got.RequestURI, "?")
		switch i {
		case 0:
			names = append(names, "X-Fixed")
			checkPath(t, path, text)
			checkQuery(t, query, [][2]string{{"first", text}, {"fixed", "1"}, {"q", "a " + text}, {"fixed", "two"}, {"n" + text, "1"}})
			checkJSONBody(t, body, value, text)
		case 1:
			names = append(names, "X-Fixed", "X-Value")
			values := got.Header["X-Value"]
			if len(values) != 2 || values[0] != strings.TrimSpace("v="+text) || values[1] != strings.TrimSpace(text) {
				t.Errorf("%q: X-Value is %q", text, values)
			}
			checkXMLBody(t, body, text)
		case 2:
			checkQuery(t, query, [][2]string{{text, ""}})
			if string(body) != "raw "+text+" end" {
				t.Errorf("%q: raw body is %q", text, body)
			}
		case 3:
			names = append(names, "Authorization")
			if user, password, ok := got.BasicAuth(); !ok || user != "u"+text || password != text {
				t.Errorf("%q: basic is %q, %q", text, user, password)
			}
			checkQuery(t, string(body), [][2]string{{"a", "a " + text}, {"fixed", "&"}, {"n" + text, "1"}})
		case 4:
			checkQuery(t, query, [][2]string{{"k" + text, text}})
			checkForm(t, got.Header.Get("Content-Type"), body, text)
		case 5:
			names = append(names, "Authorization")
			if values := got.Header["Authorization"]; len(values) != 1 || values[0] != strings.TrimSpace("Bearer "+strings.TrimSpace(text)) {
				t.Errorf("%q: Authorization is %q", text, values)
			}
			checkXMLBody(t, body, text)
		}
		for name := range got.Header {
			if !slices.Contains(names, name) {
				t.Errorf("%q: there is a header %s", text, name)
			}
		}
	}
}

func checkPath(t testing.TB, path, text string) {
	t.Helper()
	segments := strings.Split(path, "/")
	if len(segments) != 4 || segments[0] != "" || segments[1] != "folders" {
		t.Fatalf("%q: path is %s", text, path)
	}
	for i, want := range map[int]string{2: text, 3: "job-" + text + ".json"} {
		decoded, err := url.PathUnescape(segments[i])
		if err != nil || decoded != want || want == "." || want == ".." {
			t.Errorf("%q: segment %d is %q", text, i, segments[i])
		}
	}
}

func checkQuery(t testing.TB, query string, want [][2]string) {
	t.Helper()
	pairs := strings.Split(query, "&")
	if len(pairs) != len(want) {
		t.Fatalf("query is %s, want %q", query, want)
	}
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		// Both readings of a query give the same: there is no plus in it.
		decodedName, nameErr := url.QueryUnescape(name)
		decodedValue, valueErr := url.PathUnescape(value)
		if nameErr != nil || valueErr != nil || decodedName != want[i][0] || decodedValue != want[i][1] || strings.ContainsAny(pair, "+#;") {
			t.Errorf("query %d is %s, want %q", i, pair, want[i])
		}
	}
}

func checkJSONBody(t testing.TB, body []byte, value any, text string) {
	t.Helper()
	if !json.Valid(body) {
		t.Fatalf("%q: body is %s", text, body)
	}
	got, err := event.DecodeJSON(string(body))
	if err != nil {
		// Numbers and depth that JSON allows and nobody decodes.
		return
	}
	object := got.(map[string]any)
	if len(object) != 5 || object["quoted"] != "<"+valid(text)+">" || object["k"+valid(text)] != int64(1) {
		t.Errorf("%q: body is %s", text, body)
	}
	if list, ok := object["list"].([]any); !ok || len(list) != 2 || list[1] != valid(text) {
		t.Errorf("%q: body is %s", text, body)
	}
	bare, err := json.Marshal(object["bare"])
	if s, ok := value.(string); ok {
		value = valid(s)
	}
	want, wantErr := json.Marshal(value)
	if err != nil || wantErr != nil || !bytes.Equal(bare, want) {
		t.Errorf("%q: bare value is %s, want %s", text, bare, want)
	}
	if fixed, ok := object["fixed"].(map[string]any); !ok || len(fixed) != 1 {
		t.Errorf("%q: body is %s", text, body)
	}
}

func checkXMLBody(t testing.TB, body []byte, text string) {
	t.Helper()
	var document struct {
		XMLName xml.Name   `xml:"a"`
		Attrs   []xml.Attr `xml:",any,attr"`
		Text    string     `xml:",chardata"`
		Inner   []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	if err := xml.Unmarshal(body, &document); err != nil {
		t.Fatalf("%q: body is %q: %v", text, body, err)
	}
	want := strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, valid(text))
	if len(document.Attrs) != 1 || document.Attrs[0].Value != want || document.Text != want ||
		len(document.Inner) != 1 || document.Inner[0].XMLName.Local != "fixed" {
		t.Errorf("%q: body is %q", text, body)
	}
}

func checkForm(t testing.TB, contentType string, body []byte, text string) {
	t.Helper()
	parts := readForm(t, contentType, body)
	if len(parts) != 4 {
		t.Fatalf("%q: there are %d parts in %q", text, len(parts), body)
	}
	var list []string
	if err := json.Unmarshal([]byte(parts[3].value), &list); err != nil || len(list) != 1 || list[0] != valid(text) {
		t.Errorf("%q: the part with JSON is %q", text, parts[3].value)
	}
	// A backslash before a quote or another one is all that is undone by a reader
	// of names.
	name := strings.ReplaceAll(escapedPartName("n"+text), `\\`, `\`)
	for i, want := range []part{{name: "a", value: "<" + text + ">"}, {name: name, value: text}, {name: "fixed", value: text}, {name: "j", value: parts[3].value}} {
		fields := 1
		if i%2 == 1 {
			fields = 2
		}
		if got := parts[i]; got.name != want.name || got.value != want.value || len(got.header) != fields {
			t.Errorf("%q: part %d is %q, want %q", text, i, got, want)
		}
	}
}

// hostile are values that have broken other systems.
var hostile = []string{
	"x", " ", " x ", ".", "..", "...", "../x", "a/../b", `..\x`, "%2e%2e", "%252e", "%", "%zz", "%00", "/", "//", "/etc/passwd", `\`, `"`, `'`, "`",
	"&a=b", "=", "+", "#f", "?q=1", ";x", "a b", "\r\nX-Evil: 1", "\n", "\r", "\t", "\x00", "\x7f", "\u0085", "\u2028", "\ufeff", "\ufffe",
	"é", "日本", "😀", "\xff", "\xc3", "\xed\xa0\x80", `","evil":"`, `\"`, `\u0022`, "}", "{", "{{body.id}}", "{{studio_token}}", "{env.PATH}", "{$PATH}",
	"</a><evil/>", "<!--", "]]>", "&lt;", "@evil.example", "http://evil.example/", ":80", "--boundary\r\n", "--event-relay-\r\n", "\r\n--\r\n", `\`, `x\"`, `"; filename="x`, "a:b", "]]>", "]]", "]", "null", "true", "1", "0x1f", "\x1b[31m",
	strings.Repeat("x", 5000),
}

func shapes(t testing.TB) []requests {
	var prepared []requests
	for _, action := range shapeActions {
		prepared = append(prepared, prepare(t, action))
	}
	return prepared
}

// FuzzShape looks for a text that leaves its place in a request.
func FuzzShape(f *testing.F) {
	prepared := shapes(f)
	for _, value := range hostile {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		checkShape(t, prepared, value)
	})
}

// FuzzShapeOfValue looks for a value of another type that does.
func FuzzShapeOfValue(f *testing.F) {
	prepared := shapes(f)
	for _, value := range []string{"1", "-0.0", "1e999", "12345678901234567890", "true", "[]", "{}", `[1,"a",null]`, `{"a":{"b":"\"\n</a>"}}`, `"\ud800"`, `{"":""}`} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := event.DecodeJSON(text)
		if err == nil {
			checkShape(t, prepared, value)
		}
	})
}

// Every character of Unicode keeps its place.
func TestShapeOfAllUnicode(t *testing.T) {
	prepared := shapes(t)
	const together = 500
	for first := rune(0); first <= utf8.MaxRune; first += together {
		var block strings.Builder
		for r := first; r < first+together && r <= utf8.MaxRune; r++ {
			if r >= 0x20 && r != 0x7f && (r < 0x80 || r > 0x9f) {
				block.WriteRune(r)
			}
			if r < 0x300 {
				checkShape(t, prepared, string(r))
				checkShape(t, prepared, "a"+string(r)+"b")
			}
		}
		checkShape(t, prepared, block.String())
	}
}
