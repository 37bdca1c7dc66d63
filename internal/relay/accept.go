package relay

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Receive turns a request into events, as this generation's sources say. Its
// errors are *receive.Refusal where an answer is to be given.
func (g *Generation) Receive(request *http.Request, origin receive.Origin) (*receive.Received, error) {
	return g.receiver.Receive(request, origin)
}

// Accept decides what a generation's rules want done about received events and
// stores both as one unit. When it returns without error, the events are on
// stable storage. Its errors are those of queue.Queue's Put.
func (r *Runtime) Accept(ctx context.Context, generation *Generation, received *receive.Received) error {
	entries := make([]queue.Entry, len(received.Events))
	for i, event := range received.Events {
		entries[i] = generation.decide(event)
		// While the relay is off nothing is done about an event, so one that
		// repeats it later is no duplicate of anything that was done.
		if received.DedupeKeys != nil && !generation.off {
			entries[i].DedupeKey = received.DedupeKeys[i]
			entries[i].DedupeWindow = received.DedupeWindow
		}
	}
	receipts, err := r.engine.Put(ctx, entries)
	if err == nil {
		r.counts.accepted(entries, receipts)
	}
	return err
}

func (g *Generation) decide(event *rules.Event) queue.Entry {
	entry := queue.Entry{Event: event}
	if g.off {
		entry.Verdict = rules.Verdict{Decision: rules.Disabled, Reason: "the relay was switched off (active off)"}
		return entry
	}
	bound := g.language.Bind(event)
	entry.Verdict = g.ruleset.Decide(bound)
	if len(entry.Verdict.Actions) == 0 {
		return entry
	}
	entry.Deliveries = make([]queue.Delivery, len(entry.Verdict.Actions))
	for i, call := range entry.Verdict.Actions {
		delivery := &entry.Deliveries[i]
		delivery.ID, delivery.Action = newID(), call.Action
		var err error
		if delivery.OrderKey, delivery.Expires, err = g.byName[call.Action].Schedule(bound, event.Received); err != nil {
			g.logger.Debug("order_by failed; the delivery goes in any order", zap.String("event", event.ID), zap.Error(err))
		}
	}
	return entry
}

// newID returns a UUID of version 7. It panics only when the system has no
// randomness, and then nothing else works either.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
