package template

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

func TestBodyLoadErrors(t *testing.T) {
	form := func(fields ...config.BodyField) config.Action {
		return config.Action{Body: &config.Body{Kind: config.BodyForm, Fields: fields}}
	}
	xml := func(text string) config.Action {
		return config.Action{Body: &config.Body{Kind: config.BodyXML, Text: text}}
	}
	typed := func(contentType, text string) config.Action {
		return config.Action{Body: &config.Body{Kind: config.BodyRaw, Type: contentType, Text: text}}
	}
	withHeader := func(action config.Action, contentType string) config.Action {
		action.Headers = []config.NameValue{{Name: "Content-Type", Value: contentType}}
		return action
	}
	for name, c := range map[string]struct {
		action config.Action
		want   string
	}{
		"control in type":       {form(config.BodyField{Name: "a", Type: "text/plain\r\nX-Evil: 1"}), "body field a: the type holds a control character"},
		"control by parameter":  {form(config.BodyField{Name: "a", Type: "{{lines}}"}), "body field a: the type holds a control character"},
		"event chooses type":    {form(config.BodyField{Name: "a", Type: "text/{{body.t}}"}), "body field a: {{body.t}} comes with the event and may not choose the Content-Type of a part"},
		"form of another type":  {withHeader(form(), "multipart/mixed"), "header Content-Type: a form is multipart/form-data, with a boundary that the relay makes"},
		"verbatim as name":      {form(config.BodyField{Name: "{{verbatim(body.n)}}"}), "verbatim is for the values of a body"},
		"verbatim as form key":  {config.Action{Body: &config.Body{Kind: config.BodyURLEncoded, Fields: []config.BodyField{{Name: "{{verbatim(body.n)}}"}}}}, "verbatim is for the values of a body"},
		"verbatim in header":    {config.Action{Headers: []config.NameValue{{Name: "X-A", Value: "{{verbatim(body.n)}}"}}}, "header X-A: at character 1: {{verbatim(body.n)}}: verbatim is for the values of a body; here every value is escaped, so write it without verbatim"},
		"verbatim in query":     {config.Action{Query: []config.NameValue{{Name: "a", Value: "{{verbatim(body.n)}}"}}}, "query a: at character 1: {{verbatim(body.n)}}: verbatim is for"},
		"verbatim within":       {typed("", "{{upper(verbatim(body.n))}}"), "verbatim goes around the whole expression"},
		"part that is JSON":     {form(config.BodyField{Name: "a", Type: "application/json", Value: "[1"}), "body field a: at character 3: the body is not well-formed JSON"},
		"torn field":            {form(config.BodyField{Name: "a", Value: "{caller_id}}"}), "body field a: this looks like what caddy fmt leaves"},
		"undefined in field":    {form(config.BodyField{Name: "a", Value: "{{studio_tokn}}"}), "studio_tokn in action a, body field a; did you mean studio_token or body.studio_tokn?"},
		"raw multipart":         {typed("multipart/form-data; boundary=x", "--x\r\n\r\n{{body.v}}\r\n--x--"), "body: {{body.v}} comes with the event and may not stand in a multipart text, whose boundary it could hold: write body form"},
		"multipart part":        {form(config.BodyField{Name: "a", Type: "multipart/mixed; boundary=x", Value: "--x\r\n\r\n{{body.v}}\r\n--x--"}), "may not stand in a multipart text"},
		"XML, empty":            {xml(""), "body: the body is not well-formed XML: a document has one outermost element, not 0"},
		"XML, unclosed":         {xml("<a>\n<b></a>"), "body: the body is not well-formed XML: XML syntax error on line 2: element <b> closed by </a>"},
		"XML, not ended":        {xml("<a>{{body.v}}"), "body: the body is not well-formed XML: XML syntax error on line 1: unexpected EOF"},
		"XML, two roots":        {xml("<a/><b/>"), "a document has one outermost element, not 2"},
		"XML, text outside":     {xml("<a/>{{body.v}}"), "there is text outside of the outermost element"},
		"XML, entity":           {xml("<a>&nbsp;</a>"), "the body is not well-formed XML"},
		"XML, name":             {xml("<{{body.v}}/>"), "body: {{body.v}} comes with the event and may not stand there: put it into the text of an element or between the quotes of an attribute"},
		"XML, attribute":        {xml("<a {{body.v}}=''/>"), "may not stand there"},
		"XML, unquoted":         {xml("<a b={{body.v}} />"), "may not stand there"},
		"XML, comment":          {xml("<a><!-- > {{body.v}} --></a>"), "may not stand there"},
		"XML, instruction":      {xml("<?x {{body.v}}?><a/>"), "may not stand there"},
		"XML, declaration":      {xml(`<!DOCTYPE a [<!ENTITY b "1"> <!ENTITY c "{{body.v}}">]><a/>`), "may not stand there"},
		"XML, torn mark":        {xml("<a><!{{body.v}}-- --></a>"), "may not stand there"},
		"XML, entity name":      {xml("<a>&{{body.v}};</a>"), "the body is not well-formed XML"},
		"XML, parameter":        {xml("<a>{{broken_xml}}</a>"), "body: with the parameters put in, the body is not well-formed XML"},
		"raw XML, name":         {typed("text/xml", "<{{body.v}}/>"), "may not stand there"},
		"JSON by header":        {withHeader(typed("", "{"), "application/json"), "the body is not well-formed JSON"},
		"kind over header":      {withHeader(xml("<a>"), "text/plain"), "the body is not well-formed XML"},
		"forward, Content-Type": {withHeader(config.Action{Body: &config.Body{Kind: config.BodyForward}}, "{{headers['content-type']}}"), "may not choose the Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			c.action.Name, c.action.Method, c.action.URL = "a", "POST", "http://h/"
			_, err := Compile([]config.Action{c.action}, testLanguage(t, config.Parameter{Name: "lines", Value: "a\r\nb"},
				config.Parameter{Name: "broken_xml", Value: "{env.</s3cret>}"}), Settings{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got  %v\nwant …%s", err, c.want)
			}
		})
	}
}

