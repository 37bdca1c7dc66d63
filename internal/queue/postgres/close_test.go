package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// way is a way to a server that can be blocked: then nothing gets through, and no
// connection ends.
type way struct {
	net.Listener
	to      string
	blocked chan struct{} // has room for the one who blocks it, or lets something through
}

func wayTo(t *testing.T, dsn string) (through string, w *way) {
	t.Helper()
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &way{Listener: listener, to: at.Host, blocked: make(chan struct{}, 1)}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go w.serve(from)
		}
	}()
	at.Host = listener.Addr().String()
	return at.String(), w
}

func (w *way) serve(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		defer to.Close()
		w.copy(to, from)
	}()
	w.copy(from, to)
}

func (w *way) copy(to io.Writer, from io.Reader) {
	some := make([]byte, 64<<10)
	for {
		n, err := from.Read(some)
		w.blocked <- struct{}{}
		<-w.blocked
		if _, failed := to.Write(some[:n]); failed != nil || err != nil {
			return
		}
	}
}

// Close ends, also while the server leaves a commit without an answer. It would hold up
// the end of Caddy, and a reload that gives the relay another queue.
func TestCloseEndsWhileTheServerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hang func(t *testing.T, server *pgtest.Server, way *way) (mend func())
		// answers is whether the server does what need not wait for a standby.
		answers bool
	}{
		"the synchronous standby is away": {func(t *testing.T, server *pgtest.Server, _ *way) func() {
			server.Set(t, "synchronous_standby_names", "away")
			return func() {}
		}, true},
		"nothing gets through": {func(_ *testing.T, _ *pgtest.Server, way *way) func() {
			way.blocked <- struct{}{}
			return func() { <-way.blocked }
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Start(t, pgtest.Options{})
			dsn, way := wayTo(t, server.DSN())
			options := Options{DSN: dsn, Node: "a", Lease: 10 * time.Minute, Logger: zaptest.NewLogger(t), limits: limits{closing: time.Second}}
			db, err := Open(options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() }) // else its log outlives a test that failed
			put := func() error {
				_, err := db.Put(t.Context(), []queue.Entry{{Event: &event.Event{ID: uuid.Must(uuid.NewV7()).String(), Source: "pbx", Name: "call", Received: time.Now()}}})
				return err
			}
			if err := put(); err != nil { // now its kind is known: the next waits with its event
				t.Fatal(err)
			}
			putOn(t, db, "x", "", 1)
			takeOn(t, db, "x")
			defer test.hang(t, server, way)()
			stored, changed := make(chan error, 1), make(chan error, 1)
			go func() { stored <- put() }()
			go func() {
				_, err := db.Change(context.Background(), queue.Change{Switch: &queue.Switch{Kind: queue.SwitchAll, Off: true}})
				changed <- err
			}()
			if test.answers {
				// What the node does by itself may wait beside them.
				server.Holds(t, `SELECT count(DISTINCT l.relation) = 2 FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid WHERE a.wait_event = 'SyncRep'
					AND l.relation IN ('event_relay.events'::regclass, 'event_relay.switches'::regclass)`)
			}
			closed := make(chan error, 1)
			go func() { closed <- db.Close() }()
			for what, ended := range map[string]chan error{"Close": closed, "Put": stored, "Change": changed} {
				select {
				case err := <-ended:
					switch {
					case what == "Close" && test.answers:
						if err != nil {
							t.Errorf("Close: %v", err)
						}
					case err == nil:
						t.Errorf("%s says that all is well", what)
					case what == "Put" && test.answers && (errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrUnavailable)):
						t.Errorf("Put says %v, though the event may be stored", err)
					}
				case <-time.After(time.Minute):
					t.Fatalf("%s does not end", what)
				}
			}
			if !test.answers {
				return
			}
			// What was leased is given back, and the node has taken its leave.
			server.Holds(t, "SELECT (SELECT bool_and(owner IS NULL) FROM event_relay.waiting) AND (SELECT bool_and(closed) FROM event_relay.sessions) AND EXISTS (SELECT 1 FROM event_relay.notes WHERE kind = 'stop')")
		})
	}
}
