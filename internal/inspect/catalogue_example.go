package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// ExampleRequest is what an action would send.
type ExampleRequest struct {
	PlannedRequest
	// EventID is the stored event that it was rendered for, empty for one that
	// was made up.
	EventID string `json:"event_id,omitempty"`
}

// mostExampleEvents bounds for how many names of events a stored one is looked
// for.
const mostExampleEvents = 50

// Example renders the request of an action for an event: the newest stored one
// that the action was carried out for, or else any of a name whose rules ask for
// it, or else one that is made up. Nothing is sent. It wraps queue.ErrNotFound.
func Example(ctx context.Context, runtime *relay.Runtime, action string) (ExampleRequest, error) {
	generation := runtime.Generation()
	if generation == nil {
		return ExampleRequest{}, relay.ErrNotInService
	}
	if generation.Action(action) == nil {
		return ExampleRequest{}, fmt.Errorf("rendering an example of action %s: %w", action, noAction(generation, action))
	}
	asking := eventsAsking(generation, action)
	filters := []queue.Filter{{Action: action}}
	for _, event := range asking[:min(len(asking), mostExampleEvents)] {
		filters = append(filters, queue.Filter{Source: event.Source, Event: event.Event})
	}
	for _, filter := range filters {
		stored, err := runtime.Store().Events(ctx, filter, queue.NewestFirst, "", 5)
		if err != nil {
			return ExampleRequest{}, fmt.Errorf("finding an event for an example of action %s: %w", action, err)
		}
		for _, s := range stored.Events {
			if s.Event != nil {
				return ExampleRequest{PlannedRequest: plan(generation, action, s.Event), EventID: s.Event.ID}, nil
			}
		}
	}
	about := rules.EventRules{Source: "source", Event: "event"}
	if len(asking) > 0 {
		about = asking[0]
	}
	planned := plan(generation, action, madeUp(generation, action, about, func(name string) any { return strings.ToUpper(name) }))
	if planned.Error != "" {
		// It may calculate with what it takes to be numbers.
		numbers := plan(generation, action, madeUp(generation, action, about, func(string) any { return int64(1) }))
		if numbers.Error == "" {
			planned = numbers
		}
	}
	if mail := generation.Action(action).Action().Mail; mail != nil && planned.Error != "" {
		// It may take what it has for addresses.
		domain := "domain.example"
		if len(mail.Recipients) > 0 {
			domain = mail.Recipients[0]
		}
		addresses := plan(generation, action, madeUp(generation, action, about, func(name string) any { return strings.ToLower(name) + "@" + domain }))
		if addresses.Error == "" {
			planned = addresses
		}
	}
	return ExampleRequest{PlannedRequest: planned}, nil
}

// eventsAsking returns the events for which an active rule asks for an action.
func eventsAsking(g *relay.Generation, action string) (asking []rules.EventRules) {
	written := g.Ruleset.Rules()
	for _, event := range g.Ruleset.ByEvent() {
		if slices.ContainsFunc(event.Rules, func(i int) bool { return !written[i].Disabled && slices.Contains(written[i].Do, action) }) {
			asking = append(asking, event)
		}
	}
	return asking
}

// madeUp returns an event that has all that an action refers to. Of gives the
// values, by name.
func madeUp(g *relay.Generation, action string, about rules.EventRules, of func(name string) any) *event.Event {
	now := time.Now()
	e := &event.Event{
		ID: plannedEvent, Source: about.Source, Name: about.Event, Received: now, Method: "POST",
		Query: map[string][]string{}, Headers: map[string][]string{"Content-Type": {"application/json"}}, Fields: map[string]any{},
	}
	e.Parameters[event.Tenant] = ""
	e.Parameters[event.Date], e.Parameters[event.Time] = now.Format(time.DateOnly), now.Format(time.TimeOnly)
	e.Parameters[event.UnixTime] = now.Unix()
	var body any = map[string]any{}
	for _, expression := range g.Action(action).Expressions() {
		for _, reference := range g.Language.References(expression.String()) {
			first := reference.Name
			if len(reference.Steps) > 0 {
				if name, ok := reference.Steps[0].(string); ok {
					first = name
				}
			}
			switch parameter, isParameter := event.ParameterByName(reference.Name); {
			case reference.Name == "body":
				body = putAt(body, reference.Steps, of)
			case reference.Name == "query" && len(reference.Steps) > 0:
				e.Query[first] = []string{strings.ToUpper(first)}
			case reference.Name == "headers" && len(reference.Steps) > 0:
				e.Headers[first] = []string{strings.ToUpper(first)}
			case isParameter && parameter.Numeric() && e.Parameters[parameter] == nil:
				e.Parameters[parameter] = int64(1)
			case isParameter && e.Parameters[parameter] == nil:
				e.Parameters[parameter] = strings.ToUpper(reference.Name)
			case slices.Contains(g.Language.Fields(), reference.Name):
				e.Fields[reference.Name] = putAt(e.Fields[reference.Name], reference.Steps, func(name string) any {
					if name == "" {
						name = reference.Name
					}
					return of(name)
				})
			}
		}
	}
	// Going through JSON gives the body the types that an event's body has.
	if raw, err := json.Marshal(body); err == nil {
		e.RawBody, e.BodyIsRaw = raw, true
		e.Body, _ = event.DecodeJSON(string(raw))
	}
	return e
}

// longestMadeUp bounds the lists of an event that is made up.
const longestMadeUp = 20

// putAt puts a value into another at the place where steps lead.
func putAt(into any, steps []any, of func(name string) any) any {
	if len(steps) == 0 {
		if into != nil {
			return into
		}
		return of("")
	}
	switch step := steps[0].(type) {
	case string:
		object, isObject := into.(map[string]any)
		if !isObject {
			object = map[string]any{}
		}
		if len(steps) == 1 {
			if object[step] == nil {
				object[step] = of(step)
			}
			return object
		}
		object[step] = putAt(object[step], steps[1:], of)
		return object
	case int64:
		list, _ := into.([]any)
		at := int(min(max(step, 0), longestMadeUp))
		for len(list) <= at {
			list = append(list, nil)
		}
		for i := range list {
			if list[i] == nil || i == at {
				list[i] = putAt(list[i], steps[1:], of)
			}
		}
		return list
	}
	return into
}
