package relay

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Metrics are counts since the process began, over all generations. Their
// labels come from configurations only.
type Metrics struct {
	Events   map[EventLabels]uint64
	Rejected map[string]uint64 // by reason: a fixed set of words
	Attempts map[AttemptLabels]Histogram
	Backlog  []queue.Backlog
}

// EventLabels tell apart the counts of events. Decision may be
// queue.DuplicateEvents.
type EventLabels struct {
	Source   string
	Decision rules.Decision
}

// AttemptLabels tell apart the counts of attempts. Result is delivered, retry,
// failed or expired.
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

// Metrics returns the counts and the present backlog.
func (r *Runtime) Metrics(ctx context.Context) (Metrics, error) { return Metrics{}, errNotBuilt }
