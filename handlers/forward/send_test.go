package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

var update = flag.Bool("update", false, "write the golden files")

// All methods with all kinds of bodies and of credentials, as the bytes that a
// target receives.
func TestOnTheWire(t *testing.T) {
	fields := []config.BodyField{{Name: "name", Value: "{{body.name}}"}, {Name: "a b&{{body.id}}", Value: "1 + 1\r\n= 2"}, {Name: "name", Value: `{"id": {{body.id}}}`, Type: "application/json"}}
	untyped := []config.BodyField{fields[0], fields[1], {Name: "name", Value: "{{body.none}}"}}
	bodies := []struct {
		name string
		body config.Body
	}{
		{"none", config.Body{}},
		{"form", config.Body{Kind: config.BodyForm, Fields: fields}},
		{"urlencoded", config.Body{Kind: config.BodyURLEncoded, Fields: untyped}},
		{"raw", config.Body{Kind: config.BodyRaw, Text: "line 1\r\n{{body.name}}\n"}},
		{"raw csv", config.Body{Kind: config.BodyRaw, Type: "text/csv", Text: "{{body.id}};{{body.none}}"}},
		{"json", config.Body{Kind: config.BodyJSON, Text: "{\n  \"project\": {{body.id}}, \"name\": \"{{body.name}}\"\n}"}},
		{"xml", config.Body{Kind: config.BodyXML, Text: "<p id=\"{{body.id}}\"><![CDATA[{{body.name}}]]><b>{{body.name}}</b></p>"}},
		{"forward", config.Body{Kind: config.BodyForward}},
	}
	auths := []struct {
		name string
		auth config.ActionAuth
	}{
		{"none", config.ActionAuth{}},
		{"api_key header", config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "x-api-key", Value: "{{studio_token}}"}},
		{"api_key query", config.ActionAuth{Kind: config.AuthAPIKey, In: config.InQuery, Name: "api key", Value: "{{studio_token}}"}},
		{"basic", config.ActionAuth{Kind: config.AuthBasic, User: "Bob {{body.id}}", Password: "{{studio_password}}é"}},
		{"bearer", config.ActionAuth{Kind: config.AuthBearer, Value: "{{studio_token}}"}},
	}
	sender := send.NewSender(mustTargets(t), nil)
	defer sender.Close()
	target := record(t)
	event := decoded(t, `{"id": 4711, "name": "Bob \"B\" Lée"}`)
	event.RawBody = []byte(`{"id":   4711}`)
	event.Headers = map[string][]string{"Content-Type": {"application/json; charset=utf-8"}}
	var got bytes.Buffer
	send := func(title string, action config.Action) {
		t.Helper()
		action.URL = "http://" + target.address + "/folders/{{body.name}}/%zz^|?a=b c"
		action.Query = []config.NameValue{{Name: "q", Value: "{{body.name}}"}, {Name: "q", Value: "two"}}
		action.Headers = []config.NameValue{{Name: "X-Project", Value: "{{body.id}}"}, {Name: "X-Project", Value: "b"}}
		request, err := prepare(t, action).Render(event, testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		if result := sender.Current().Send(context.Background(), &request.Request, time.Minute); result.Status != 200 || result.Response != "ok" && action.Method != http.MethodHead {
			t.Fatalf("%+v", result)
		}
		text := strings.ReplaceAll(target.last(), target.address, "TARGET")
		if _, boundary, ok := strings.Cut(request.Header.Get("Content-Type"), "boundary="); ok {
			text = strings.ReplaceAll(text, boundary, "BOUNDARY")
		}
		fmt.Fprintf(&got, "=== %s\n%s\n", title, text)
	}
	for _, method := range config.Methods {
		for _, body := range bodies {
			for _, auth := range auths {
				send(fmt.Sprintf("%s, body %s, auth %s", method, body.name, auth.name), config.Action{Method: method, Body: &body.body, Auth: &auth.auth})
			}
		}
	}
	const file = "testdata/wire.golden"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("differs from %s (write it anew with -update):\n%s", file, firstDifference(got.String(), string(want)))
	}
}