// What bodies are made of an event with odd values. A want that begins with !
// is part of an error: nothing is sent.
func TestBodies(t *testing.T) {
	pair := func(name, value string) config.Body {
		return config.Body{Kind: config.BodyURLEncoded, Fields: []config.BodyField{{Name: name, Value: value}}}
	}
	for _, c := range []struct {
		body     config.Body
		header   string
		wantType string
		want     string
	}{
		{pair("a b+{{body.q}}", "{{body.q}}"), "", "application/x-www-form-urlencoded", "a%20b%2B%22%26%3C%3E%27=%22%26%3C%3E%27"},
		{pair("k", "aZ09-_.~ +/é\r\n%"), "", "application/x-www-form-urlencoded", "k=aZ09-_.~%20%2B%2F%C3%A9%0D%0A%25"},
		{pair("k", "{{verbatim(body.q)}}{{body.none}}"), "application/x-www-form-urlencoded; charset=utf-8", "application/x-www-form-urlencoded; charset=utf-8", `k="&<>'`},
		{config.Body{Kind: config.BodyURLEncoded, Fields: []config.BodyField{{Name: "b", Value: "1"}, {Name: "a", Value: "{{studio_name}}"}, {Name: "b", Value: ""}, {Name: "{{body.none}}", Value: "2"}}}, "",
			"application/x-www-form-urlencoded", "b=1&a=Bob%27s%20%22B%22&b=&=2"},
		{config.Body{Kind: config.BodyURLEncoded}, "", "application/x-www-form-urlencoded", ""},

		{config.Body{Kind: config.BodyXML, Text: "<a b='{{body.q}}'>{{body.q}}{{body.none}}</a>"}, "", "application/xml", "<a b='&quot;&amp;&lt;&gt;&apos;'>&quot;&amp;&lt;&gt;&apos;</a>"},
		{config.Body{Kind: config.BodyXML, Text: "\ufeff<?xml version=\"1.0\" encoding=\"utf-16\"?>\n<a>{{body.control}}</a>\n"}, "text/xml", "text/xml", "\ufeff<?xml version=\"1.0\" encoding=\"utf-16\"?>\n<a>\uFFFD\uFFFD\uFFFD&#x9;&#xA;&#xD;</a>\n"},
		{config.Body{Kind: config.BodyXML, Text: "<a><![CDATA[<{{body.end}}]]{{body.n}}>]]></a>"}, "", "application/xml", "<a><![CDATA[<]]>]]&gt;<![CDATA[]]5>]]></a>"},
		{config.Body{Kind: config.BodyXML, Text: "<a>{{verbatim(body.xml)}}</a>"}, "", "application/xml", "<a><b>1</b></a>"},
		{config.Body{Kind: config.BodyXML, Text: "<a>{{verbatim(body.q)}}</a>"}, "", "", "!body: what was rendered is not well-formed XML; not sent"},
		{config.Body{Kind: config.BodyXML, Text: "<!DOCTYPE a SYSTEM 'x'><a>&own;{{body.q}}</a>"}, "", "application/xml", "<!DOCTYPE a SYSTEM 'x'><a>&own;&quot;&amp;&lt;&gt;&apos;</a>"},
		{config.Body{Kind: config.BodyRaw, Type: "application/soap+xml", Text: "<a/>{{body.q}}<b>"}, "", "application/soap+xml", "<a/>&quot;&amp;&lt;&gt;&apos;<b>"},
		{config.Body{Kind: config.BodyRaw, Type: "text/html", Text: "<br>{{body.q}}"}, "", "text/html", "<br>&quot;&amp;&lt;&gt;&apos;"},

		{config.Body{Kind: config.BodyJSON, Text: `{"a": {{verbatim(body.json)}}, "b": "{{body.q}}"}`}, "", "application/json", `{"a": {"x":[1]}, "b": "\"&<>'"}`},
		{config.Body{Kind: config.BodyJSON, Text: `{"a": "{{verbatim(body.q)}}"}`}, "", "", "!body: what was rendered is not well-formed JSON; not sent"},
		{config.Body{Kind: config.BodyJSON, Text: `{ {{verbatim(body.members)}} }`}, "application/vnd.api+json", "application/vnd.api+json", `{ "y": 1 }`},
		{config.Body{Kind: config.BodyJSON, Text: `[{{verbatim(body.none)}}]`}, "", "application/json", `[]`},
		{config.Body{Kind: config.BodyRaw, Text: "{{verbatim(body.q)}}"}, "", "text/plain; charset=utf-8", `"&<>'`},
		{config.Body{Kind: config.BodyRaw, Type: "multipart/mixed; boundary=x", Text: "{{verbatim(body.q)}}{{studio_name}}"}, "", "multipart/mixed; boundary=x", `"&<>'Bob's "B"`},
	} {
		action := config.Action{URL: "http://h/", Body: &c.body}
		if c.header != "" {
			action.Headers = []config.NameValue{{Name: "content-type", Value: c.header}}
		}
		event := eventtest.With(map[string]any{"q": `"&<>'`, "n": int64(5), "control": "\x00\x1f\ufffe\t\n\r", "end": "]]>", "xml": "<b>1</b>", "json": `{"x":[1]}`, "members": `"y": 1`})
		request, err := prepare(t, action).Render(event, testDelivery)
		if message, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || err.Error() != message {
				t.Errorf("%+v: error is %v", c.body, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c.body, err)
			continue
		}
		if string(request.Body) != c.want || request.Header.Get("Content-Type") != c.wantType {
			t.Errorf("%+v:\ngot  %q as %s\nwant %q as %s", c.body, request.Body, request.Header.Get("Content-Type"), c.want, c.wantType)
		}
	}
}

