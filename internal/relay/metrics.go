package relay

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Metrics are the counts of a process, which go on over configurations and
// queues. Their labels come from configurations and never from events, so that
// no sender can make series. Make them with NewMetrics, once.
type Metrics struct {
	events, rejected, attempts *prometheus.CounterVec
	took                       *prometheus.HistogramVec

	// sources holds the counters of each source by its name, so that counting an
	// event is one look into a map. A new source makes a new map.
	sources atomic.Pointer[map[string]*sourceCounts]
	adding  sync.Mutex
}

// sourceCounts are the counters of a source, in the order of countedVerdicts, and
// when its last event came, in nanoseconds since 1970. Tests by an administrator
// do not count for that.
type sourceCounts struct {
	verdicts [len(countedVerdicts)]prometheus.Counter
	last     atomic.Int64
}

// NewMetrics returns counts at zero.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricName(name), Help: help}, labels)
	}
	m := &Metrics{
		events: counter("events_total",
			"Events that were stored, by source and verdict (action, ignored, rule_error, disabled, duplicate).", "source", "verdict"),
		rejected: counter("rejected_requests_total",
			"Requests that were refused or that no mount took, and that stored nothing, by reason.", "reason"),
		attempts: counter("attempts_total",
			"Attempts at deliveries, by action and result (delivered, retry, failed, expired).", "action", "result"),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metricName("attempt_duration_seconds"), Buckets: prometheus.DefBuckets,
			Help: "How long attempts at deliveries took, from the connection to the end of the answer, by action and result."}, []string{"action", "result"}),
	}
	m.sources.Store(new(map[string]*sourceCounts))
	return m
}

// metricName returns the full name of a metric. Caddy's own begin with caddy_.
func metricName(name string) string { return prometheus.BuildFQName("caddy", "event_relay", name) }

// Register registers the counts, and what there is to say of the newest generation
// of a stack, with the registry of a configuration. Each configuration has a
// registry of its own, and the counts are in all of them. That they are in one
// already, as when an app is provisioned twice, is no error.
func (m *Metrics) Register(registry prometheus.Registerer, stack *Stack) error {
	for _, collector := range []prometheus.Collector{m.events, m.rejected, m.attempts, m.took, present{stack}} {
		err := registry.Register(collector)
		if err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fmt.Errorf("registering the metrics: %w", err)
		}
	}
	return nil
}

var (
	countedVerdicts = [...]rules.Decision{rules.Act, rules.Ignored, rules.RuleError, rules.Disabled, queue.DuplicateEvents}
	countedResults  = []string{string(queue.Delivered), resultRetry, string(queue.Failed), string(queue.Expired)}
)

// resultRetry is the result of an attempt after which its delivery is pending.
const resultRetry = "retry"

// rejectionReasons are the words for rejections, by the status that answered.
var rejectionReasons = map[int]string{
	http.StatusForbidden:             "address",
	http.StatusUnauthorized:          "credentials",
	http.StatusMethodNotAllowed:      "method",
	http.StatusRequestEntityTooLarge: "too_large",
	http.StatusUnsupportedMediaType:  "encoding",
	http.StatusRequestTimeout:        "slow",
	http.StatusBadRequest:            "broken",
	http.StatusServiceUnavailable:    "not_stored",
	statusSenderGone:                 "gone",
}

// reasonOther is the word for a rejection with any other status.
const reasonOther = "other"

// reasonNoMount is the word for a request that no mount took.
const reasonNoMount = "no_mount"

// expect makes the series of a generation at zero. Prometheus would not see the
// first time that something happens as an increase otherwise.
func (m *Metrics) expect(generation *Generation) {
	for _, reason := range rejectionReasons {
		m.rejected.WithLabelValues(reason)
	}
	m.rejected.WithLabelValues(reasonNoMount)
	for _, source := range append(generation.sourceNames(), names.RelaySource) {
		m.source(source)
	}
	for _, action := range generation.ActionNames() {
		for _, result := range countedResults {
			_, _ = m.attempts.GetMetricWithLabelValues(action, result)
		}
	}
}

// source returns the counts of a source.
func (m *Metrics) source(name string) *sourceCounts {
	if counts, ok := (*m.sources.Load())[name]; ok {
		return counts
	}
	m.adding.Lock()
	defer m.adding.Unlock()
	known := *m.sources.Load()
	if counts, ok := known[name]; ok {
		return counts
	}
	counts := new(sourceCounts)
	for i, verdict := range countedVerdicts {
		counter, err := m.events.GetMetricWithLabelValues(name, string(verdict))
		if err != nil { // see count
			counter = prometheus.NewCounter(prometheus.CounterOpts{})
		}
		counts.verdicts[i] = counter
	}
	more := make(map[string]*sourceCounts, len(known)+1)
	maps.Copy(more, known)
	more[name] = counts
	m.sources.Store(&more)
	return counts
}

// accepted counts the events of one request, all of one source, that were stored.
func (m *Metrics) accepted(source string, entries []queue.Entry, receipts []queue.Receipt) {
	counts := m.source(source)
	for i := range entries {
		event, verdict := entries[i].Event, entries[i].Verdict.Decision
		if i < len(receipts) && receipts[i].DuplicateOf != "" {
			verdict = queue.DuplicateEvents
		}
		if at := slices.Index(countedVerdicts[:], verdict); at >= 0 {
			counts.verdicts[at].Inc()
		}
		if !event.Test {
			counts.last.Store(event.Received.UnixNano())
		}
	}
}

// refused counts a request that was answered with a status and not stored.
func (m *Metrics) refused(status int) {
	reason := rejectionReasons[status]
	if reason == "" {
		reason = reasonOther
	}
	count(m.rejected, reason)
}

// noMount counts a request that no mount took.
func (m *Metrics) noMount() { count(m.rejected, reasonNoMount) }

// attempted counts what came of an attempt. A delivery that expired or failed
// without having been sent counts as an attempt that took no time.
func (m *Metrics) attempted(outcome *forward.Outcome) {
	result := string(outcome.State)
	if outcome.State == queue.Pending {
		result = resultRetry
	}
	count(m.attempts, outcome.Action, result)
	if took, err := m.took.GetMetricWithLabelValues(outcome.Action, result); err == nil {
		took.Observe(max(outcome.Took, 0).Seconds())
	}
}

// count leaves out what Prometheus cannot have as a label: a name that is not
// UTF-8, such as that of an action which an older version stored.
func count(of *prometheus.CounterVec, labels ...string) {
	if counter, err := of.GetMetricWithLabelValues(labels...); err == nil {
		counter.Inc()
	}
}
