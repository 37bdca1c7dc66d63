package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// scrapeTimeout bounds how long a scrape waits for a busy queue. Prometheus
// gives up after 10s unless told otherwise.
const scrapeTimeout = 5 * time.Second

// What Prometheus is told. Labels hold what configurations say and never what
// came with an event, so that nobody outside can make series.
var (
	eventsMetric = metric("events_total",
		"Events that were stored, by source and verdict (action, ignored, rule_error, disabled, duplicate).", "source", "verdict")
	rejectedMetric = metric("rejected_requests_total",
		"Requests that were turned away and stored nothing, by reason.", "reason")
	attemptsMetric = metric("attempts_total",
		"Attempts at deliveries, by action and result (delivered, retry, failed, expired).", "action", "result")
	attemptDurationMetric = metric("attempt_duration_seconds",
		"How long attempts at deliveries took, from the connection to the end of the answer, by action and result.", "action", "result")
	pendingMetric = metric("pending_deliveries",
		"Unfinished deliveries, by action.", "action")
	oldestPendingMetric = metric("oldest_pending_seconds",
		"How long the oldest unfinished delivery has been waiting, by action; 0 if there is none.", "action")
	downMetric = metric("targets_down",
		"How many of the targets of an action are down (they cannot be reached, or give no proper answer), by action. An action has several if its host depends on the tenant.", "action")
	quietMetric = metric("source_quiet",
		"Whether a source has been silent for longer than its quiet (1) or not (0), of those that have one.", "source")
	maxPendingMetric = metric("max_pending_deliveries",
		"How many deliveries may be unfinished before events are refused (max_pending).")
	queueBytesMetric = metric("queue_bytes",
		"How many bytes the queue and the history take on disk.")
	queueFreeMetric = metric("queue_free_bytes",
		"How many bytes are free on the file system of the queue.")
	minFreeMetric = metric("queue_min_free_bytes",
		"Below how many free bytes events are refused (min_free); 0 if free space is not looked at.")
	switchedOffMetric = metric("switched_off",
		"What was switched off while the relay was running: 1 for each, by kind (action, event, all) and name.", "kind", "name")
	versionMetric = metric("version_info",
		"The version of Event Relay, as a label; the value is always 1.", "version")
)

// metrics are all of them.
var metrics = []*prometheus.Desc{
	eventsMetric, rejectedMetric, attemptsMetric, attemptDurationMetric, pendingMetric, oldestPendingMetric, downMetric, quietMetric,
	maxPendingMetric, queueBytesMetric, queueFreeMetric, minFreeMetric, switchedOffMetric, versionMetric,
}

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", appName, name), help, labels, nil)
}

// collector reads the relay in service whenever somebody scrapes. It has no
// state: counts are the runtime's, so that they outlive configurations, each of
// which has a registry of its own. For the same reason it looks for the runtime
// at each scrape; Caddy keeps serving the registry of a configuration that
// failed to load.
type collector struct{}

// registerMetrics registers the collector with the configuration's registry.
func registerMetrics(ctx caddy.Context) error {
	err := ctx.GetMetricsRegistry().Register(collector{})
	if errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	return nil
}

// Describe says which metrics there can be.
func (collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range metrics {
		descriptions <- description
	}
}

// Collect reads the metrics. Without a relay in service there are none: a scrape
// never fails because of that, as the other metrics of Caddy would fail with
// it.
func (collector) Collect(into chan<- prometheus.Metric) {
	newest := generations.Newest()
	if newest == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s := scrape{generation: newest, into: into}
	// With an error, as of a queue that is closing, only the backlog is not
	// known; there are no values then rather than wrong ones.
	now, err := newest.Runtime().Metrics(ctx)
	s.counts(now)
	if err == nil {
		s.backlog(now.Backlog)
	}
	s.state(now)
	s.storage()
	for _, off := range newest.Runtime().Switches() {
		s.gauge(switchedOffMetric, 1, string(off.Kind), off.Name)
	}
	s.gauge(versionMetric, 1, cmp.Or(Version(), "unknown"))
}