// part is a part of a form as a server reads it.
type part struct {
	name, value string
	header      textproto.MIMEHeader
}

// readForm reads a multipart body.
func readForm(t testing.TB, contentType string, body []byte) []part {
	t.Helper()
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/form-data" {
		t.Fatalf("Content-Type is %q: %v", contentType, err)
	}
	reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	var parts []part
	for {
		next, err := reader.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatalf("after %d parts of %q: %v", len(parts), body, err)
		}
		value, err := io.ReadAll(next)
		if err != nil {
			t.Fatalf("part %d of %q: %v", len(parts), body, err)
		}
		parts = append(parts, part{next.FormName(), string(value), next.Header})
	}
}

func TestForm(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "Content-Type", Value: "multipart/form-data"}}, Body: &config.Body{Kind: config.BodyForm, Fields: []config.BodyField{
		{Name: "b", Value: "1"}, {Name: "a", Value: "<{{body.text}}>"}, {Name: "b", Value: "{{body.none}}"},
		{Name: "j", Value: `{"v": "{{body.text}}", "n": {{body.none}}}`, Type: "application/json; charset=utf-8"},
		{Name: `q"\{{body.text}}`, Value: "{{studio_name}}", Type: " {{studio_host}}/x "},
		{Name: "x", Value: "<v>{{body.text}}</v>", Type: "text/xml"},
	}}})
	text := "a\"&\r\n--x\r\n\\"
	first, err := p.Render(eventtest.With(map[string]any{"text": text}), testDelivery)
	if err != nil {
		t.Fatal(err)
	}
	plain := func(name string) textproto.MIMEHeader {
		return textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + name + `"`}}
	}
	typed := func(name, kind string) textproto.MIMEHeader {
		header := plain(name)
		header["Content-Type"] = []string{kind}
		return header
	}
	want := []part{
		{"b", "1", plain("b")}, {"a", "<" + text + ">", plain("a")}, {"b", "", plain("b")},
		{"j", `{"v": "a\"&\r\n--x\r\n\\", "n": null}`, typed("j", "application/json; charset=utf-8")},
		{`q%22\a%22&%0D%0A--x%0D%0A\`, `Bob's "B"`, typed(`q%22\\a%22&%0D%0A--x%0D%0A\\`, "127.0.0.1/x")},
		{"x", "<v>a&quot;&amp;&#xD;&#xA;--x&#xD;&#xA;\\</v>", typed("x", "text/xml")},
	}
	if got := readForm(t, first.Header.Get("Content-Type"), first.Body); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	second, err := p.Render(eventtest.With(nil), testDelivery)
	if err != nil {
		t.Fatal(err)
	}
	if second.Header.Get("Content-Type") == first.Header.Get("Content-Type") {
		t.Error("two requests have the same boundary")
	}
	if empty, err := prepare(t, config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyForm}}).Render(eventtest.With(nil), testDelivery); err != nil || !strings.HasPrefix(string(empty.Body), "--event-relay-") {
		t.Errorf("a form without parts: %v", err)
	}
	_, err = prepare(t, config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyForm, Fields: []config.BodyField{{Name: "j", Value: `"{{verbatim(body.text)}}"`, Type: "application/json"}}}}).
		Render(eventtest.With(map[string]any{"text": text}), testDelivery)
	if err == nil || err.Error() != "body field j: what was rendered is not well-formed JSON; not sent" {
		t.Errorf("a part that is no JSON: %v", err)
	}
}