// firstDifference returns the first part of a golden file that differs.
func firstDifference(got, want string) string {
	parts := strings.Split(want, "=== ")
	for i, part := range strings.Split(got, "=== ") {
		if i >= len(parts) || part != parts[i] {
			return part
		}
	}
	return "the end is missing"
}

// The request as the activity shows it, with every form of a secret masked.
func TestShownRequest(t *testing.T) {
	p := prepare(t, config.Action{
		URL:   "http://user:pass%20word+1@h:81/{{studio_password}}/{{body.name}}?t={{studio_token}}",
		Query: []config.NameValue{{Name: "token", Value: "{{studio_token}}"}},
		Headers: []config.NameValue{
			{Name: "X-Basic", Value: `{{toBase64("somebody:" + studio_password)}}`}, {Name: "X-Upper", Value: "{{upper(studio_token)}}"},
			{Name: "Cookie", Value: "id=plain"}, {Name: "X-Name", Value: "{{body.name}}"},
		},
		Body: &config.Body{Kind: config.BodyRaw, Type: "application/json", Text: `{"a": {{ tojson(studio_token) }}, "b": "{{body.name}}"}`},
	})
	request, err := p.Render(decoded(t, `{"name": "Bob Lee"}`), testDelivery)
	if err != nil {
		t.Fatal(err)
	}
	want := `POST http://h:81/***/Bob%20Lee?t=***&token=*** HTTP/1.1
Host: h:81
Authorization: Basic ***
Content-Type: application/json
Cookie: ***
Idempotency-Key: 018f0000-0000-7000-8000-00000000000d
User-Agent: event-relay/test
X-Basic: ***
X-Event-Id: 018f0000-0000-7000-8000-00000000000e
X-Name: Bob Lee
X-Upper: ***

{"a": ***, "b": "Bob Lee"}`
	if got := request.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if string(request.Body) != `{"a": "s3cret/\"tok&en", "b": "Bob Lee"}` || request.Header.Get("Authorization") != "Basic dXNlcjpwYXNzIHdvcmQrMQ==" {
		t.Errorf("what is sent must not be masked: %s, %s", request.Body, request.Header.Get("Authorization"))
	}
}

// What is kept of requests is bounded, and no half of a secret stands at a cut.
func TestShownRequestIsCut(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyRaw, Text: "{{body}}{{studio_token}}"}})
	for _, filler := range []string{"x", "é", "\xff", testToken} {
		request, err := p.Render(eventWith(strings.Repeat(filler, 10000)), testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		if got := request.String(); len(got) > requestKept || !strings.HasSuffix(got, "…") || strings.Contains(got, "s3c") {
			t.Errorf("%q: %d bytes are kept", filler, len(got))
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var asked []string
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.Redirect(w, r, "/login?next="+testToken, http.StatusFound)
	}))
	defer target.Close()
	p := prepare(t, config.Action{URL: target.URL + "/a"})
	result := sendTo(t, p)
	judged := p.judge(result, 1, time.Now(), time.Now(), time.Time{}, 0)
	if want := "the target answered 302 Found, which points to /login; redirects are not followed"; judged.state != "failed" || judged.reason != want {
		t.Errorf("got %s: %s", judged.state, judged.reason)
	}
	if len(asked) != 1 {
		t.Errorf("asked for %q", asked)
	}
}

func sendTo(t testing.TB, p *Prepared) send.Result {
	t.Helper()
	sender := send.NewSender(mustTargets(t), nil)
	defer sender.Close()
	request, err := p.Render(eventWith(nil), testDelivery)
	if err != nil {
		t.Fatal(err)
	}
	return sender.Current().Send(context.Background(), &request.Request, p.Timeout())
}

