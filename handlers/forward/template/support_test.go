package template

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Parameters that the tests' templates may name.
const (
	testToken    = `s3cret/"tok&en`
	testPassword = "pass word+1"
)

// testLanguage makes a language with parameters, resolved: the value {env.VALUE} is the
// secret VALUE.
func testLanguage(t testing.TB, more ...config.Parameter) *language.Language {
	t.Helper()
	language, err := language.New(language.Definitions{
		Parameters: configtest.Resolved(append([]config.Parameter{
			{Name: "studio_api", Value: "http://127.0.0.1:8080"},
			{Name: "studio_host", Value: "127.0.0.1"},
			{Name: "studio_path", Value: "a/b c?d=1"},
			{Name: "studio_name", Value: `Bob's "B"`},
			{Name: "studio_token", Value: "{env." + testToken + "}"},
			{Name: "studio_password", Value: "{env." + testPassword + "}"},
			{Name: "tricky", Value: "{env.{{body.id}}}"},
		}, more...)...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return language
}

// requests is a Set that makes HTTP requests.
type requests struct{ *Set }

func (r requests) Render(event *event.Event, delivery string) (*Request, error) {
	rendered, err := r.Set.Render(event, delivery)
	request, _ := rendered.(*Request)
	return request, err
}

// prepare compiles one action that sends a request, with the parameters of
// testLanguage.
func prepare(t testing.TB, action config.Action, more ...config.Parameter) requests {
	t.Helper()
	return requests{compiled(t, action, more...)}
}

// compiled compiles one action, with the parameters of testLanguage.
func compiled(t testing.TB, action config.Action, more ...config.Parameter) *Set {
	t.Helper()
	prepared, err := Compile([]config.Action{configtest.Action(t, action)}, testLanguage(t, more...), Settings{Secrets: []string{testToken, testPassword}, UserAgent: "event-relay/test"})
	if err != nil {
		t.Fatalf("compiling: %v", err)
	}
	return prepared[0]
}

func decoded(t testing.TB, text string) *event.Event {
	t.Helper()
	body, err := event.DecodeJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	return eventtest.With(body)
}

const testDelivery = "018f0000-0000-7000-8000-00000000000d"

// recorder is a server that keeps the bytes of each request as they came.
type recorder struct {
	address string
	mu      sync.Mutex
	got     []string
}

// record starts a recorder that answers 200.
func record(t testing.TB) *recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := &recorder{address: listener.Addr().String()}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(connection)
		}
	}()
	return r
}

func (r *recorder) serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		var raw strings.Builder
		length := 0
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			raw.WriteString(line)
			if number, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(number))
			}
			if line == "\r\n" {
				break
			}
		}
		if _, err := io.CopyN(&raw, reader, int64(length)); err != nil {
			return
		}
		r.mu.Lock()
		r.got = append(r.got, raw.String())
		r.mu.Unlock()
		if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// last returns the bytes of the last request.
func (r *recorder) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		return ""
	}
	return r.got[len(r.got)-1]
}

func mustTargets(t testing.TB, words ...string) *send.Targets {
	t.Helper()
	if len(words) == 0 {
		words = config.DefaultTargets
	}
	targets, err := send.NewTargets(words)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}
