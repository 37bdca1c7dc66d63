package relay_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
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
		"max_pending_deliveries{}":             1_000_000,
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

// TestMetricsOfOtherStatuses checks the reason of a status that has none of its own.
func TestMetricsOfOtherStatuses(t *testing.T) {
	metrics := relay.NewMetrics()
	for status, want := range map[int]string{
		http.StatusUnauthorized:   "credentials",
		http.StatusTeapot:         "other",
		http.StatusNotImplemented: "other",
	} {
		of := "rejected_requests_total{" + want + "}"
		before := relay.Samples(t, metrics, new(relay.Stack))[of]
		relay.Refused(metrics, status)
		if got := relay.Samples(t, metrics, new(relay.Stack))[of]; got != before+1 {
			t.Errorf("%d: %s is %v after %v", status, of, got, before)
		}
	}
}

// TestMetricsOfNamesThatAreNotUTF8 checks that such names are left out: Prometheus
// cannot have them as labels, and an error would take all metrics from the page.
func TestMetricsOfNamesThatAreNotUTF8(t *testing.T) {
	const name = "not \xff UTF-8"
	metrics := relay.NewMetrics()
	runtime, err := relay.Open(sqlite.Store{Dir: t.TempDir()}, true, metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close()
	generation := relaytest.Compile(t, relaytest.Configuration(relaytest.NewService(t), "/record"))
	var stack relay.Stack
	stack.Push(runtime, generation)

	relay.Attempted(metrics, &forward.Outcome{Action: name, State: queue.Failed})
	event := relaytest.Event("dmg_work_started", `{}`)
	event.Source = name
	relaytest.Accept(t, runtime, generation, event)
	// An action that waits may be one of an older version.
	event = relaytest.Event("dmg_work_started", `{}`)
	if _, err := runtime.Store().Put(t.Context(), []queue.Entry{{Event: event, Deliveries: []queue.Delivery{{ID: event.ID, Action: name}}}}); err != nil {
		t.Fatal(err)
	}
	if backlog, err := runtime.Store().Backlog(t.Context()); err != nil || len(backlog) != 1 || backlog[0].Action != name {
		t.Fatalf("the backlog is %+v, %v, want a delivery of %q", backlog, err, name)
	}

	samples := relay.Samples(t, metrics, &stack)
	for sample := range samples {
		if strings.Contains(sample, "UTF-8") {
			t.Errorf("there is %q", sample)
		}
	}
	if pending, there := samples["pending_deliveries{record}"]; !there || pending != 0 {
		t.Errorf("pending deliveries of another action are %v (%v), want 0", pending, there)
	}
}

// TestMetricsOfNodes gathers what only several nodes have.
func TestMetricsOfNodes(t *testing.T) {
	shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
	shared.SetClock("b", -time.Hour)
	metrics := relay.NewMetrics()
	runtimes, _ := openNodes(t, shared, relaytest.Configuration(target, "/record"), "a", "b")
	var stack relay.Stack
	stack.Push(runtimes[0], relaytest.Compile(t, relaytest.Configuration(target, "/record")))
	processtest.WaitFor(t, "the other node to tell of its clock", func() bool {
		return relay.Samples(t, metrics, &stack)["node_clock_ahead_seconds{b}"] == -3600
	})
	samples := relay.Samples(t, metrics, &stack)
	for name, want := range map[string]float64{"node_up{a}": 1, "node_up{b}": 1, "node_clock_ahead_seconds{a}": 0, "nodes_differ{}": 0} {
		if got, there := samples[name]; got != want || !there {
			t.Errorf("%s is %v (%v), want %v", name, got, there, want)
		}
	}
}