// Of an endless answer a bounded part is read, and of that a bounded part kept.
func TestHugeAnswer(t *testing.T) {
	written := make(chan int, 1)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		total := 0
		for block := bytes.Repeat([]byte("x"), 32<<10); total < 100<<20; {
			n, err := w.Write(block)
			total += n
			if err != nil {
				break
			}
		}
		written <- total
	}))
	defer target.Close()
	result := sendTo(t, prepare(t, config.Action{URL: target.URL}))
	if result.Status != 200 || len(result.Response) > 2<<10 || !strings.HasPrefix(result.Response, "xxx") {
		t.Errorf("status %d, %d bytes, %v", result.Status, len(result.Response), result.Err)
	}
	// What was written and not read lies in the buffers of the connection.
	if total := <-written; total >= 100<<20 {
		t.Errorf("all %d bytes were taken", total)
	}
}

// A secret that an answer repeats is masked.
func TestAnswerIsMasked(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "bad token: "+r.Header.Get("X-Token")+"\xff")
	}))
	defer target.Close()
	result := sendTo(t, prepare(t, config.Action{URL: target.URL, Headers: []config.NameValue{{Name: "X-Token", Value: "{{studio_token}}"}}}))
	if result.Status != 403 || result.Response != "bad token: ***\uFFFD" {
		t.Errorf("got %+v", result)
	}
}

// A connection that the target closed while it was idle costs no attempt.
func TestClosedIdleConnection(t *testing.T) {
	count := 0
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		count++
	}))
	defer target.Close()
	sender := send.NewSender(mustTargets(t), nil)
	defer sender.Close()
	p := prepare(t, config.Action{URL: target.URL, Body: &config.Body{Kind: config.BodyRaw, Text: "x"}})
	for range 20 {
		request, err := p.Render(eventWith(nil), testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		if result := sender.Current().Send(context.Background(), &request.Request, time.Minute); result.Status != 200 {
			t.Fatalf("%+v", result)
		}
		target.CloseClientConnections()
	}
	if count != 20 {
		t.Errorf("%d requests arrived", count)
	}
}

func BenchmarkSend(b *testing.B) {
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer target.Close()
	action := benchAction
	action.URL = target.URL + "/folders/{{body.project.id}}"
	p, event := prepare(b, action), benchEvent()
	sender := send.NewSender(mustTargets(b), nil)
	defer sender.Close()
	b.ReportAllocs()
	b.SetParallelism(32) // 64 on two processors
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			request, err := p.Render(event, testDelivery)
			if err != nil {
				b.Error(err)
				return
			}
			if result := sender.Current().Send(context.Background(), &request.Request, p.Timeout()); result.Status != 200 {
				b.Error(result)
				return
			}
			_ = request.String()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// Over TLS a target may speak HTTP/2; it gets the same bytes.
func TestHTTP2(t *testing.T) {
	got := make(chan string, 1)
	target := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Proto + " " + r.RequestURI + " " + r.Header.Get("Idempotency-Key") + " " + string(body)
	}))
	target.EnableHTTP2 = true
	target.StartTLS()
	defer target.Close()
	sender := send.NewSender(mustTargets(t), nil)
	defer sender.Close()
	pin := fmt.Sprintf("sha256:%x", sha256.Sum256(target.Certificate().Raw))
	p := prepare(t, config.Action{URL: target.URL + "/{{body}}^|?{{body}}", TLS: &config.TLS{Pins: []string{pin}}, Body: &config.Body{Kind: config.BodyJSON, Text: "{{body}}"}})
	request, err := p.Render(eventWith("a/b"), testDelivery)
	if err != nil {
		t.Fatal(err)
	}
	if result := sender.Current().Send(context.Background(), &request.Request, time.Minute); result.Status != 200 {
		t.Fatalf("%+v", result)
	}
	if text, want := <-got, "HTTP/2.0 /a%2Fb^|?a%2Fb "+testDelivery+` "a/b"`; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
