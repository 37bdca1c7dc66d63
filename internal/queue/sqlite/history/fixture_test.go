package history_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/rules"
)

// open opens an empty queue, so that what is read is what the writer wrote.
func open(t *testing.T) queue.Engine {
	t.Helper()
	q, err := sqlite.Open(sqlite.Options{Dir: t.TempDir(), MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// entry is an event without deliveries.
func entry() queue.Entry {
	return queue.Entry{
		Event: &event.Event{
			ID: uuid.Must(uuid.NewV7()).String(), Source: "erp", Name: "saved", Received: time.Now(),
			Parameters: event.Parameters{}, RawBody: []byte(`{"id":1}`), BodyIsRaw: true,
		},
		Verdict: rules.Verdict{Decision: rules.Ignored, Reason: "no rule for it"},
	}
}

func put(t *testing.T, q queue.Engine, entries ...queue.Entry) {
	t.Helper()
	if _, err := q.Put(context.Background(), entries); err != nil {
		t.Fatal(err)
	}
}
