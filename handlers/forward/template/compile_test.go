package template

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// A mistake in the configuration is found when it is loaded, and the message
// says where it is and what to do.
func TestLoadErrors(t *testing.T) {
	header := func(name, value string) config.Action {
		return config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: name, Value: value}}}
	}
	body := func(text string) config.Action {
		return config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyJSON, Text: text}}
	}
	url := func(text string) config.Action { return config.Action{URL: text} }
	cases := []struct {
		name   string
		action config.Action
		want   string
	}{
		{"no scheme", url("192.168.1.5/x"), `url: the URL must begin with http:// or https://, not "192.168.1.5/…"`},
		{"other scheme", url("ftp://h/"), `url: the URL must begin with http:// or https://, not "ftp://h/"`},
		{"no URL", url(""), "url: the URL is empty"},
		{"no host", url("http:///x"), `url: the URL names no host ("http://")`},
		{"port only", url("http://:80/x"), `url: the URL names no host ("http://:80")`},
		{"bad port", url("http://h:99999/x"), "url: port 99999 is not between 1 and 65535"},
		{"port no number", url("http://h:x/"), `url: reading host and port: invalid port ":x" after host`},
		{"host with blank", url("http://a b/"), `url: reading host and port: invalid character " " in host name`},
		{"host with backslash", url(`http://good\@evil/`), `url: reading host and port: `},
		{"event chooses URL", url("{{body.url}}"), "url: {{body.url}} comes with the event and may not choose the scheme; only the configuration can say where a request goes"},
		{"event chooses scheme", url("{{body.s}}://h/"), "url: {{body.s}} comes with the event and may not choose the scheme"},
		{"event in scheme", url("htt{{body.s}}://h/"), "url: {{body.s}} comes with the event and may not choose the scheme"},
		{"event chooses host", url("http://{{body.h}}/x"), "url: {{body.h}} comes with the event and may not choose the host or port; only the configuration can say where a request goes: put a / before it"},
		{"event chooses port", url("http://h:{{body.p}}/x"), "url: {{body.p}} comes with the event and may not choose the host or port"},
		{"event glued to host", url("http://h{{body.p}}/x"), "url: {{body.p}} comes with the event and may not choose the host or port"},
		{"event glued to parameter", url("http://{{studio_host}}{{body.p}}/x"), "url: {{body.p}} comes with the event and may not choose the host or port"},
		{"event glued to base", url("{{studio_api}}{{body.p}}/x"), "url: {{body.p}} comes with the event and may not choose the host or port"},
		{"event as user", url("http://{{body.u}}@h/x"), "url: {{body.u}} comes with the event and may not choose the host or port"},
		{"event among parameters", url("http://{{studio_host + body.p}}/x"), "url: {{studio_host + body.p}} comes with the event and may not choose the host or port"},
		{"secret that looks like a tag is no tag", url("http://{{tricky}}/x"), "url: with the parameters put in, host and port are not valid"},
		{"event in fragment", url("http://h/x#{{body.f}}"), "url: {{body.f}} stands after #: what follows # is not sent"},
		{"unclosed tag", url("http://h/{{body.x"), "url: at character 10: the tag {{ is not closed by }} (put templates in quotes: \"…\", because caddy fmt tears an unquoted one apart)"},
		{"unclosed string", url(`http://h/{{"x}}`), `url: at character 10: the tag {{ is not closed: }} is missing, or the second " of a string in it`},
		{"empty tag", url("http://h/{{ }}"), "url: at character 10: the tag {{}} is empty"},
		{"torn by fmt", url("{studio_api}}/folders"), "url: this looks like what caddy fmt leaves of an unquoted template (put templates in quotes"},
		{"torn by fmt, brace alone", url("{"), "url: this looks like what caddy fmt leaves of an unquoted template"},
		{"torn body", body("{caller_id}}"), "body: this looks like what caddy fmt leaves of an unquoted template"},
		{"torn header", header("X-A", "{caller_id}}"), "header X-A: this looks like what caddy fmt leaves of an unquoted template"},
		{"syntax", url("http://h/{{body.}}"), "url: at character 10: compiling `body.`: "},
		{"unknown function", url("http://h/{{uper(body.x)}}"), "url: at character 10: unknown function \"uper\" in `uper(body.x)`; did you mean upper?"},
		{"verbatim", url("http://h/{{verbatim(body.x)}}"), "url: at character 10: {{verbatim(body.x)}}: verbatim is for the values of a body; here every value is escaped, so write it without verbatim"},
		{"event names header", header("X-{{body.n}}", "1"), "header X-{{body.n}}: {{body.n}} comes with the event and may not name a header"},
		{"header name", header("X A", "1"), `header X A: "X A" cannot be the name of a header`},
		{"colon behind a header's name", header("X-A:", "1"), `header X-A:: "X-A:" cannot be the name of a header; write it without the colon: header X-A VALUE`},
		{"no header name", header("", "1"), `"" cannot be the name of a header`},
		{"event chooses Host", header("host", "{{body.h}}"), "header host: {{body.h}} comes with the event and may not choose the host"},
		{"host header", header("Host", "a b"), "header Host: the value is no host name"},
		{"framing, length", header("Content-Length", "5"), "header Content-Length: Content-Length belongs to the connection and is set by the relay itself: remove this line"},
		{"framing, encoding", header("transfer-encoding", "{{body.x}}"), "Transfer-Encoding belongs to the connection"},
		{"framing, connection", header("Connection", "close"), "Connection belongs to the connection"},
		{"framing, upgrade", header("Upgrade", "h2c"), "Upgrade belongs to the connection"},
		{"framing, te", header("TE", "trailers"), "Te belongs to the connection"},
		{"framing, trailer", header("Trailer", "X"), "Trailer belongs to the connection"},
		{"framing, expect", header("Expect", "100-continue"), "Expect belongs to the connection"},
		{"framing, keep-alive", header("Keep-Alive", "x"), "Keep-Alive belongs to the connection"},
		{"test mark", header("x-event-test", "{{test}}"), "header x-event-test: X-Event-Test tells test events from others and is set by the relay itself: remove this line"},
		{"framing, proxy", header("Proxy-Connection", "x"), "Proxy-Connection belongs to the connection"},
		{"header value", header("X-A", "a\r\nX-B: c"), "header X-A: the value holds a control character, which a header cannot carry"},
		{"Content-Type of the event", header("Content-Type", "{{headers['Content-Type']}}"), "may not choose the Content-Type, which decides how values in the body are escaped"},
		{"no query name", config.Action{URL: "http://h/", Query: []config.NameValue{{Name: "", Value: "x"}}}, "query: a query value needs a name"},
		{"JSON, empty", body(""), "body: at character 1: the body is not well-formed JSON: unexpected end of JSON input"},
		{"JSON, no comma", body("{\n  \"a\": {{body.a}}\n  \"b\": 1\n}"), `body: at line 3, character 3: the body is not well-formed JSON: invalid character '"' after object key:value pair`},
		{"JSON, unclosed", body(`{"a": {{body.a}}`), "the body is not well-formed JSON: unexpected end of JSON input"},
		{"JSON, text without quotes", body(`{"a": Mr {{body.a}}}`), "body: at character 7: the body is not well-formed JSON: invalid character 'M'"},
		{"JSON, glued", body(`{"a": {{body.a}} {{body.b}}}`), `body: at character 18: the body is not well-formed JSON: invalid character 'n' after object key:value pair; {{body.b}} stands for a whole value there: to put it into a text, put quotes around the text`},
		{"JSON, glued text", body(`{"a": {{body.a}}-x}`), "{{body.a}} before it stands for a whole value: to put it into a text, put quotes around the text"},
		{"JSON, escape", body(`{"a": "\u00{{body.a}}"}`), "the body is not well-formed JSON: invalid character 'x' in \\u hexadecimal character escape"},
		{"JSON, parameter breaks it", body(`{"a": "{{studio_name}}"}`), "body: at character 8: the body is not well-formed JSON: invalid character 'B' after object key:value pair; a custom parameter is put in there as it is"},
		{"raw JSON", config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyRaw, Type: "application/vnd.api+json", Text: "{"}}, "the body is not well-formed JSON"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.action.Name, c.action.Place = "make", "Caddyfile:7"
			if c.action.Method == "" {
				c.action.Method = "POST"
			}
			_, err := Compile([]config.Action{c.action}, testLanguage(t), Settings{})
			if err == nil {
				t.Fatal("was accepted")
			}
			if got := err.Error(); !strings.HasPrefix(got, "action make") || !strings.HasSuffix(got, ", at Caddyfile:7") || !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant …%s", got, c.want)
			}
		})
	}
}

