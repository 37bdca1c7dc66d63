// Package relaytest holds what the tests of the relay, and of what stands on it,
// have in common: a small configuration, a service that it calls, and a sender.
package relaytest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	queuesqlite "github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Service is a LAN service that remembers what it was sent. Until Answer is
// called it answers 200.
type Service struct {
	*httptest.Server
	mutex    sync.Mutex
	status   int
	requests []string
}

// NewService starts a service.
func NewService(t testing.TB) *Service {
	s := &Service{status: http.StatusOK}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.status == http.StatusOK {
			s.requests = append(s.requests, r.URL.RequestURI())
		}
		w.WriteHeader(s.status)
	}))
	t.Cleanup(s.Close)
	return s
}

// Answer makes the service answer with a status. It remembers only what it
// answered with 200.
func (s *Service) Answer(status int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.status = status
}

// Got returns the paths and queries that the service was sent, in order, with a
// blank between two.
func (s *Service) Got() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return strings.Join(s.requests, " ")
}

// Approved is the body of an event that fires the action of Configuration.
const Approved = `{"event":"job_saved","id":1,"status":"Approved"}`

// Configuration has the source icfm with the key icfm-key, and the action record,
// which calls a path of the service for each job_saved that is Approved.
func Configuration(s *Service, path string) relay.Configuration {
	return relay.Configuration{Relay: config.Relay{
		Sources: []config.Source{{
			Name: "icfm", Preset: "icfm",
			Auth: []config.Credential{{Kind: auth.APIKey, In: auth.InQuery, Name: "key", Values: []string{"icfm-key"}}},
		}},
		Actions: []config.Action{{
			Name: "record", Method: "POST", URL: s.URL + path, Query: []config.NameValue{{Name: "id", Value: "{{body.id}}"}},
		}},
		Rules: []config.Rule{
			{Place: "Caddyfile:1", Events: []string{"job_saved"}, When: []string{`body.status == "Approved"`}, Do: []string{"record"}},
			{Place: "Caddyfile:2", Events: []string{"dmg_*"}, Ignore: true, Reason: "not automated"},
		},
		Retention: &config.Retention{Age: config.Duration(time.Hour), Size: 1 << 30},
	}}
}

// Compile compiles a configuration without mistakes.
func Compile(t testing.TB, configuration relay.Configuration) *relay.Generation {
	t.Helper()
	generation, err := relay.Compile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	return generation
}

// Open opens the queue in a directory until the test ends.
func Open(t testing.TB, directory string) *relay.Runtime {
	t.Helper()
	return open(t, queuesqlite.Store{Dir: directory})
}

// open opens a runtime over a store until the test ends.
func open(t testing.TB, store queue.Store) *relay.Runtime {
	t.Helper()
	runtime, err := relay.Open(store, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	return runtime
}

// Spoil changes the database in a directory that no runtime has open.
func Spoil(t testing.TB, directory, statement string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(directory, "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the databases are %q, %v", files, err)
	}
	conn, err := sqlite.OpenConn(files[0], sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteTransient(conn, statement, nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

// Push puts a configuration in service.
func Push(t testing.TB, runtime *relay.Runtime, configuration relay.Configuration) *relay.Generation {
	t.Helper()
	generation := Compile(t, configuration)
	new(relay.Stack).Push(runtime, generation)
	return generation
}

// Event makes an event of icfm that was received now.
func Event(name, body string) *event.Event {
	e := &event.Event{ID: uuid.Must(uuid.NewV7()).String(), Source: "icfm", Name: name, Received: time.Now(), RawBody: []byte(body), BodyIsRaw: true}
	e.Body, _ = event.DecodeJSON(body)
	e.Parameters[event.Tenant] = ""
	return e
}

// Accept has events of one source decided and stored.
func Accept(t testing.TB, runtime *relay.Runtime, generation *relay.Generation, events ...*event.Event) {
	t.Helper()
	if err := runtime.Accept(t.Context(), generation, &receive.Received{Source: events[0].Source, Events: events}); err != nil {
		t.Fatal(err)
	}
}

// Post sends an event the way a sender does and returns its id.
func Post(t testing.TB, runtime *relay.Runtime, generation *relay.Generation, body string) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/listen.php?key=icfm-key", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	received, err := generation.Receiver.Receive(request, receive.Origin{Mount: "/listen.php"})
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Accept(t.Context(), generation, received); err != nil {
		t.Fatal(err)
	}
	return received.Events[0].ID
}

// Turn turns a switch and returns it as it is now.
func Turn(t testing.TB, runtime *relay.Runtime, s queue.Switch, during time.Duration) queue.Switch {
	t.Helper()
	now, err := runtime.Turn(t.Context(), s, during)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// Find returns an event once the history has it.
func Find(t testing.TB, runtime *relay.Runtime, id string) queue.Detail {
	t.Helper()
	var found queue.Detail
	processtest.WaitFor(t, "the event in the history", func() bool {
		var err error
		found, err = runtime.Store().Find(t.Context(), id)
		return err == nil
	})
	return found
}

// Summary returns an event with its deliveries once the history has it.
func Summary(t testing.TB, runtime *relay.Runtime, id string) queue.Summary {
	t.Helper()
	return Find(t, runtime, id).Summary
}

// Stored returns the events that pass a filter, newest first.
func Stored(t testing.TB, runtime *relay.Runtime, filter queue.Filter) (events []queue.Summary) {
	t.Helper()
	for after, more := queue.Cursor(""), true; more; more = after != "" {
		page, err := runtime.Store().Page(t.Context(), filter, queue.NewestFirst, after, 100)
		if err != nil {
			t.Fatal(err)
		}
		events, after = append(events, page.Events...), page.Next
	}
	return events
}

// WaitEnded waits until no delivery is unfinished. It is patient as long as deliveries
// end: hundreds in order take minutes on a busy machine.
func WaitEnded(t testing.TB, runtime *relay.Runtime) {
	t.Helper()
	for before, now := -1, -1; now != 0; before = now {
		processtest.WaitFor(t, "deliveries to end", func() bool {
			waiting, err := runtime.Store().Backlog(t.Context())
			now = 0
			for _, of := range waiting {
				now += of.Count
			}
			return err == nil && now != before
		})
	}
}

// CheckWrong checks that an error is about a field of the input and says what is
// wrong with it.
func CheckWrong(t testing.TB, err error, field, problem string) {
	t.Helper()
	var input *relay.WrongInput
	if !errors.As(err, &input) || input.Field != field || !strings.Contains(err.Error(), problem) {
		t.Errorf("got %v (%+v), want one about %s that says %q", err, input, field, problem)
	}
}
