package relay_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestMetricsOutliveConfigurations counts events, rejections and attempts before
// and after a reload.
func TestMetricsOutliveConfigurations(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	written := relaytest.Configuration(target, "/record")
	written.Sources[0].DedupeWindow, written.Sources[0].DedupeKey = time.Hour, "body.id"
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

	var metrics relay.Metrics
	delivered := relay.AttemptLabels{Action: "record", Result: "delivered"}
	processtest.WaitFor(t, "the attempt to be counted", func() bool {
		var err error
		if metrics, err = runtime.Metrics(t.Context()); err != nil {
			t.Fatal(err)
		}
		return metrics.Attempts[delivered].Count == 1
	})
	for labels, want := range map[relay.EventLabels]uint64{
		{Source: "icfm", Decision: rules.Act}:             1,
		{Source: "icfm", Decision: rules.Ignored}:         1,
		{Source: "icfm", Decision: queue.DuplicateEvents}: 1,
		{Source: "icfm", Decision: rules.RuleError}:       0,
	} {
		if got := metrics.Events[labels]; got != want {
			t.Errorf("events %+v: %d, want %d", labels, got, want)
		}
	}
	if metrics.Rejected["credentials"] != 2 || metrics.Rejected["address"] != 0 {
		t.Errorf("rejected %v, want 2 for their credentials", metrics.Rejected)
	}
	histogram := metrics.Attempts[delivered]
	if histogram.Sum <= 0 || histogram.Buckets[10] != 1 {
		t.Errorf("one attempt makes the histogram %+v", histogram)
	}
	if len(metrics.Attempts) != 1 {
		t.Errorf("attempts %v, want those of one action and result", metrics.Attempts)
	}
}