// A boundary that a value holds is not taken.
func TestBoundaryIsInNoValue(t *testing.T) {
	drawn := []string{"1", "2", "3"}
	next := func() string {
		text := drawn[0]
		drawn = drawn[1:]
		return text
	}
	if got := chooseBoundary([]byte("x\r\n--event-relay-1--\r\n event-relay-2"), next); got != "event-relay-3" {
		t.Errorf("took %s", got)
	}
}

// forward sends the event's own bytes with their own type.
func TestForward(t *testing.T) {
	raw := "\x00{\"a\":  1}\r\n\xff"
	for _, c := range []struct {
		raw       string
		stored    []string
		header    string
		wantType  []string
		wantError string
	}{
		{raw: raw, stored: []string{"application/json; charset=latin1"}, wantType: []string{"application/json; charset=latin1"}},
		{raw: raw, stored: []string{"a/b", "c/d"}, wantType: []string{"a/b"}},
		{raw: raw, stored: nil, wantType: nil},
		{raw: raw, stored: []string{"a/b"}, header: "text/x", wantType: []string{"text/x"}},
		{raw: "", stored: []string{"a/b"}, wantType: nil},
		{raw: raw, stored: []string{"a/b\r\nX-Evil: 1"}, wantError: "body: the event's Content-Type holds a character that a header cannot carry; not sent"},
	} {
		action := config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyForward}}
		if c.header != "" {
			action.Headers = []config.NameValue{{Name: "Content-Type", Value: c.header}}
		}
		event := eventtest.With("something else")
		event.RawBody = []byte(c.raw)
		if c.stored != nil {
			event.Headers = map[string][]string{"Content-Type": c.stored}
		}
		request, err := prepare(t, action).Render(event, testDelivery)
		if c.wantError != "" {
			if err == nil || err.Error() != c.wantError {
				t.Errorf("%q: %v", c.stored, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if string(request.Body) != c.raw || !reflect.DeepEqual(request.Header["Content-Type"], c.wantType) {
			t.Errorf("%q, %q: got %q as %q", c.stored, c.raw, request.Body, request.Header["Content-Type"])
		}
	}
}