// Undefined parameters are reported all together, with the line to add.
func TestUndefinedParameters(t *testing.T) {
	actions := []config.Action{
		{Name: "one", Place: "Caddyfile:3", Method: "POST", URL: "{{studio_apo}}/{{body.id}}",
			Query: []config.NameValue{{Name: "q", Value: "{{w_o_w}}"}}, Headers: []config.NameValue{{Name: "X-A", Value: "{{caler_id}}"}}},
		{Name: "two", Place: "Caddyfile:9", Method: "POST", URL: "http://h/", Body: &config.Body{Kind: config.BodyJSON, Text: `{"a":"{{studio_apo}}"}`}},
	}
	_, err := Compile(actions, testLanguage(t), Settings{})
	var undefined *undefinedError
	if !errors.As(err, &undefined) {
		t.Fatalf("got %v", err)
	}
	want := `4 undefined parameters:
  studio_apo in action one, url; did you mean studio_api or body.studio_apo?, at Caddyfile:3
  w_o_w in action one, query q; did you mean body.w_o_w?, at Caddyfile:3
  caler_id in action one, header X-A; did you mean caller_id or body.caler_id?, at Caddyfile:3
  studio_apo in action two, body; did you mean studio_api or body.studio_apo?, at Caddyfile:9
to define what is not a misspelling, add:
  parameter studio_apo VALUE
  parameter w_o_w VALUE
  parameter caler_id VALUE`
	if err.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
}

