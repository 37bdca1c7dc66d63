package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

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
	// Unknown counts deliveries that were left out because their action is not
	// configured any more.
	Unknown int `json:"unknown,omitempty"`
	// IDs are the new deliveries, the first thousand.
	IDs []string `json:"ids,omitempty"`
}

// Resend sends deliveries again: each as a new delivery with a key of its own,
// linked to the old one, and as old as if its event had just come. An event's id
// chooses all its deliveries that have ended, a delivery's id that one. A filter
// without a state chooses those that failed, expired or were cancelled.
// Unfinished ones are never chosen, and those that were sent again before only
// by their own id: what became of them is the later one's affair. With dry it
// only counts. Progress is told in deliveries; it may be nil. What was done
// before an error stays done, and is what Resent says.
func Resend(ctx context.Context, runtime *relay.Runtime, selection Selection, dry bool, progress func(Progress)) (Resent, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	resent := Resent{Actions: map[string]int{}}
	states := []queue.State{queue.Failed, queue.Expired, queue.Cancelled}
	switch given := selection.Filter.States; {
	case len(selection.IDs) > 0:
		states = []queue.State{queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled}
	case slices.Contains(given, queue.Pending):
		return resent, relay.Wrong("state", "deliveries that are %s are not sent again: they are not over", queue.Pending)
	case len(given) > 0:
		states = given
	}
	filter := selection.Filter
	filter.States = states
	action := filter.Action
	if len(selection.IDs) > 0 {
		action = ""
	}
	total := 0
	selected, err := lookThrough(ctx, runtime, selection.IDs, filter, func(event *chosen) {
		total += len(event.repeatable(action, states))
	}, progress)
	if err != nil {
		return resent, fmt.Errorf("sending again: %w", err)
	}
	done := 0
	progress(Progress{Total: total})
	err = selected.walk(ctx, func(ctx context.Context, events []chosen) error {
		for _, event := range events {
			done += len(event.repeatable(action, states))
		}
		return resend(ctx, runtime, events, action, states, dry, &resent)
	}, func() { progress(Progress{Done: done, Total: max(done, total)}) })
	if err != nil {
		return resent, fmt.Errorf("sending again, after %d deliveries: %w", resent.Deliveries, err)
	}
	return resent, nil
}

// repeatable returns the chosen deliveries of an event that are in one of the
// states, none of them unfinished: of one action, or of any if it is empty.
func (c *chosen) repeatable(action string, states []queue.State) (deliveries []queue.DeliveryState) {
	for _, delivery := range c.Summary.Deliveries {
		again := slices.ContainsFunc(c.Summary.Deliveries, func(d queue.DeliveryState) bool { return d.Of == delivery.ID })
		if slices.Contains(states, delivery.State) && (action == "" || action == delivery.Action) &&
			(c.whole && !again || slices.Contains(c.deliveries, delivery.ID)) {
			deliveries = append(deliveries, delivery)
		}
	}
	return deliveries
}

// resend sends the chosen deliveries of some events again and adds them to what
// was done.
func resend(ctx context.Context, runtime *relay.Runtime, events []chosen, action string, states []queue.State, dry bool, resent *Resent) error {
	generation := runtime.Generation()
	if generation == nil {
		return relay.ErrNotInService
	}
	now := time.Now().UTC()
	var amendments []queue.Amendment
	for i := range events {
		event := &events[i]
		amendment := queue.Amendment{Event: event.Summary.ID}
		for _, old := range event.repeatable(action, states) {
			if generation.Action(old.Action) == nil {
				resent.Unknown++
				continue
			}
			var bound *language.Bound
			if event.Event != nil {
				bound = generation.Language.Bind(event.Event)
			}
			delivery := generation.Delivery(old.Action, bound, event.Summary.ID, now)
			delivery.Of = old.ID
			amendment.Deliveries = append(amendment.Deliveries, delivery)
		}
		if len(amendment.Deliveries) > 0 {
			amendments = append(amendments, amendment)
		}
	}
	if len(amendments) == 0 {
		return nil
	}
	var stored []bool
	var err error
	if !dry {
		stored, err = amend(ctx, runtime, amendments)
	}
	for i, amendment := range amendments {
		if !dry && !stored[i] {
			continue
		}
		resent.Events++
		resent.Deliveries += len(amendment.Deliveries)
		for _, delivery := range amendment.Deliveries {
			resent.Actions[delivery.Action]++
			if !dry && len(resent.IDs) < manyAgain {
				resent.IDs = append(resent.IDs, delivery.ID)
			}
		}
	}
	return err
}
