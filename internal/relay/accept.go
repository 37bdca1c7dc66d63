package relay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Accept decides what a generation's rules want done about received events and
// stores both as one unit. When it returns without error, the events are on
// stable storage. Its errors are those of queue.Queue's Put.
func (r *Runtime) Accept(ctx context.Context, generation *Generation, received *receive.Received) error {
	_, err := r.accept(ctx, generation, received)
	return err
}

// accept does what Accept does, and returns what became of each event.
func (r *Runtime) accept(ctx context.Context, generation *Generation, received *receive.Received) ([]queue.Receipt, error) {
	if !r.entered.Load() {
		return nil, fmt.Errorf("storing events: %w", r.Unavailable())
	}
	one := singles.Get().(*[1]queue.Entry)
	defer func() {
		*one = [1]queue.Entry{}
		singles.Put(one)
	}()
	entries := one[:]
	if len(received.Events) != 1 {
		entries = make([]queue.Entry, len(received.Events))
	}
	off, ahead := r.off.Load(), r.ahead()
	for i, event := range received.Events {
		reason := off.reason(event, generation.Configuration.Zone)
		if generation.Configuration.Disabled {
			reason = OffByConfiguration
		}
		if reason != "" {
			// Nothing is done about the event, so one that repeats it later is no
			// duplicate of anything that was done.
			entries[i] = queue.Entry{Event: event, Verdict: rules.Verdict{Decision: rules.Disabled, Reason: reason}}
			continue
		}
		entries[i] = generation.decide(event, ahead)
		if received.DedupeKeys != nil {
			entries[i].DedupeKey = received.DedupeKeys[i]
			entries[i].DedupeWindow = received.DedupeWindow
		}
	}
	receipts, err := r.engine.Put(ctx, entries)
	if err == nil {
		r.metrics.accepted(received.Source, entries, receipts)
	}
	return receipts, err
}

// singles are lists of one entry, as nearly all requests need: the queue does not keep
// the list.
var singles = sync.Pool{New: func() any { return new([1]queue.Entry) }}

// OffByConfiguration is the reason of verdicts while the configuration has the
// relay switched off.
const OffByConfiguration = "the relay was switched off (active off)"

// decide returns what the rules want done about an event that was received by a clock
// which is ahead of that of the storage.
func (g *Generation) decide(event *event.Event, ahead time.Duration) queue.Entry {
	entry := queue.Entry{Event: event}
	bound := g.Language.Bind(event)
	entry.Verdict = g.Ruleset.Decide(bound)
	if len(entry.Verdict.Actions) == 0 {
		return entry
	}
	entry.Deliveries = make([]queue.Delivery, len(entry.Verdict.Actions))
	for i, call := range entry.Verdict.Actions {
		entry.Deliveries[i] = g.Delivery(call.Action, bound, event.ID, event.Received.Add(-ahead))
	}
	return entry
}

// Delivery makes a delivery of a configured action for an event, which expires
// counted from since, by the clock of the storage. Without bound, for an event that
// cannot be read, it has no order key and does not expire.
func (g *Generation) Delivery(action string, bound *language.Bound, eventID string, since time.Time) queue.Delivery {
	delivery := queue.Delivery{ID: event.NewID(), Action: action}
	if bound == nil {
		return delivery
	}
	var err error
	if delivery.OrderKey, delivery.Expires, err = g.Action(action).Schedule(bound, since); err != nil {
		g.logger.Debug("order_by failed; the delivery goes in any order", zap.String("event", eventID), zap.Error(err))
	}
	return delivery
}
