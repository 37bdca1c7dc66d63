package caddymodule

import (
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// TestMetricsOfARegistry gathers as Caddy does: a metric that is wrong makes an
// error of the whole page.
func TestMetricsOfARegistry(t *testing.T) {
	ctx, err := caddy.ProvisionContext(new(caddy.Config))
	if err != nil {
		t.Fatal(err)
	}
	must(t, metrics.Register(ctx.GetMetricsRegistry(), &generations))
	must(t, metrics.Register(ctx.GetMetricsRegistry(), &generations))
	before := prometheus.NewPedanticRegistry()
	must(t, relay.NewMetrics().Register(before, &generations))
	if families, err := before.Gather(); err != nil || len(families) != 0 {
		t.Errorf("without a relay there are %d families, %v", len(families), err)
	}
	registry := prometheus.NewPedanticRegistry()
	must(t, metrics.Register(registry, &generations))

	app := provisioned(t, t.TempDir(), config.Action{Name: "notify", URL: "http://127.0.0.1:1/"})
	must(t, app.Start())
	t.Cleanup(func() { must(t, app.Stop()); must(t, app.Cleanup()) })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	for _, wanted := range []string{"caddy_event_relay_events_total", "caddy_event_relay_rejected_requests_total", "caddy_event_relay_attempts_total",
		"caddy_event_relay_pending_deliveries", "caddy_event_relay_oldest_pending_seconds", "caddy_event_relay_queue_bytes"} {
		if !slices.Contains(names, wanted) {
			t.Errorf("there is no %s among %v", wanted, names)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}

	// A queue that is closed makes no error.
	must(t, app.generation.Runtime().Close())
	if _, err := registry.Gather(); err != nil {
		t.Errorf("when the queue is closed, a scrape fails: %v", err)
	}
}
