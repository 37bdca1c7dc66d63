package layout

import (
	"encoding/json"
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Kind is what many events have in common: a row of a table of kinds.
type Kind struct{ Source, Event, Decision, Actions string }

// DecodeEvent makes an event of what is stored of it. It returns ErrChecksum if that
// is damaged.
func DecodeEvent(record, body []byte, sum int64, uuid, source, name, subject string, received int64) (*event.Event, error) {
	if err := VerifyChecksum(sum, record, body); err != nil {
		return nil, err
	}
	event, err := event.DecodeRecord(record, body)
	if err != nil {
		return nil, fmt.Errorf("decoding the record: %w", err)
	}
	event.ID, event.Source, event.Name, event.Subject, event.Received = uuid, source, name, subject, FromMicros(received)
	return event, nil
}

// Plan is a delivery as it stands in the list of its event, with times in
// microseconds: what never changes of it.
type Plan struct {
	ID      string `json:"id"`
	Action  string `json:"action"`
	Due     int64  `json:"due,omitempty"`
	Expires int64  `json:"expires,omitempty"`
	Of      string `json:"of,omitempty"`    // id of the delivery that it repeats
	Added   int64  `json:"added,omitempty"` // when it was added to the stored event, 0: it was stored with it
}

// DecodePlans decodes the list of deliveries of an event, which is nil for none.
func DecodePlans(list []byte) (plans []Plan, err error) {
	if list == nil {
		return nil, nil
	}
	if err := json.Unmarshal(list, &plans); err != nil {
		return nil, fmt.Errorf("decoding the list of deliveries: %w", err)
	}
	return plans, nil
}

// StoredDelivery returns the delivery at a place of the list of its event.
func StoredDelivery(list []byte, place int) (Plan, error) {
	plans, err := DecodePlans(list)
	if err != nil {
		return Plan{}, err
	}
	if place >= len(plans) {
		return Plan{}, fmt.Errorf("decoding the list of deliveries: it has %d and not %d", len(plans), place+1)
	}
	return plans[place], nil
}

// DecodeVerdict decodes a stored verdict. One that cannot be read must not hide the
// other events: it becomes a verdict that says so.
func DecodeVerdict(stored []byte, decision string) (v rules.Verdict) {
	if err := json.Unmarshal(stored, &v); err != nil {
		v = rules.Verdict{Decision: rules.Decision(decision), Reason: fmt.Sprintf("the stored verdict cannot be read: %v", err)}
	}
	return v
}
