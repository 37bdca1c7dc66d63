package layout

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Entry is what engines store of a queue.Entry, encoded by the caller of Put.
type Entry struct {
	Event    *event.Event
	Kind     Kind // without Actions until EncodePlans
	Received int64
	Tenant   string
	Verdict  string
	Held     []string // rules
	Record   string
	Checksum int64  // of record and body
	Plans    string // the list of its deliveries, empty for none

	// Dedupe says that Key, which stands for the dedupe key, counts for Window
	// microseconds.
	Dedupe bool
	Key    [16]byte
	Window int64
}

// EncodeEntry encodes all of an entry but its deliveries. It appends its texts to a buffer,
// which it returns: Verdict and Record are parts of that, and hold until something else is
// written there.
func EncodeEntry(from *queue.Entry, buffer []byte) (e Entry, _ []byte, err error) {
	stored := from.Event
	if stored == nil {
		return e, buffer, errors.New("an entry has no event")
	}
	if _, err := ParseID(stored.ID); err != nil {
		return e, buffer, fmt.Errorf("the event has the id %w", err)
	}
	if len(from.Deliveries) > MaxDeliveries {
		return e, buffer, fmt.Errorf("event %s has %d deliveries; at most %d can be stored", stored.ID, len(from.Deliveries), MaxDeliveries)
	}
	e.Event, e.Received = stored, Micros(stored.Received)
	e.Kind = Kind{Source: stored.Source, Event: stored.Name, Decision: string(from.Verdict.Decision)}
	e.Tenant, _ = event.Text(stored.Parameters[event.Tenant])
	if buffer, err = e.encodeTexts(&from.Verdict, buffer); err != nil {
		return e, buffer, fmt.Errorf("encoding the verdict on event %s: %w", stored.ID, err)
	}
	e.Held = from.Verdict.Held
	if from.DedupeKey != "" && from.DedupeWindow > 0 {
		sum := sha256.Sum256([]byte(from.DedupeKey))
		e.Dedupe, e.Window = true, from.DedupeWindow.Microseconds()
		copy(e.Key[:], sum[:])
	}
	return e, buffer, nil
}

// encodeTexts sets Verdict, Record and Checksum.
func (e *Entry) encodeTexts(verdict *rules.Verdict, buffer []byte) ([]byte, error) {
	start := len(buffer)
	text, err := appendVerdict(buffer, verdict)
	if err != nil {
		return buffer, err
	}
	record := len(text)
	text = e.Event.AppendRecord(text)
	e.Checksum = Checksum(text[record:], e.Event.RawBody)
	e.Verdict, e.Record = event.StringOf(text[start:record]), event.StringOf(text[record:])
	return text, nil
}

// EncodePlans encodes the list of the deliveries, of which there is at least one.
func (e *Entry) EncodePlans(plans []Plan) {
	actions := make([]byte, 0, 64)
	for i := range plans {
		actions = appendText(append(actions, separator(i, "[")...), plans[i].Action)
	}
	e.Kind.Actions = string(append(actions, ']'))
	e.Plans = EncodePlans(plans)
}

// PlanOf checks a delivery of an event, and returns it as it stands in the list.
func PlanOf(d *queue.Delivery, event string) (Plan, error) {
	if _, err := ParseID(d.ID); err != nil {
		return Plan{}, fmt.Errorf("a delivery of event %s has the id %w", event, err)
	}
	if d.Action == "" {
		return Plan{}, fmt.Errorf("delivery %s of event %s has no action", d.ID, event)
	}
	p := Plan{ID: d.ID, Action: d.Action, Of: d.Of}
	if !d.Due.IsZero() {
		p.Due = DueAt(d.Due)
	}
	if !d.Expires.IsZero() {
		p.Expires = Micros(d.Expires)
	}
	return p, nil
}

// EncodePlans encodes the list of an event's deliveries.
func EncodePlans(plans []Plan) string {
	return string(appendPlans(make([]byte, 0, 128*len(plans)), plans))
}

// ActionsOf returns Kind.Actions of a stored event whose deliveries have changed.
func ActionsOf(plans []Plan) string {
	names := make([]string, len(plans))
	for i := range plans {
		names[i] = plans[i].Action
	}
	return EncodeActions(names)
}

// EncodeActions returns Kind.Actions for actions of which each may be named several
// times.
func EncodeActions(names []string) string {
	var once []string
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	actions, _ := json.Marshal(once) // a list of texts has no error
	return string(actions)
}

// NewlyHeld returns the rules that hold for an event which is decided again, and did
// not hold by its stored verdict. One that cannot be read held no rules.
func NewlyHeld(verdict string, held []string) []string {
	var before struct{ Held []string }
	_ = json.Unmarshal([]byte(verdict), &before)
	return slices.DeleteFunc(slices.Clone(held), func(rule string) bool { return slices.Contains(before.Held, rule) })
}

// EventSize estimates the memory of a decoded event from what is stored of it.
func EventSize(record, body int) int64 { return int64(1024 + 3*(record+body)) }

// ParseID reads the id of an event or a delivery: a UUID in its usual form.
func ParseID(id string) (uuid.UUID, error) {
	parsed, err := uuid.Parse(id)
	if err != nil || len(id) != 36 {
		return parsed, fmt.Errorf("%q, which is not a UUID", id)
	}
	return parsed, nil
}