// scrape is the reading of one relay.
type scrape struct {
	generation *relay.Generation
	into       chan<- prometheus.Metric
}

// counts sends what was counted. What is configured and has not happened yet is
// sent as zero, or Prometheus would not see its first time as an increase.
func (s *scrape) counts(now relay.Metrics) {
	sources := []string{relay.OwnSource}
	for _, source := range s.generation.Configuration.Sources {
		sources = append(sources, source.Name)
	}
	for _, source := range sources {
		for _, verdict := range []rules.Decision{rules.Act, rules.Ignored, rules.RuleError, rules.Disabled, queue.DuplicateEvents} {
			now.Events[relay.EventLabels{Source: source, Decision: verdict}] += 0
		}
	}
	for labels, count := range now.Events {
		s.counter(eventsMetric, count, labels.Source, string(labels.Decision))
	}
	for reason, count := range now.Rejected {
		s.counter(rejectedMetric, count, reason)
	}
	for _, action := range s.generation.Configuration.Actions {
		for _, result := range []string{"delivered", "retry", "failed", "expired"} {
			labels := relay.AttemptLabels{Action: action.Name, Result: result}
			if _, counted := now.Attempts[labels]; !counted {
				s.counter(attemptsMetric, 0, action.Name, result)
			}
		}
	}
	for labels, took := range now.Attempts {
		s.counter(attemptsMetric, took.Count, labels.Action, labels.Result)
		histogram, err := prometheus.NewConstHistogram(attemptDurationMetric, took.Count, took.Sum.Seconds(), took.Buckets,
			labels.Action, labels.Result)
		s.send(histogram, err)
	}
}

// backlog sends what waits, for actions that are configured and for those that
// were.
func (s *scrape) backlog(waiting []queue.Backlog) {
	waits := make(map[string]bool, len(waiting))
	for _, backlog := range waiting {
		waits[backlog.Action] = true
		s.gauge(pendingMetric, float64(backlog.Count), backlog.Action)
		s.gauge(oldestPendingMetric, max(0, time.Since(backlog.Oldest).Seconds()), backlog.Action)
	}
	for _, action := range s.generation.Configuration.Actions {
		if !waits[action.Name] {
			s.gauge(pendingMetric, 0, action.Name)
			s.gauge(oldestPendingMetric, 0, action.Name)
		}
	}
}

// state sends what is wrong with targets and sources.
func (s *scrape) state(now relay.Metrics) {
	for action, targets := range now.Down {
		s.gauge(downMetric, float64(targets), action)
	}
	for source, quiet := range now.Quiet {
		value := 0.0
		if quiet {
			value = 1
		}
		s.gauge(quietMetric, value, source)
	}
}

func (s *scrape) storage() {
	usage := s.generation.Runtime().Store().Usage()
	s.gauge(queueBytesMetric, float64(usage.Bytes))
	if usage.Free >= 0 {
		s.gauge(queueFreeMetric, float64(usage.Free))
	}
	limits := s.generation.Configuration.Limits
	s.gauge(minFreeMetric, float64(max(0, limits.MinFree)))
	s.gauge(maxPendingMetric, float64(limits.MaxPending))
}

func (s *scrape) counter(description *prometheus.Desc, value uint64, labels ...string) {
	counter, err := prometheus.NewConstMetric(description, prometheus.CounterValue, float64(value), labels...)
	s.send(counter, err)
}

func (s *scrape) gauge(description *prometheus.Desc, value float64, labels ...string) {
	gauge, err := prometheus.NewConstMetric(description, prometheus.GaugeValue, value, labels...)
	s.send(gauge, err)
}

// send leaves out what Prometheus cannot have, such as a name in JSON that is
// no UTF-8: with it, all metrics of Caddy would be an error page.
func (s *scrape) send(metric prometheus.Metric, err error) {
	if err == nil {
		s.into <- metric
	}
}
