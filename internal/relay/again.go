package relay

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Selection chooses events or deliveries to do something with again.
type Selection struct {
	// IDs are of events or deliveries, or their beginnings. If there are any,
	// Filter does not count.
	IDs []string
	// Filter chooses all that it passes. One that is empty chooses everything.
	Filter queue.Filter
}

// Progress is how far a long call is. Total is 0 while it is not known.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total,omitempty"`
}

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
// linked to the old one. An event's id chooses all its deliveries that have
// ended, a delivery's id that one. A filter without a state chooses those that
// failed, expired or were cancelled. Unfinished ones are never chosen. With dry
// it only counts. What it did before an error stays done.
func (r *Runtime) Resend(ctx context.Context, selection Selection, dry bool, progress func(Progress)) (Resent, error) {
	return Resent{}, errNotBuilt
}

// DecideOptions say how to decide again.
type DecideOptions struct {
	// Configuration is what decides, as the JSON of the relay's app. Nil means
	// the running one.
	Configuration json.RawMessage
	// Dry only lists the difference.
	Dry bool
}

// Decided is the difference that deciding again makes.
type Decided struct {
	// Events is how many were decided, Changed for how many of them the verdict
	// or the actions differ.
	Events  int `json:"events"`
	Changed int `json:"changed"`
	// Fires and Stops count, by action, what is asked for now and was not, and
	// the other way round.
	Fires map[string]int `json:"fires"`
	Stops map[string]int `json:"stops"`
	// Differences are the first thousand that changed.
	Differences []Difference `json:"differences"`
}

// Difference is how the verdict on one event changes.
type Difference struct {
	ID       string         `json:"id"`
	Source   string         `json:"source"`
	Event    string         `json:"event"`
	Received time.Time      `json:"received"`
	Before   rules.Decision `json:"before"`
	After    rules.Decision `json:"after"`
	Reason   string         `json:"reason"`
	Rule     string         `json:"rule,omitempty"`
	Fires    []string       `json:"fires,omitempty"`
	Stops    []string       `json:"stops,omitempty"`
}

// Decide decides stored events again. Unless it is dry, the events get the new
// verdicts, and deliveries of those actions that fire now and have none yet;
// what would not fire any more is listed and otherwise left alone. Events that
// repeat another are left out. What it did before an error stays done.
func (r *Runtime) Decide(ctx context.Context, selection Selection, options DecideOptions, progress func(Progress)) (Decided, error) {
	return Decided{}, errNotBuilt
}
