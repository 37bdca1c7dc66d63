package inspect

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// TestSeriesEndsWithThePresentBacklog looks at the backlog before any minute has
// passed in which it would be sampled.
func TestSeriesEndsWithThePresentBacklog(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Compile(t, relay.Configuration{Relay: config.Relay{
		Sources: []config.Source{{Name: "icfm", Preset: "icfm", Auth: []config.Credential{{Kind: auth.None}}}},
		Actions: []config.Action{{Name: "record", Method: "POST", URL: "http://127.0.0.1:1/"}},
		Rules:   []config.Rule{{Place: "Caddyfile:1", Events: []string{"job_completed"}, Do: []string{"record"}}},
	}})
	received, err := generation.Receiver.Receive(httptest.NewRequest("POST", "/job_completed", strings.NewReader("{}")), receive.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	// Nothing is pushed, so the delivery waits.
	if err := runtime.Accept(t.Context(), generation, received); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	series, err := Series(t.Context(), runtime, now.Add(-time.Hour), now.Add(time.Minute), 60)
	if err != nil {
		t.Fatal(err)
	}
	waiting := 0
	for _, point := range series.Points {
		waiting += point.Backlog["record"].Count
	}
	if waiting != 1 {
		t.Errorf("the series has %d waiting deliveries, and not the one that there is", waiting)
	}
	earlier, err := Series(t.Context(), runtime, now.Add(-2*time.Hour), now.Add(-time.Hour), 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range earlier.Points {
		if len(point.Backlog) > 0 {
			t.Errorf("a time that is over has the present backlog: %v", point)
		}
	}
}
