package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Resent is what Resend did, or would do.
type Resent struct {
	// Events and Deliveries are how many were sent again, and Actions how many
	// of the deliveries are of each action.
	Events     int            `json:"events"`
	Deliveries int            `json:"deliveries"`
	Actions    map[string]int `json:"actions"`
	// Arrived counts those of the deliveries that had arrived, also after they were
	// sent again: their targets get the same request a second time.
	Arrived int `json:"arrived,omitempty"`
	// Unknown counts deliveries that were left out because their action is not
	// configured any more.
	Unknown int `json:"unknown,omitempty"`
	// IDs are the new deliveries, the first thousand.
	IDs []string `json:"ids,omitempty"`
}

// Resend sends deliveries again: each as a new delivery with a key of its own,
// linked to the old one, and as old as if its event had just come. An event's id
// chooses all its deliveries that have ended, a delivery's id that one. A filter
// without a state chooses those that failed, expired or were cancelled, and are not
// mended. Unfinished ones are never chosen, and those that were sent again before only
// by their own id, since the later one says what became of them. With dry it
// only counts. Progress is counted in deliveries; it may be nil. What was done
// before an error stays done, and is what Resent says.
func Resend(ctx context.Context, runtime *relay.Runtime, selection Selection, dry bool, progress func(Progress)) (Resent, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	resent := Resent{Actions: map[string]int{}}
	states := []queue.State{queue.Failed, queue.Expired, queue.Cancelled}
	switch given := selection.Filter.States; {
	case len(selection.IDs) > 0:
		states = []queue.State{queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled, queue.Mended}
	case slices.Contains(given, queue.Pending):
		return resent, relay.Wrong("state", "deliveries that are %s are not sent again: they are not over", queue.Pending)
	case slices.Contains(given, queue.Mended):
		return resent, relay.Wrong("state", "deliveries that are %s are not sent again: they have arrived; to send one a second time, give its id", queue.Mended)
	case len(given) > 0:
		states = given
	}
	filter := selection.Filter
	filter.States = states
	action := filter.Action
	if len(selection.IDs) > 0 {
		action = ""
	}
	generation := runtime.Generation()
	if generation == nil {
		return resent, relay.ErrNotInService
	}
	selected := &selected{runtime: runtime, few: selection.IDs}
	var would Resent
	if dry || !areFew(selection.IDs) {
		would.Actions = map[string]int{}
		var err error
		if selected, err = lookThrough(ctx, runtime, selection.IDs, filter, 0, func(event *chosen) {
			would.count(generation, event, event.repeatable(action, states))
		}, func() (enough bool) {
			if dry {
				progress(Progress{Done: would.Deliveries})
			} else {
				progress(Progress{})
			}
			return false
		}); err != nil {
			return resent, fmt.Errorf("sending again: %w", err)
		}
		if dry {
			progress(Progress{Done: would.Deliveries, Total: would.Deliveries})
			return would, nil
		}
		progress(Progress{Total: would.Deliveries})
	}
	err := selected.walk(ctx, func(ctx context.Context, events []chosen) error {
		return resend(ctx, runtime, events, action, states, &resent)
	}, func() { progress(Progress{Done: resent.Deliveries, Total: max(resent.Deliveries, would.Deliveries)}) })
	switch {
	case err != nil && resent.Deliveries == 0:
		return resent, fmt.Errorf("sending again: %w", err)
	case err != nil:
		return resent, fmt.Errorf("sending again, after %d deliveries: %w", resent.Deliveries, err)
	}
	return resent, nil
}

// count adds the deliveries of an event that are sent again. It leaves out those
// whose action is not configured.
func (r *Resent) count(generation *relay.Generation, event *chosen, deliveries []queue.DeliveryState) {
	before := r.Deliveries
	for _, delivery := range deliveries {
		if generation.Action(delivery.Action) == nil {
			r.Unknown++
			continue
		}
		r.Deliveries++
		r.Actions[delivery.Action]++
		if delivery.Arrived() {
			r.Arrived++
		}
	}
	if r.Deliveries > before {
		r.Events++
	}
}

// repeatable returns the chosen deliveries of an event that are in one of the
// states, none of them unfinished: of one action, or of any if it is empty.
func (c *chosen) repeatable(action string, states []queue.State) (deliveries []queue.DeliveryState) {
	for _, delivery := range c.Summary.Deliveries {
		again := slices.ContainsFunc(c.Summary.Deliveries, func(d queue.DeliveryState) bool { return d.Of == delivery.ID })
		if slices.Contains(states, delivery.Standing()) && (action == "" || action == delivery.Action) &&
			(c.whole && !again || slices.Contains(c.deliveries, delivery.ID)) {
			deliveries = append(deliveries, delivery)
		}
	}
	return deliveries
}

// resend sends the chosen deliveries of some events again and adds them to what
// was done.
func resend(ctx context.Context, runtime *relay.Runtime, events []chosen, action string, states []queue.State, resent *Resent) error {
	generation := runtime.Generation()
	if generation == nil {
		return relay.ErrNotInService
	}
	now := relay.Now(runtime).UTC()
	var amendments []queue.Amendment
	var amended []*chosen
	for i := range events {
		event := &events[i]
		old := event.repeatable(action, states)
		amendment := queue.Amendment{Event: event.Summary.ID}
		var bound *language.Bound
		if event.Event != nil {
			bound = generation.Language.Bind(event.Event)
		}
		for _, delivery := range old {
			if generation.Action(delivery.Action) != nil {
				again := generation.Delivery(delivery.Action, bound, event.Summary.ID, now)
				again.Of = delivery.ID
				amendment.Deliveries = append(amendment.Deliveries, again)
			}
		}
		if len(amendment.Deliveries) == 0 {
			resent.Unknown += len(old)
			continue
		}
		amendments, amended = append(amendments, amendment), append(amended, event)
	}
	if len(amendments) == 0 {
		return nil
	}
	stored, err := amend(ctx, runtime, amendments)
	for i, amendment := range amendments {
		if !stored[i] {
			continue
		}
		resent.count(generation, amended[i], amended[i].repeatable(action, states))
		for _, delivery := range amendment.Deliveries {
			if len(resent.IDs) < manyAgain {
				resent.IDs = append(resent.IDs, delivery.ID)
			}
		}
	}
	return err
}
