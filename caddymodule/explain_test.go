package caddymodule

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

func TestParseRequest(t *testing.T) {
	for _, test := range []struct {
		name, raw, line, body string
		headers               []string // name: value
	}{
		{"as on the wire", "POST /l?k=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST a/l?k=1", "abc", nil},
		{"by hand", "POST /l\nX-Y: z\n\nabc\n", "POST /l", "abc", []string{"X-Y: z"}},
		{"lines end both ways", "POST /l HTTP/1.1\r\nX-Y: z\n\r\na\r\nb\r\n", "POST /l", "a\r\nb", []string{"X-Y: z"}},
		{"the length counts the last line end", "POST /l\nContent-Length: 4\n\nabc\n", "POST /l", "abc\n", nil},
		{"the length does not count it", "POST /l\nContent-Length: 3\n\nabc\n\n", "POST /l", "abc", nil},
		{"the length is too small", "POST /l\nContent-Length: 1\n\nabc", "POST /l", "abc", nil},
		{"the length is too large", "POST /l\nContent-Length: 10\n\nabc\n", "POST /l", "abc", nil},
		{"the length is none", "POST /l\nContent-Length: many\n\nabc\n", "POST /l", "abc", nil},
		{"no body", "GET /l?a=b HTTP/1.1\nHost: a", "GET a/l?a=b", "", nil},
		{"a blank line in the body", "POST /l\n\na\n\nb", "POST /l", "a\n\nb", nil},
		{"blank lines before it", "\ufeff\n\nPOST /l\n\na", "POST /l", "a", nil},
		{"HTTP/2", "POST /l HTTP/2\r\nhost: a\r\nx-y: z\r\n\r\na", "POST a/l", "a", []string{"X-Y: z"}},
		{"HTTP/2.0", "POST /l HTTP/2.0\n\na", "POST /l", "a", nil},
		{"HTTP/3", "GET /l HTTP/3\n\n", "GET /l", "", nil},
		{"HTTP/1.0", "POST /l HTTP/1.0\n\na", "POST /l", "a", nil},
		{"UTF-16 with a mark", "\xff\xfe" + wide("POST /l HTTP/2\r\nContent-Length: 99\r\n\r\nä\r\n"), "POST /l", "ä", nil},
		{"UTF-16 without one", wide("POST /l\n\nä"), "POST /l", "ä", nil},
		{"a whole URL", "POST http://a:81/l\n\na", "POST a:81/l", "a", nil},
		{"in chunks", "POST /l HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "POST /l", "abc", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := parseRequest([]byte(test.raw))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(request.Body)
			if err != nil {
				t.Fatal(err)
			}
			if line := request.Method + " " + request.Host + request.URL.RequestURI(); line != test.line || string(body) != test.body {
				t.Errorf("got %s with body %q, want %s with %q", line, body, test.line, test.body)
			}
			if request.ContentLength != int64(len(body)) {
				t.Errorf("it says that the body has %d bytes, which has %d", request.ContentLength, len(body))
			}
			for _, header := range test.headers {
				name, value, _ := strings.Cut(header, ": ")
				if got := request.Header.Get(name); got != value {
					t.Errorf("header %s is %q, want %q", name, got, value)
				}
			}
		})
	}
	for name, raw := range map[string]string{
		"empty":           "",
		"no request line": "{\"event\":\"x\"}\n",
		"an answer":       "HTTP/1.1 200 OK\n\n",
		"no header":       "POST /l\nnonsense\n\na",
		"no chunks":       "POST /l\nTransfer-Encoding: chunked\n\nabc",
		"no path":         "POST l HTTP/1.1\n\n",
		"no version":      "POST /l HTTP/two\n\n",
		"another program": "POST /l RTSP/1.0\n\n",
	} {
		if _, err := parseRequest([]byte(raw)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// wide is a text of Latin-1 as UTF-16, little endian.
func wide(text string) string {
	var b strings.Builder
	for _, r := range text {
		b.WriteByte(byte(r))
		b.WriteByte(0)
	}
	return b.String()
}

// TestParseRequestReadsWhatServersRead compares with the parser of Go's server,
// for files that it reads.
func TestParseRequestReadsWhatServersRead(t *testing.T) {
	files, err := filepath.Glob("../handlers/receive/testdata/senders/*.http")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readRequest(file, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		gotBody, _ := io.ReadAll(got.Body)
		want.Header.Del("Content-Length")
		if got.Method != want.Method || got.URL.String() != want.URL.String() || got.Host != want.Host ||
			!reflect.DeepEqual(got.Header, want.Header) || !bytes.Equal(gotBody, wantBody) {
			t.Errorf("%s: got %s %s %v %q\nwant %s %s %v %q", filepath.Base(file),
				got.Method, got.URL, got.Header, gotBody, want.Method, want.URL, want.Header, wantBody)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("POST /l?k=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("POST /l\nTransfer-Encoding: chunked\n\n1\na\n0\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		request, err := parseRequest(raw)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil || int64(len(body)) != request.ContentLength {
			t.Errorf("body of %d bytes, said to be %d: %v", len(body), request.ContentLength, err)
		}
	})
}

const explainConfig = `{
	event_relay {
		source icfm {
			auth api_key query key icfm-key
		}
		source pbx pbxware {
			auth bearer pbx-token
		}
		parameter desk 100
		parameter token {env.EXPLAIN_TEST_TOKEN}
		action folder {
			post "http://127.0.0.1:9000/folders/{{body.id}}"
			header X-Token "{{token}}"
			header X-Note "{{body.note}}"
			body json <<JSON
				{"name": "{{body.name}}"}
				JSON
		}
		action tell {
			get "http://127.0.0.1:9000/tell"
			query who "{{caller_id}}"
		}
		on project_created project_status_change {
			description "Approved projects get a folder"
			when ` + "`body.status in [\"Approved\", \"Confirmed\"] and (body.vip or lower(body.depot ?? \"\") == \"ldn\")`" + `
			when ` + "`body.budget > 1000`" + `
			do folder
		}
		on project_* {
			active off
			do tell
		}
		on project_status_change {
			when ` + "`body.token == token`" + `
			do tell folder
		}
		on project_status_change {
			ignore "done with it"
		}
		on * {
			do tell
		}
		on incoming_call {
			do tell
		}
	}
}
http://a.example, http://*.b.example {
	event_relay /listen.php icfm
}
http://127.0.0.1:8080 {
	route /x* {
		event_relay /x/pbx pbx
	}
	handle_path /hooks/* {
		event_relay /erp pbx
	}
	event_relay /listen.php
}
`

func loadExplainConfig(t *testing.T) (*relay.Generation, []sites.Mount) {
	t.Helper()
	t.Setenv("EXPLAIN_TEST_TOKEN", "very-s3cret")
	config, err := adapt(t, explainConfig)
	if err != nil {
		t.Fatal(err)
	}
	return compiled(t, []byte(config))
}

// compiled compiles a configuration in Caddy's JSON as explain --request does.
func compiled(t *testing.T, config []byte) (*relay.Generation, []sites.Mount) {
	t.Helper()
	file, err := parseConfiguration("Caddyfile", config)
	if err != nil {
		t.Fatal(err)
	}
	generation, err := file.compile(true)
	if err != nil {
		t.Fatal(err)
	}
	return generation, file.sites().Mounts()
}

func TestExplainFindsTheHandler(t *testing.T) {
	_, mounts := loadExplainConfig(t)
	for _, test := range []struct{ host, path, mount, sources, left string }{
		{"a.example", "/listen.php", "/listen.php", "icfm", "/listen.php"},
		{"c.b.example:443", "/Listen.php/incoming_call", "/listen.php", "icfm", "/Listen.php/incoming_call"},
		{"127.0.0.1", "//listen.php", "/listen.php", "", "//listen.php"},
		{"a.example", "/x/pbx/incoming_call/token", "/x/pbx", "pbx", "/x/pbx/incoming_call/token"},
		{"elsewhere.example", "/x/pbx", "/x/pbx", "pbx", "/x/pbx"},
		{"127.0.0.1", "/Hooks/erp/incoming_call", "/hooks/erp", "pbx", "/erp/incoming_call"},
		{"127.0.0.1", "/hooks/x", "", "", ""},
		{"a.example", "/listen.phpx", "", "", ""},
		{"a.example", "/x", "", "", ""},
	} {
		request, err := parseRequest([]byte("GET " + test.path + "\nHost: " + test.host + "\n\n"))
		if err != nil {
			t.Fatal(err)
		}
		mount, err := mountFor(request, mounts)
		if mount.WholePath() != test.mount || strings.Join(mount.Sources, " ") != test.sources || (err != nil) != (test.mount == "") {
			t.Errorf("%s%s: got %s for %v, %v", test.host, test.path, mount.WholePath(), mount.Sources, err)
		}
		if err != nil {
			continue
		}
		if stripPath(request, mount); request.URL.Path != test.left {
			t.Errorf("%s%s: the handler gets the path %s, want %s", test.host, test.path, request.URL.Path, test.left)
		}
	}
}

func TestExplanationText(t *testing.T) {
	generation, _ := loadExplainConfig(t)
	for _, test := range []struct{ name, body, want string }{
		{"everything at once", `{"event":"project_status_change","id":7,"name":"A \"B\"","status":"Approved","depot":"LDN","budget":"5000","token":"very-s3cret"}`, `
Event      project_status_change from icfm
Verdict    rule_error: condition failed: Caddyfile:23: evaluating ` + "`body.budget > 1000`" + ` compares text with a number; convert one of them with int(), float() or string() (Caddyfile:33)
Absent     body.vip

Rules      5 name this event; 1 names others only
  Caddyfile:23  on project_created project_status_change  →  error
    # Approved projects get a folder
    when body.status in ["Approved", "Confirmed"] and (body.vip or lower(body.depot ?? "") == "ldn")  →  true
           body.status in ["Approved", "Confirmed"]  →  true   (body.status = "Approved")
           body.vip or lower(body.depot ?? "") == "ldn"  →  true
             body.vip is absent
             lower(body.depot ?? "") == "ldn"  →  true   (lower(body.depot ?? "") → "ldn", body.depot ?? "" → "LDN", body.depot = "LDN")
    when body.budget > 1000  →  error: evaluating ` + "`body.budget > 1000`" + ` compares text with a number; convert one of them with int(), float() or string()   (body.budget = "5000")
    do   folder
  Caddyfile:29  on project_*  →  inactive: the rule is switched off (active off)
    do   tell
  Caddyfile:33  on project_status_change  →  applied
    when body.token == token  →  true   (body.token = "***", token = ***)
    do   tell, folder
  Caddyfile:37  on project_status_change  →  applied
    ignore: this ends the reading
  Caddyfile:40  on *  →  not read: the ignore at Caddyfile:37 ended the reading
    do   tell

Request    tell
           empty: caller_id
  GET http://127.0.0.1:9000/tell?who= HTTP/1.1
  Host: 127.0.0.1:9000
  Idempotency-Key: ID-OF-THE-DELIVERY
  User-Agent: AGENT
  X-Event-Id: ID-OF-THE-EVENT

Request    folder
           empty: body.note
  POST http://127.0.0.1:9000/folders/7 HTTP/1.1
  Host: 127.0.0.1:9000
  Content-Type: application/json
  Idempotency-Key: ID-OF-THE-DELIVERY
  User-Agent: AGENT
  X-Event-Id: ID-OF-THE-EVENT
  X-Note: 
  X-Token: ***

  {"name": "A \"B\""}
`},
		{"a request that cannot be made", `{"event":"project_created","status":"Approved","vip":true,"budget":5000}`, `
Event      project_created from icfm
Verdict    action: Approved projects get a folder (Caddyfile:23)

Rules      3 name this event; 3 name others only
  Caddyfile:23  on project_created project_status_change  →  applied
    # Approved projects get a folder
    when body.status in ["Approved", "Confirmed"] and (body.vip or lower(body.depot ?? "") == "ldn")  →  true
           body.status in ["Approved", "Confirmed"]  →  true   (body.status = "Approved")
           body.vip or lower(body.depot ?? "") == "ldn"  →  true
             body.vip  →  true
             lower(body.depot ?? "") == "ldn"  →  false, but not needed   (lower(body.depot ?? "") → "", body.depot ?? "" → "", body.depot is absent)
    when body.budget > 1000  →  true   (body.budget = 5000)
    do   folder
  Caddyfile:29  on project_*  →  inactive: the rule is switched off (active off)
    do   tell
  Caddyfile:40  on *  →  applied
    do   tell

Request    folder cannot be made, so nothing would be sent: url: {{body.id}} is absent or empty, and the path needs a value there; not sent

Request    tell
           empty: caller_id
  GET http://127.0.0.1:9000/tell?who= HTTP/1.1
  Host: 127.0.0.1:9000
  Idempotency-Key: ID-OF-THE-DELIVERY
  User-Agent: AGENT
  X-Event-Id: ID-OF-THE-EVENT
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := parseRequest([]byte("POST /listen.php?key=icfm-key\nContent-Type: application/json\n\n" + test.body))
			if err != nil {
				t.Fatal(err)
			}
			explanation, err := generation.ExplainRequest(request, receive.Origin{Mount: "/listen.php"}, "")
			if err != nil {
				t.Fatal(err)
			}
			if explanation.Outcome != "error" {
				t.Errorf("the outcome is %s", explanation.Outcome)
			}
			got := strings.ReplaceAll(explanationText(explanation), userAgent(), "AGENT")
			if got != test.want[1:] {
				t.Errorf("got\n%s\nwant%s", got, test.want)
			}
		})
	}
}

// TestExplanationTextIsHarmless is about what comes from outside: it must not
// steer the terminal.
func TestExplanationTextIsHarmless(t *testing.T) {
	generation, _ := loadExplainConfig(t)
	request, err := parseRequest([]byte("POST /listen.php?key=icfm-key\nContent-Type: application/json\n\n" +
		`{"event":"project_\u001b[2Jcreated","status":"\u001b[31m\u009b","id":"\u202e"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"", "project_created"} {
		body := `{"event":"project_\u001b[2J","status":"\u001b[31m\u009b","id":"\u202e","budget":"\u0007"}`
		if event != "" {
			body = strings.Replace(body, `project_\u001b[2J`, event, 1)
		}
		request.Body = io.NopCloser(strings.NewReader(body))
		request.ContentLength = int64(len(body))
		explanation, err := generation.ExplainRequest(request, receive.Origin{Mount: "/listen.php"}, "")
		if err != nil {
			t.Fatal(err)
		}
		if text := explanationText(explanation); strings.ContainsAny(text, "\x1b\u009b\u202e\a") {
			t.Errorf("it holds control characters: %q", text)
		}
	}
}
