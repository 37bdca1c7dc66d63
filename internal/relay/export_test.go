package relay

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
)

// PruneOnce lets tests remove old activity without waiting for the minute.
var PruneOnce = (*Runtime).pruneOnce

// Report has a runtime report what there is to report at a time.
func Report(r *Runtime, ctx context.Context, now time.Time) { r.watch.report(ctx, now) }

// FindDown has a runtime take note that a target went down or came up.
func FindDown(r *Runtime, change forward.TargetChange) { r.watch.target(change) }

// AttemptsOf returns how many attempts of an action a runtime made with a result.
func AttemptsOf(t *testing.T, r *Runtime, action, result string) float64 {
	return Samples(t, r.metrics, new(Stack))["attempts_total{"+action+","+result+"}"]
}

// Silent returns the sources that are silent at a time.
func Silent(r *Runtime, generation *Generation, now time.Time) []QuietSource {
	return r.watch.silent(generation, now)
}

// Samples returns what a scrape finds, without the prefix of all names, such as
// events_total{icfm,action}. A histogram is its count, and its sum has _sum.
func Samples(t *testing.T, metrics *Metrics, stack *Stack) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := metrics.Register(registry, stack); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]float64{}
	for _, family := range families {
		name := strings.TrimPrefix(family.GetName(), "caddy_event_relay_")
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			of := "{" + strings.Join(labels, ",") + "}"
			samples[name+of] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			if histogram := metric.GetHistogram(); histogram != nil {
				samples[name+of] = float64(histogram.GetSampleCount())
				samples[name+"_sum"+of] = histogram.GetSampleSum()
			}
		}
	}
	return samples
}

// Refused counts a refusal with a status that no request through the surface gets.
var Refused = (*Metrics).refused

// Attempted counts an attempt of an action that no configuration can have.
var Attempted = (*Metrics).attempted

// KeepRejections stores the list of rejected requests without waiting for the minute,
// and RecallRejections reads it again.
var (
	KeepRejections   = (*Runtime).keepRejections
	RecallRejections = func(r *Runtime, ctx context.Context) error {
		r.rejections.recalled = false
		return r.recallRejections(ctx)
	}
)

// Merge adds what was counted of the same rejection.
func (r *Rejection) Merge(more *Rejection) { r.add(more) }
