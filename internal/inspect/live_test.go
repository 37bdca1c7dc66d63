package inspect

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestLive checks that a live view is told of what passes its filter, up to the
// last change, and of nothing else.
func TestLive(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(relaytest.NewService(t), "/record"))
	all := Live(t.Context(), runtime, queue.Filter{})
	acted := Live(t.Context(), runtime, queue.Filter{Decision: rules.Act, Action: "record"})
	delivered := Live(t.Context(), runtime, queue.Filter{States: []queue.State{queue.Delivered}})
	text := Live(t.Context(), runtime, queue.Filter{Text: "approved"})

	ignored := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":1}`)
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	// until reads batches until all events in wanted were seen with their
	// deliveries, if they have any, delivered.
	until := func(name string, batches <-chan LiveBatch, wanted ...string) {
		t.Helper()
		seen := map[string]bool{}
		for done := 0; done < len(wanted); {
			batch, open := <-batches
			if !open || batch.Missed {
				t.Fatalf("%s: got %+v, open %v", name, batch, open)
			}
			for _, event := range batch.Events {
				if len(event.Deliveries) == 0 || event.Deliveries[0].State == queue.Delivered {
					seen[event.ID] = true
				}
			}
			done = 0
			for _, id := range wanted {
				if seen[id] {
					done++
				}
			}
		}
		if len(seen) != len(wanted) {
			t.Errorf("%s: saw %v, want %v", name, seen, wanted)
		}
	}
	until("all", all, ignored, id)
	until("acted", acted, id)
	until("delivered", delivered, id)
	if batch := <-text; !batch.Missed || len(batch.Events) != 0 {
		t.Errorf("with a text to look for: %+v", batch)
	}
}

// TestLiveFlood checks that a view that cannot follow is told so, and then sees
// the newest.
func TestLiveFlood(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(relaytest.NewService(t), "/record"))
	batches := Live(t.Context(), runtime, queue.Filter{})
	body := "[" + strings.Repeat(`{"event":"job_saved"},`, 250) + `{"event":"job_saved","id":"last"}]`
	request := httptest.NewRequest(http.MethodPost, "/listen.php?key=icfm-key", strings.NewReader(body))
	received, err := generation.Receiver.Receive(request, receive.Origin{Mount: "/listen.php"})
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Accept(t.Context(), generation, received); err != nil {
		t.Fatal(err)
	}
	batch := <-batches
	if !batch.Missed || len(batch.Events) != 200 || batch.Events[199].ID != received.Events[250].ID {
		t.Errorf("got %d events, missed %v", len(batch.Events), batch.Missed)
	}
}

// TestLiveEnds checks that a view ends with its reader and with the relay.
func TestLiveEnds(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(relaytest.NewService(t), "/record"))
	ctx, cancel := context.WithCancel(t.Context())
	gone := Live(ctx, runtime, queue.Filter{})
	open := Live(t.Context(), runtime, queue.Filter{})
	cancel()
	for range gone {
	}
	// Nobody reads these.
	for n := range 3 {
		relaytest.Post(t, runtime, generation, fmt.Sprintf(`{"event":"job_saved","id":%d}`, n))
	}
	if err := runtime.Close(); err != nil {
		t.Fatal(err)
	}
	for range open {
	}
	for range Live(t.Context(), runtime, queue.Filter{}) {
	}
}
