package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Explanation says what a configuration does about a request or a stored event,
// and why. Nothing is stored or sent to find out. It is plain data, and shows
// secrets as ***.
type Explanation struct {
	// Outcome is what it comes to.
	Outcome Outcome `json:"outcome"`

	// Status is what a request would be answered, Refused why it would be turned
	// away. Both are empty for a stored event.
	Status  int    `json:"status,omitempty"`
	Refused string `json:"refused,omitempty"`

	// Ping says that the request only tries whether a receiver is there.
	Ping bool `json:"ping,omitempty"`

	// At is the time at which it is evaluated, in the relay's zone, if it is another
	// than now: the events count as received then, and now() is then.
	At time.Time `json:"at,omitzero"`

	// Events are the events of the request, of which there are several in a
	// batch, or the stored event.
	Events []EventExplanation `json:"events"`
}

// Outcome is what an explanation comes to.
type Outcome string

const (
	// OutcomeAction means that at least one request would be sent, and that
	// nothing is wrong.
	OutcomeAction Outcome = "action"
	// OutcomeIgnored means that the event would be stored and nothing sent.
	OutcomeIgnored Outcome = "ignored"
	// OutcomeError means that the request would be refused, that a condition
	// cannot be evaluated, or that a request cannot be made.
	OutcomeError Outcome = "error"
)

// EventExplanation says what the rules decide about one event, and what would be
// sent.
type EventExplanation struct {
	// ID is empty for the event of a request, which would get one when stored.
	ID         string    `json:"id,omitempty"`
	Source     string    `json:"source"`
	Event      string    `json:"event"`
	Subject    string    `json:"subject,omitempty"`
	Received   time.Time `json:"received"`
	Test       bool      `json:"test,omitempty"`
	ParseError string    `json:"parse_error,omitempty"`
	// Notes are as in Detail.
	Notes []string `json:"notes,omitempty"`

	rules.Explanation

	// Requests are those of the verdict's actions, in their order.
	Requests []PlannedRequest `json:"requests,omitempty"`
}

// PlannedRequest is what an action would send.
type PlannedRequest struct {
	Action string `json:"action"`

	// Request is the request as it would be sent, secrets masked and cut when it
	// is long. If it cannot be made, Error says why: it would not be sent.
	Request string `json:"request,omitempty"`
	Error   string `json:"error,omitempty"`

	// Empty names the tags that give nothing. Warning says what else is wrong
	// and does not keep the request from being sent.
	Empty   []string `json:"empty,omitempty"`
	Warning string   `json:"warning,omitempty"`
}

// What stands in planned requests for ids that there are not yet: always the
// same, so that explanations of a request can be compared.
const (
	plannedEvent    = "ID-OF-THE-EVENT"
	plannedDelivery = "ID-OF-THE-DELIVERY"
)

// ExplainRequest says what would be done about a request. If source is not
// empty, the request counts as one of that source, whatever its credentials and
// address. The error is about the call, such as an unknown source; a request
// that would be refused is no error.
func ExplainRequest(g *relay.Generation, request *http.Request, origin receive.Origin, source string) (Explanation, error) {
	var received *receive.Received
	var err error
	if source == "" {
		received, err = g.Receiver.Receive(request, origin)
	} else {
		if err := g.CheckSource(source); err != nil {
			return Explanation{}, err
		}
		received, err = g.Receiver.ReceiveAs(source, request, origin)
	}
	if refusal := (*receive.Refusal)(nil); errors.As(err, &refusal) {
		return Explanation{Outcome: OutcomeError, Status: refusal.Status, Refused: refusal.Reason, Events: []EventExplanation{}}, nil
	}
	if err != nil {
		return Explanation{}, err
	}
	if received.Ping {
		return Explanation{Outcome: OutcomeIgnored, Status: http.StatusOK, Ping: true, Events: []EventExplanation{}}, nil
	}
	for _, event := range received.Events {
		event.ID = plannedEvent
	}
	explanation := explain(g, received.Events)
	for i := range explanation.Events {
		explanation.Events[i].ID = ""
	}
	explanation.Status = received.Respond
	return explanation, nil
}

func explain(g *relay.Generation, events []*event.Event) Explanation {
	explanation := Explanation{Outcome: OutcomeIgnored, Events: make([]EventExplanation, len(events))}
	if at := g.Configuration.At; !at.IsZero() {
		explanation.At = at.In(g.Configuration.Zone)
	}
	for i, event := range events {
		explained := explainEvent(g, placed(g, event))
		explanation.Events[i] = explained
		failed := slices.ContainsFunc(explained.Requests, func(r PlannedRequest) bool { return r.Error != "" })
		switch {
		case explained.Verdict.Decision == rules.RuleError, failed:
			explanation.Outcome = OutcomeError
		case explained.Verdict.Decision == rules.Act && explanation.Outcome == OutcomeIgnored:
			explanation.Outcome = OutcomeAction
		}
	}
	return explanation
}

