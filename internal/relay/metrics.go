package relay

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Metrics are counts since the process began, over all generations. Their
// labels come from configurations only.
type Metrics struct {
	Events map[EventLabels]uint64
	// Rejected counts requests that were turned away: address, credentials,
	// method, too_large, encoding, slow, broken, not_stored or gone, each also if
	// there was none.
	Rejected map[string]uint64
	Attempts map[AttemptLabels]Histogram
	Backlog  []queue.Backlog
	// Down is how many targets of each configured action are down, and
	// Quiet whether a source is silent for longer than its quiet, of those that
	// have one.
	Down  map[string]int
	Quiet map[string]bool
}

// EventLabels tell apart the counts of events. Decision may be
// queue.DuplicateEvents.
type EventLabels struct {
	Source   string
	Decision rules.Decision
}

// AttemptLabels tell apart the counts of attempts. Result is delivered, retry,
// failed or expired. A delivery that expired or failed without having been sent
// counts as an attempt that took no time.
type AttemptLabels struct {
	Action, Result string
}

// Histogram is how long attempts took.
type Histogram struct {
	Count uint64
	Sum   time.Duration
	// Buckets counts attempts of at most so many seconds, cumulative.
	Buckets map[float64]uint64
}

// attemptBuckets are the upper bounds of Histogram.Buckets, in seconds: those
// that Prometheus takes if nothing else is said.
var attemptBuckets = [...]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

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

// Metrics returns the counts and the present backlog. With an error, only the
// backlog is missing.
func (r *Runtime) Metrics(ctx context.Context) (Metrics, error) {
	metrics := r.counts.read()
	if generation := r.newest.Load(); generation != nil {
		metrics.Down = r.watch.downByAction(generation)
		metrics.Quiet = make(map[string]bool, len(generation.Configuration.Quiet))
		for source := range generation.Configuration.Quiet {
			metrics.Quiet[source] = false
		}
		for _, silent := range r.watch.silent(generation, time.Now()) {
			metrics.Quiet[silent.Source] = true
		}
	}
	var err error
	if metrics.Backlog, err = r.engine.Backlog(ctx); err != nil {
		return metrics, fmt.Errorf("reading the backlog for the metrics: %w", err)
	}
	return metrics, nil
}

// downByAction returns how many targets of each action are down.
func (w *watch) downByAction(generation *Generation) map[string]int {
	down := make(map[string]bool)
	for _, target := range w.down(generation) {
		down[withPort(target.Target)] = true
	}
	byAction := make(map[string]int, len(generation.Actions))
	for _, action := range generation.Actions {
		count := 0
		for _, target := range action.Targets() {
			if down[withPort(target)] {
				count++
			}
		}
		byAction[action.Name()] = count
	}
	return byAction
}

// counts are what Metrics returns, as it is counted on the way of each event.
type counts struct {
	sources  table[string, sourceCounts]
	rejected table[string, atomic.Uint64]
	attempts table[AttemptLabels, attemptCounts]
}

// sourceCounts are the events of a source, and when the last one came, in
// nanoseconds since 1970. Tests by an administrator do not count for that.
type sourceCounts struct {
	decisions [len(countedDecisions)]atomic.Uint64
	last      atomic.Int64
}

// countedDecisions are the decisions in the order of sourceCounts.
var countedDecisions = [...]rules.Decision{rules.Act, rules.Ignored, rules.RuleError, rules.Disabled, queue.DuplicateEvents}

// attemptCounts is a histogram whose buckets are not cumulative.
type attemptCounts struct {
	count, sum atomic.Uint64
	buckets    [len(attemptBuckets)]atomic.Uint64
}

// accepted counts events that were stored.
func (c *counts) accepted(entries []queue.Entry, receipts []queue.Receipt) {
	for i := range entries {
		entry := &entries[i]
		decision := entry.Verdict.Decision
		if i < len(receipts) && receipts[i].DuplicateOf != "" {
			decision = queue.DuplicateEvents
		}
		source := c.sources.at(entry.Event.Source)
		for place, counted := range countedDecisions {
			if counted == decision {
				source.decisions[place].Add(1)
			}
		}
		if !entry.Event.Test {
			source.last.Store(entry.Event.Received.UnixNano())
		}
	}
}

func (c *counts) turnedAway(status int) {
	reason := rejectionReasons[status]
	if reason == "" {
		reason = "other"
	}
	c.rejected.at(reason).Add(1)
}

// attempted counts what came of an attempt.
func (c *counts) attempted(outcome *forward.Outcome) {
	result := string(outcome.State)
	if outcome.State == queue.Pending {
		result = "retry"
	}
	attempts := c.attempts.at(AttemptLabels{outcome.Action, result})
	attempts.count.Add(1)
	attempts.sum.Add(uint64(max(outcome.Took, 0)))
	for i, bound := range attemptBuckets {
		if outcome.Took.Seconds() <= bound {
			attempts.buckets[i].Add(1)
			break
		}
	}
}

func (c *counts) read() Metrics {
	metrics := Metrics{
		Events:   map[EventLabels]uint64{},
		Rejected: map[string]uint64{},
		Attempts: map[AttemptLabels]Histogram{},
	}
	for source, counted := range c.sources.all() {
		for i, decision := range countedDecisions {
			if n := counted.decisions[i].Load(); n > 0 {
				metrics.Events[EventLabels{source, decision}] = n
			}
		}
	}
	for _, reason := range rejectionReasons {
		metrics.Rejected[reason] = 0
	}
	for reason, n := range c.rejected.all() {
		metrics.Rejected[reason] = n.Load()
	}
	for labels, counted := range c.attempts.all() {
		histogram := Histogram{Sum: time.Duration(counted.sum.Load()), Buckets: map[float64]uint64{}}
		var below uint64
		for i, bound := range attemptBuckets {
			below += counted.buckets[i].Load()
			histogram.Buckets[bound] = below
		}
		// An attempt that is counted meanwhile must not make a bucket hold more
		// than there are.
		histogram.Count = max(counted.count.Load(), below)
		metrics.Attempts[labels] = histogram
	}
	return metrics
}

// table holds a value for each of a few keys, which all come from
// configurations. It never forgets one: finding a value takes no lock, because
// every event does it.
type table[K comparable, V any] struct {
	found  atomic.Pointer[map[K]*V]
	adding sync.Mutex
}

// at returns the value of a key, a new one if there was none.
func (t *table[K, V]) at(key K) *V {
	if value := t.all()[key]; value != nil {
		return value
	}
	t.adding.Lock()
	defer t.adding.Unlock()
	before := t.all()
	if value := before[key]; value != nil {
		return value
	}
	value := new(V)
	after := make(map[K]*V, len(before)+1)
	maps.Copy(after, before)
	after[key] = value
	t.found.Store(&after)
	return value
}

// all returns the values that there are. The map must not be changed.
func (t *table[K, V]) all() map[K]*V {
	if found := t.found.Load(); found != nil {
		return *found
	}
	return nil
}
