package template

import (
	"bytes"
	"context"
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
			if result := sender.Current().Send(context.Background(), &request.Request, time.Minute); result.Status != 200 {
				b.Error(result)
				return
			}
			_ = request.String()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
