package relay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/rules"
)

// The relay's own events. Rules and actions take them like any others, by name
// or by source:name; a glob means them only with the source (relay:*). Their
// bodies are JSON objects, with times in RFC 3339 and lengths of time in
// seconds:
//
//   - delivery_failed: action, target, error, status (absent without an answer),
//     attempts, delivery, event (id, source, name, subject, tenant, received), and count,
//     how many deliveries of the action failed since since: the other members are
//     those of the last one.
//   - target_down: target, action (whose attempt showed it), error, since.
//   - target_up: target, action, since, down_for.
//   - source_quiet: source, since (its last event, or the start of the relay if
//     there is none), silent_for, quiet (what is configured).
const (
	DeliveryFailed = "delivery_failed"
	TargetIsDown   = "target_down"
	TargetIsUp     = "target_up"
	SourceQuiet    = "source_quiet"
)

// ownSource declares the relay's own events to the rules.
func ownSource() rules.Source {
	return rules.Source{Name: names.RelaySource, Own: true, Events: []event.Type{
		{Name: DeliveryFailed, Description: "Deliveries of an action failed for good: the first at once, further ones together, once a minute"},
		{Name: TargetIsDown, Description: "A target cannot be reached or gives no proper answer; its deliveries wait"},
		{Name: TargetIsUp, Description: "A target that was down answers again"},
		{Name: SourceQuiet, Description: "A source was silent for longer than its quiet"},
	}}
}

// OwnEvent makes one of the relay's own events. Its date and time are in the relay's
// zone.
func (g *Generation) OwnEvent(name string, at time.Time, body map[string]any) (*event.Event, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	e := &event.Event{
		ID: event.NewID(), Source: names.RelaySource, Name: name, Received: at,
		Headers: map[string][]string{"Content-Type": {"application/json"}},
		RawBody: raw, BodyIsRaw: true,
	}
	if e.Body, err = event.DecodeJSON(string(raw)); err != nil {
		return nil, err
	}
	e.Subject = event.Line(ownSubject(name, body))
	local := at.In(g.Configuration.Zone)
	e.Parameters[event.Tenant] = ""
	e.Parameters[event.Date] = local.Format(time.DateOnly)
	e.Parameters[event.Time] = local.Format(time.TimeOnly)
	e.Parameters[event.UnixTime] = at.Unix()
	return e, nil
}

// ownSubject tells what one of the relay's own events is about: the action and the
// subject of the event concerned, the target, or the source.
func ownSubject(name string, body map[string]any) string {
	text := func(of map[string]any, key string) string {
		text, _ := of[key].(string)
		return text
	}
	switch name {
	case TargetIsDown, TargetIsUp:
		return text(body, "target")
	case SourceQuiet:
		return text(body, "source")
	}
	about, _ := body["event"].(map[string]any)
	subject := text(body, "action")
	if of := cmp.Or(text(about, "subject"), text(about, "name")); of != "" {
		subject += ": " + of
	}
	if count, _ := body["count"].(int); count > 1 {
		subject += fmt.Sprintf(" (and %d more)", count-1)
	}
	return subject
}

// moment writes a time for people and for expressions, in the relay's zone.
func (g *Generation) moment(at time.Time) string {
	return at.In(g.Configuration.Zone).Format(time.RFC3339)
}

// seconds writes a length of time such that it can be compared.
func seconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }
