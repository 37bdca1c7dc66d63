package relay_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// TestMetricsOutliveConfigurations counts events, rejections and attempts before
// and after a reload.
func TestMetricsOutliveConfigurations(t *testing.T) {
	target := relaytest.NewService(t)
	metrics := relay.NewMetrics()
	runtime, err := relay.Open(sqlite.Store{Dir: t.TempDir()}, true, metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close()
	written := relaytest.Configuration(target, "/record")
	written.Sources[0].Dedupe = &config.Dedupe{Window: config.Duration(time.Hour), Key: "body.id"}
	first := relaytest.Compile(t, written)
	var stack relay.Stack
	stack.Push(runtime, first)
	relaytest.Post(t, runtime, first, `{"event":"job_saved","id":1,"status":"Approved"}`)
	relaytest.Post(t, runtime, first, `{"event":"job_saved","id":1,"status":"Approved"}`)
	for range 2 {
		if _, err := stack.Ingest(first, httptest.NewRequest(http.MethodPost, "/listen.php?key=wrong", nil), receive.Origin{}); err == nil {
			t.Error("a wrong key was let in")
		}
	}
	second := relaytest.Compile(t, written)
	stack.Push(runtime, second)
	stack.Remove(first)
	relaytest.Post(t, runtime, second, `{"event":"dmg_work_started","id":2}`)

	delivered := "attempt_duration_seconds{record,delivered}"
	var samples map[string]float64
	// The attempt is counted before the end of its delivery is stored.
	processtest.WaitFor(t, "the attempt to be counted and its delivery to end", func() bool {
		samples = relay.Samples(t, metrics, &stack)
		return samples[delivered] == 1 && samples["pending_deliveries{record}"] == 0
	})
	for name, want := range map[string]float64{
		"events_total{icfm,action}":            1,
		"events_total{icfm,ignored}":           1,
		"events_total{icfm,duplicate}":         1,
		"events_total{icfm,rule_error}":        0,
		"events_total{relay,action}":           0,
		"rejected_requests_total{credentials}": 2,
		"rejected_requests_total{address}":     0,
		"attempts_total{record,delivered}":     1,
		"attempts_total{record,failed}":        0,
		"pending_deliveries{record}":           0,
		"targets_down{record}":                 0,
		"max_pending_deliveries{}":             0,
	} {
		if got, there := samples[name]; got != want || !there {
			t.Errorf("%s is %v (%v), want %v", name, got, there, want)
		}
	}
	if samples["attempt_duration_seconds_sum{record,delivered}"] <= 0 {
		t.Error("the attempt took no time")
	}
	if _, there := samples["attempt_duration_seconds{record,failed}"]; there {
		t.Error("there is a histogram of what did not happen")
	}
}