// Mistakes of several actions are all reported at once.
func TestAllMistakesTogether(t *testing.T) {
	actions := []config.Action{
		{Name: "one", Method: "POST", URL: "http://{{body.h}}/"},
		{Name: "two", Method: "GET", URL: "http://h/", Headers: []config.NameValue{{Name: "Connection", Value: "close"}}},
		{Name: "three", Method: "GET", URL: "http://h/{{nothing}}"},
	}
	_, err := Compile(actions, testLanguage(t), Settings{})
	for _, want := range []string{"action one, url: {{body.h}}", "action two, header Connection: ", "nothing in action three, url"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestSetTellsWhatItCalls(t *testing.T) {
	p := prepare(t, config.Action{URL: "HTTPS://Example.com:8443/x?y"})
	if !slices.Equal(p.Targets(), []string{"https://example.com:8443"}) || p.Name() != "test" || p.Action().Concurrency != 8 {
		t.Errorf("targets are %s", p.Targets())
	}
}

// An error at load never shows a secret.
func TestLoadErrorsHoldNoSecret(t *testing.T) {
	for _, url := range []string{"{{studio_token}}/x", "http://u:{{studio_token}}/x", "http://u:{{studio_token}}@h:x/", "http://{{studio_password}}/"} {
		_, err := Compile([]config.Action{{Name: "a", Method: "GET", URL: url}}, testLanguage(t), Settings{})
		if err == nil {
			t.Errorf("%s was accepted", url)
		} else if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "pass") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
