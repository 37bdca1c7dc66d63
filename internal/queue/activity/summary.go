package activity

import (
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// mostSummaries bounds one call of Summaries.
const mostSummaries = 1000

// LookedFor refuses more ids than Summaries looks for at once.
func LookedFor(ids []string) error {
	if len(ids) > mostSummaries {
		return fmt.Errorf("reading events of the activity: %d ids were given, and at most %d are looked for at once", len(ids), mostSummaries)
	}
	return nil
}

// Deliveries returns the deliveries of an event as they were before anything was
// tried.
func Deliveries(plans []layout.Plan, received time.Time) []queue.DeliveryState {
	deliveries := make([]queue.DeliveryState, len(plans))
	for i, p := range plans {
		deliveries[i] = queue.DeliveryState{ID: p.ID, Action: p.Action, Of: p.Of, State: queue.Pending, Due: received}
		if due := max(p.Due, p.Added); due != 0 {
			deliveries[i].Due = layout.FromMicros(due)
		}
	}
	return deliveries
}

// Tried changes the deliveries of an event by what stands of an attempt, which must
// come in the order of their ids: the state from then on, when it is due again or
// ended, and whether there was an attempt at all, with its status and error.
func Tried(deliveries []queue.DeliveryState, attempt, state, at int64, attempted bool, status int, problem string) {
	place := layout.PlaceOf(attempt >> layout.AttemptBits)
	known, ok := layout.StateOf(state)
	if place >= len(deliveries) || !ok {
		return
	}
	d := &deliveries[place]
	d.State = known
	if state == layout.Pending {
		d.Due = layout.FromMicros(at)
	} else {
		d.Due, d.Ended = time.Time{}, layout.FromMicros(at)
	}
	if attempted {
		d.Attempts = int(attempt&layout.LastAttempt) + 1
		d.Status, d.Error = status, problem
	}
}
