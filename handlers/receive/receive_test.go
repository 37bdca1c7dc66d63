package receive_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// now is when all requests of these tests arrive.
var now = time.Date(2026, 3, 13, 12, 0, 0, 0, time.UTC)

// languageOf returns the language that the fields of sources make.
func languageOf(t testing.TB, sources []config.Source) *language.Language {
	t.Helper()
	var definitions language.Definitions
	for _, s := range sources {
		known := language.Source{Name: s.Name}
		for _, f := range s.Fields {
			known.Fields = append(known.Fields, f.Name)
		}
		definitions.Sources = append(definitions.Sources, known)
	}
	language, err := language.New(definitions)
	if err != nil {
		t.Fatal(err)
	}
	return language
}

// relay is a receiver with the language it was made with.
type relay struct {
	*receive.Receiver
	language *language.Language
}

func newRelay(t testing.TB, options receive.Options, sources ...config.Source) relay {
	t.Helper()
	if options.Now == nil {
		options.Now = func() time.Time { return now }
	}
	language := languageOf(t, sources)
	receiver, err := receive.New(sources, language, options)
	if err != nil {
		t.Fatal(err)
	}
	return relay{receiver, language}
}

// one returns the only event of a request.
func (r relay) one(t testing.TB, request *http.Request) *event.Event {
	t.Helper()
	received, err := r.Receive(request, origin)
	if err != nil {
		t.Fatal(err)
	}
	if len(received.Events) != 1 {
		t.Fatalf("got %d events (ping %v), want 1", len(received.Events), received.Ping)
	}
	return received.Events[0]
}

// value returns what rules see of an event.
func (r relay) value(t testing.TB, e *event.Event, expression string) any {
	t.Helper()
	compiled, err := r.language.Compile(expression)
	if err != nil {
		t.Fatal(err)
	}
	value, err := r.language.Bind(e).Evaluate(compiled)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

var origin = receive.Origin{Mount: "/listen.php", Client: netip.MustParseAddr("203.0.113.9")}

// post returns a POST to the mount with what follows it, such as "?event=x".
func post(rest, contentType, body string) *http.Request {
	request := httptest.NewRequest(http.MethodPost, "/listen.php"+rest, strings.NewReader(body))
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return request
}

// status returns the status that an error refuses with.
func status(err error) int {
	var refusal *receive.Refusal
	if errors.As(err, &refusal) {
		return refusal.Status
	}
	return 0
}

// parse reads a request as it stands in a file.
func parse(t testing.TB, text string) *http.Request {
	t.Helper()
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// open is a source that takes everything.
func open(s config.Source) config.Source {
	if s.Name == "" {
		s.Name = "open"
	}
	s.Auth = []config.Credential{{Kind: auth.None}}
	return s
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
