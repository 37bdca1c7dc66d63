package relay

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// storesNothing is an engine that takes entries at no cost.
type storesNothing struct{ queue.Engine }

func (storesNothing) Put(_ context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	return make([]queue.Receipt, len(entries)), nil
}

// BenchmarkAccept is what the relay itself adds to storing an event: deciding and
// counting.
func BenchmarkAccept(b *testing.B) {
	generation, err := Compile(Configuration{Relay: config.Relay{
		Sources: []config.Source{{Name: "icfm", Preset: "icfm", Auth: []config.Credential{{Kind: auth.None}}}},
		Rules:   []config.Rule{{Place: "Caddyfile:1", Events: []string{"job_saved"}, When: []string{`body.status == "Approved"`}, Ignore: true}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	request := httptest.NewRequest("POST", "/job_saved", strings.NewReader(`{"status":"Approved"}`))
	received, err := generation.Receiver.Receive(request, receive.Origin{})
	if err != nil {
		b.Fatal(err)
	}
	received.Events[0].Received = time.Now()
	runtime := newRuntime(storesNothing{}, newNewestLog())
	runtime.entered.Store(true)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := runtime.Accept(b.Context(), generation, received); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
