package queue

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/rules"
)

// Activity is the history: events, verdicts, deliveries, attempts. It may lag
// behind the Queue that feeds it, but it is fed complete facts.
//
// JetStream: a stream that each node which shows activity reads into a local
// SQLite database, so that reading is the same code.
type Activity interface {
	// Page returns up to n events, newest first, that pass the filter and are
	// older than the cursor. An empty cursor begins with the newest. A page may
	// hold fewer events than n, even none, and still have a Next: an engine may
	// end a search that takes long, and go on with the next page.
	Page(ctx context.Context, filter Filter, after Cursor, n int) (Page, error)

	// Find returns one event with its deliveries and their attempts, by the id
	// of the event or of one of its deliveries, or ErrNotFound. A beginning of
	// at least 8 characters that is unique will do for an id.
	Find(ctx context.Context, id string) (History, error)

	// Backlog returns, for each action that has unfinished deliveries, how many
	// there are and since when the oldest has been waiting; also for actions
	// that are no longer configured.
	Backlog(ctx context.Context) ([]Backlog, error)

	// Prune removes events that were received before a time and then, oldest
	// first, as many as it takes to bring storage down to a size in bytes (0:
	// any size), and returns how many. It never removes an event that has an
	// unfinished delivery, and gives way to Put.
	Prune(ctx context.Context, before time.Time, size int64) (int, error)
}

// Filter chooses events. Zero fields choose all.
type Filter struct {
	// Since and Until bound the time of receipt: since ≤ received < until.
	Since, Until time.Time
	Source       string
	Event        string
	Decision     rules.Decision
	// Action and State choose events that have a delivery of that action, in
	// that state (the same delivery, if both are given).
	Action string
	State  State
}

// Cursor is a place in the list of events, as Page returned it.
type Cursor string

// Page is a part of the list of events.
type Page struct {
	Events []Summary
	// Next is the cursor of the following page, empty at the end.
	Next Cursor
}

// Summary is one event in a list.
type Summary struct {
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Event       string          `json:"event"`
	Received    time.Time       `json:"received"`
	Test        bool            `json:"test,omitempty"`
	Tenant      string          `json:"tenant,omitempty"`
	Verdict     rules.Verdict   `json:"verdict"`
	ParseError  string          `json:"parse_error,omitempty"`
	DuplicateOf string          `json:"duplicate_of,omitempty"`
	Deliveries  []DeliveryState `json:"deliveries,omitempty"`
}

// DeliveryState is one delivery as the activity knows it.
type DeliveryState struct {
	ID       string `json:"id"`
	Action   string `json:"action"`
	State    State  `json:"state"`
	Attempts int    `json:"attempts"`
	// Due is when a pending delivery is tried next, Ended when it reached its
	// end.
	Due   time.Time `json:"due,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
	// Status and Error are those of the last attempt.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// History is all that is known of one event.
type History struct {
	Summary Summary
	// Event is the event as it was stored, nil when that cannot be read.
	Event *rules.Event
	// Attempts holds the attempts of each delivery, by the delivery's id,
	// oldest first.
	Attempts map[string][]Attempt
}

// Backlog is what waits for one action.
type Backlog struct {
	Action string    `json:"action"`
	Count  int       `json:"count"`
	Oldest time.Time `json:"oldest"`
	Paused bool      `json:"paused,omitempty"`
}
