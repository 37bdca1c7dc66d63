package template

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

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
		request, err := p.Render(eventtest.With(strings.Repeat(filler, 10000)), testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		if got := request.String(); len(got) > shownBytes || !strings.HasSuffix(got, "…") || strings.Contains(got, "s3c") {
			t.Errorf("%q: %d bytes are kept", filler, len(got))
		}
	}
}

func BenchmarkShow(b *testing.B) {
	request, err := prepare(b, benchAction).Render(benchEvent(), testDelivery)
	if err != nil {
		b.Fatal(err)
	}
	for _, secrets := range []bool{true, false} {
		name := "with secrets"
		if !secrets {
			name, request.Masker = "without", nil
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = request.String()
			}
		})
	}
}