func explainEvent(g *relay.Generation, event *event.Event) EventExplanation {
	explained := EventExplanation{
		ID: event.ID, Source: event.Source, Event: event.Name, Subject: event.Subject, Received: event.Received,
		Test: event.Test, ParseError: event.ParseError, Notes: event.Notes(),
		Explanation: g.Ruleset.Explain(g.Language.Bind(event)),
	}
	if g.Configuration.Disabled {
		explained.Verdict = rules.Verdict{Decision: rules.Disabled, Reason: relay.OffByConfiguration}
	}
	for _, call := range explained.Verdict.Actions {
		explained.Requests = append(explained.Requests, plan(g, call.Action, event))
	}
	return explained
}

// placed returns the event as if it had been received at the time of the generation,
// if that has one. Its own date and time stay; those that it has of its receipt go
// along.
func placed(g *relay.Generation, e *event.Event) *event.Event {
	at := g.Configuration.At
	if at.IsZero() || at.Equal(e.Received) {
		return e
	}
	zone := g.ZoneOf(e.Source)
	timesOf := func(at time.Time) map[event.Parameter]any {
		local := at.In(zone)
		return map[event.Parameter]any{
			event.Date: local.Format(time.DateOnly), event.Time: local.Format(time.TimeOnly), event.UnixTime: at.Unix(),
		}
	}
	moved, ofReceipt := *e, true
	for parameter, value := range timesOf(e.Received) {
		ofReceipt = ofReceipt && e.Parameters[parameter] == value
	}
	if ofReceipt {
		for parameter, value := range timesOf(at) {
			moved.Parameters[parameter] = value
		}
	}
	moved.Received = at
	return &moved
}

// plan renders the request of an action.
func plan(g *relay.Generation, action string, event *event.Event) PlannedRequest {
	planned := PlannedRequest{Action: action}
	prepared := g.Action(action)
	if _, _, err := prepared.Schedule(g.Language.Bind(event), event.Received); err != nil {
		planned.Warning = err.Error()
	}
	rendered, err := prepared.Render(event, plannedDelivery)
	if err != nil {
		planned.Error = err.Error()
		return planned
	}
	planned.Request, planned.Empty = rendered.String(), rendered.Empty()
	return planned
}

// Explain says what the newest generation does about a stored event, by its id
// or the id of one of its deliveries, or a beginning of either. If at is not zero,
// it says what it would do if the event were received at that time. It wraps
// queue.ErrNotFound.
func Explain(ctx context.Context, runtime *relay.Runtime, id string, at time.Time) (Explanation, error) {
	e, err := find(ctx, runtime, id)
	if err != nil {
		return Explanation{}, err
	}
	generation := runtime.Generation()
	if generation == nil {
		return Explanation{}, fmt.Errorf("explaining an event: %w", relay.ErrNotInService)
	}
	if !at.IsZero() {
		if generation, err = generation.At(at); err != nil {
			return Explanation{}, fmt.Errorf("explaining an event at another time: %w", err)
		}
	}
	return explain(generation, []*event.Event{e}), nil
}

func find(ctx context.Context, runtime *relay.Runtime, id string) (*event.Event, error) {
	e, _, err := findOf(ctx, runtime, id)
	return e, err
}

// findOf returns a stored event and the node that received it.
func findOf(ctx context.Context, runtime *relay.Runtime, id string) (e *event.Event, node string, err error) {
	history, err := runtime.Store().Find(ctx, id)
	if err != nil {
		return nil, "", err
	}
	if history.Event == nil {
		return nil, "", fmt.Errorf("reading event %s: its request is no longer stored: %w", id, queue.ErrNotFound)
	}
	return history.Event, history.Summary.Node, nil
}

// StoredEvent is an event as it is stored, to be carried to another process
// without loss.
type StoredEvent struct {
	ID       string    `json:"id"`
	Source   string    `json:"source"`
	Event    string    `json:"event"`
	Subject  string    `json:"subject,omitempty"`
	Received time.Time `json:"received"`
	// Record is what event.Event's Record returns.
	Record  json.RawMessage `json:"record"`
	RawBody []byte          `json:"raw_body,omitempty"`
}

// Stored returns an event as it is stored. See Explain for the id.
func Stored(ctx context.Context, runtime *relay.Runtime, id string) (StoredEvent, error) {
	event, err := find(ctx, runtime, id)
	if err != nil {
		return StoredEvent{}, err
	}
	return StoredEvent{
		ID: event.ID, Source: event.Source, Event: event.Name, Subject: event.Subject, Received: event.Received,
		Record: event.Record(), RawBody: event.RawBody,
	}, nil
}

// ExplainStored says what would be done about an event that is stored elsewhere.
// Its parameters and fields are those that were read when it came.
func ExplainStored(g *relay.Generation, stored StoredEvent) (Explanation, error) {
	e, err := event.DecodeRecord(stored.Record, stored.RawBody)
	if err != nil {
		return Explanation{}, err
	}
	e.ID, e.Source, e.Name, e.Subject, e.Received = stored.ID, stored.Source, stored.Event, stored.Subject, stored.Received
	return explain(g, []*event.Event{e}), nil
}
