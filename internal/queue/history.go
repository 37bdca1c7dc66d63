package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules"
)

// History is what became of events: verdicts, deliveries, attempts. It may lag
// behind the Queue that feeds it, but it is fed complete facts. All methods may
// be called by many goroutines at once. What they return belongs to the caller.
//
// Besides the errors that are named, ErrUnavailable and ErrClosed mean what they
// mean in Queue. A context that ends gives an error that wraps its own.
type History interface {
	// Page returns up to n events that pass the filter, in an order, and come
	// after the cursor, which must be of a page with the same filter and order.
	// An empty cursor begins at the end that the order names. Events are in the
	// order in which they were stored. A page may hold fewer events than n, even
	// none, and still have a Next: an engine may end a search that takes long, and
	// go on with the next page. It wraps ErrCursor.
	Page(ctx context.Context, filter Filter, order Order, after Cursor, n int) (Page, error)

	// Events returns up to n events as Page does, with what the rules see of
	// them, so that they can be decided again. Large bodies make it fewer.
	Events(ctx context.Context, filter Filter, order Order, after Cursor, n int) (Events, error)

	// Summaries returns the events that have these full ids, as far as there
	// are any, in any order. At most 1000 ids are looked for at once.
	Summaries(ctx context.Context, ids []string) ([]Summary, error)

	// Find returns one event with its deliveries and their attempts, by the id
	// of the event or of one of its deliveries, or ErrNotFound. A beginning of
	// at least 8 characters that is unique will do for an id.
	Find(ctx context.Context, id string) (Detail, error)

	// Watch tells of what was changed by any process that has the storage open,
	// once that can be read, until ctx ends or the queue closes; then the channel
	// is closed. A reader that is slow loses changes and is told so: nothing waits
	// for it, and nothing is kept for it beyond a bound.
	Watch(ctx context.Context) <-chan Changes

	// Backlog returns, for each action that has unfinished deliveries, how many
	// there are and since when the oldest has been waiting; also for actions
	// that are no longer configured.
	Backlog(ctx context.Context) ([]Backlog, error)

	// Series counts what happened from since to until in about n steps of equal
	// length, at least a minute each. It knows of events that are no longer
	// kept, and takes no longer the more events there were.
	Series(ctx context.Context, since, until time.Time, n int) (Series, error)

	// Sample notes the backlog as it is now for Series. Each process that has the
	// storage open calls it once a minute; what it notes counts once.
	Sample(ctx context.Context) error

	// Exist says which events, rules and actions the configuration has that is in
	// force from now on, in the whole place of those that it said before; durable
	// on return. Each exists since it was named first.
	Exist(ctx context.Context, things []Thing) error

	// Uses returns everything that Exist named, with how often it was used and
	// when first and last, in any order. An event is used when one of its name is
	// stored, a rule when it held for an event (Verdict.Held), and an action when a
	// delivery of it is made. A verdict that Amend gives counts for the rules that
	// did not hold in the verdict before it. Tests, duplicates and what is done
	// about them do not count. What happened before Exist named a thing need not
	// count: nothing is kept for names that senders invent.
	//
	// What Put, Amend and Settle put on stable storage counts exactly once, also if
	// the process ends without Close. Nothing lowers a count: when events are
	// removed, or deliveries are cancelled or moved, it stays. Prune forgets
	// events and rules that did not exist since the time which it is given.
	Uses(ctx context.Context) ([]Use, error)

	// Prune removes events that were received before a time and then, oldest
	// first, as many as it takes to bring storage down to a size in bytes (0:
	// any size), and returns how many. It never removes an event that has an
	// unfinished delivery, and gives way to Put. Each process that has the storage
	// open calls it once a minute; calls at once do not disturb each other.
	Prune(ctx context.Context, before time.Time, size int64) (int, error)

	// Switches returns what is switched off.
	Switches(ctx context.Context) ([]Switch, error)

	// Note keeps a fact about the relay itself, durable on return. If the note
	// says so, it takes the place of the earlier ones of its kind and name, as one
	// unit. ErrFull means that it was not kept, and that those stay.
	Note(ctx context.Context, note Note) error

	// Notes returns up to n notes of a kind (empty: of all), newest first, made
	// in since ≤ at < until (zero: any time). Their Text is left out unless
	// whole is set.
	Notes(ctx context.Context, kind NoteKind, since, until time.Time, n int, whole bool) ([]Note, error)

	// FindNote returns the newest note of a kind that has a name, with its Text,
	// or ErrNotFound.
	FindNote(ctx context.Context, kind NoteKind, name string) (Note, error)
}

// Order is an order of events.
type Order int

// Events are listed newest first for people, and oldest first where what is done
// with them must keep the order in which they were received.
const (
	NewestFirst Order = iota
	OldestFirst
)

// Filter chooses events. Zero fields choose all.
type Filter struct {
	// Since and Until bound the time of receipt: since ≤ received < until.
	Since, Until time.Time
	Source       string
	Event        string
	Decision     rules.Decision
	// Action and States choose events that have a delivery of that action, in one
	// of these states (the same delivery, if both are given). Mended chooses those
	// that are mended, and Failed, Expired and Cancelled those that are not. However
	// many are mended, a page of those that are not takes no longer.
	Action string
	States []State
	// Tenant is the code of a tenant.
	Tenant string
	// Text stands, in whatever case, somewhere in the event as it was stored, in
	// its id or subject, in the reason of its verdict, or in an error or answer of one of
	// its attempts. Looking for it reads the events themselves, so that a page
	// soon ends early and says so.
	Text string
}

// Passes reports whether the filter chooses an event, as far as its summary
// tells: whatever Text asks for counts as passed.
func (f *Filter) Passes(s *Summary) bool {
	if !f.Since.IsZero() && s.Received.Before(f.Since) || !f.Until.IsZero() && !s.Received.Before(f.Until) ||
		f.Source != "" && f.Source != s.Source || f.Event != "" && f.Event != s.Event || f.Tenant != "" && f.Tenant != s.Tenant ||
		f.Decision != "" && f.Decision != s.Verdict.Decision {
		return false
	}
	return f.Action == "" && len(f.States) == 0 || slices.ContainsFunc(s.Deliveries, f.PassesDelivery)
}

// PassesDelivery reports whether the filter chooses a delivery of an event that
// it passes.
func (f *Filter) PassesDelivery(d DeliveryState) bool {
	return (f.Action == "" || f.Action == d.Action) && (len(f.States) == 0 || slices.Contains(f.States, d.Standing()))
}

// Cursor is a place in the list of events, as Page returned it.
type Cursor string

// Page is a part of the list of events.
type Page struct {
	Events []Summary
	// Next is the cursor of the following page, empty at the end.
	Next Cursor
	// Early says that the page ended because the search took long, and Reached
	// the time of receipt up to which, in the order, it looked.
	Early   bool
	Reached time.Time
}

// Events is a part of the list of events, with the events themselves.
type Events struct {
	Events []Stored
	// Next is as in Page.
	Next Cursor
}

// Stored is a stored event.
type Stored struct {
	Summary Summary
	// Event is nil when what is stored cannot be read.
	Event *event.Event
}

// Changes tells of what was stored or changed.
type Changes struct {
	// Events are the ids of events that were stored or whose deliveries changed,
	// each once, oldest change first.
	Events []string
	// Missed says that there were more, which are lost.
	Missed bool
}

// NoteKind is what a note is about.
type NoteKind string

const (
	// NoteStart and NoteStop say that the queue was opened and closed. A start
	// without a stop before it was a crash. The engine writes both.
	NoteStart NoteKind = "start"
	NoteStop  NoteKind = "stop"
	// NoteSwitch says that a switch was turned; Name is kind and name, Text the
	// Switch as JSON. The engine writes it with the change.
	NoteSwitch NoteKind = "switch"
	// NoteConfiguration says that a configuration was loaded; Name is a digest
	// of it, and Text what it says.
	NoteConfiguration NoteKind = "configuration"
	// NoteRefusals holds which requests were refused and when each credential was
	// last used; Text is the list as JSON. Each takes the place of the one before.
	NoteRefusals NoteKind = "refusals"
	// NoteClock says what the clock of the history shows; Text is the time while
	// that is behind the machine's clock, and empty once it is not.
	NoteClock NoteKind = "clock"
	// NoteAhead says that the clock of a node is wrong; Name is the node, Text by how much
	// it is ahead of that of the storage, empty once they agree. Each takes the place of the
	// one before.
	NoteAhead NoteKind = "ahead"
)

// Note is a fact about the relay itself.
type Note struct {
	// ID distinguishes notes. The engine gives it.
	ID   int64     `json:"id"`
	At   time.Time `json:"at"`
	Kind NoteKind  `json:"kind"`
	Name string    `json:"name,omitempty"`
	Text string    `json:"text,omitempty"`
	// Node is the node that made the note. The engine sets it; empty if it is no
	// Cluster.
	Node string `json:"node,omitempty"`
	// Replace has Note remove the earlier notes of the same kind and name, so that a
	// fact which changes often takes the room of one. It is not kept.
	Replace bool `json:"-"`
}

// Series is what happened over a time, in steps of equal length.
type Series struct {
	Step   time.Duration
	Points []Point
}

// Point is what happened in one step. Zero counts are left out of its maps.
type Point struct {
	// At is when the step begins.
	At time.Time
	// Events counts what was received, by the decision; a duplicate counts as
	// DuplicateEvents and nothing else.
	Events map[rules.Decision]int
	// Deliveries counts what ended, by state; Retries counts attempts after
	// which a delivery was to be tried again. A delivery that is mended counts as
	// Mended, at the time when it ended.
	Deliveries map[State]int
	Retries    int
	// P50 and P99 are how long it took from receipt to delivered, for half and
	// for all but a hundredth of the deliveries that ended so, to within a
	// fifth. Zero without any.
	P50, P99 time.Duration
	// Backlog is the last sample in the step of each action that had one.
	Backlog map[string]BacklogSample
}

// DuplicateEvents stands for duplicates among decisions.
const DuplicateEvents rules.Decision = "duplicate"

// BacklogSample is what waited for an action.
type BacklogSample struct {
	Count int
	// Age is how long the oldest had been waiting.
	Age time.Duration
}

// Summary is one event in a list.
type Summary struct {
	ID      string `json:"id"`
	Source  string `json:"source"`
	Event   string `json:"event"`
	Subject string `json:"subject,omitempty"`
	// Node is the node that received the event. The engine sets it; empty if it is no
	// Cluster.
	Node        string          `json:"node,omitempty"`
	Received    time.Time       `json:"received"`
	Test        bool            `json:"test,omitempty"`
	Tenant      string          `json:"tenant,omitempty"`
	Verdict     rules.Verdict   `json:"verdict"`
	ParseError  string          `json:"parse_error,omitempty"`
	DuplicateOf string          `json:"duplicate_of,omitempty"`
	Deliveries  []DeliveryState `json:"deliveries,omitempty"`
}

// FindDelivery returns the id of the one delivery whose id begins so, or
// ErrNotFound.
func (s *Summary) FindDelivery(beginning string) (string, error) {
	var fits []string
	for _, delivery := range s.Deliveries {
		if strings.HasPrefix(delivery.ID, beginning) {
			fits = append(fits, delivery.ID)
		}
	}
	if len(fits) != 1 {
		return "", fmt.Errorf("finding %s: %w: %d deliveries of event %s begin so; give the id of one", beginning, ErrNotFound, len(fits), s.ID)
	}
	return fits[0], nil
}

// DeliveryState is one delivery as the history knows it.
type DeliveryState struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	// Of is the delivery that this one repeats.
	Of    string `json:"of,omitempty"`
	State State  `json:"state"`
	// MendedBy is the delivery that arrived in place of this one, which failed,
	// expired or was cancelled. Empty if this one is not mended.
	MendedBy string `json:"mended_by,omitempty"`
	Attempts int    `json:"attempts"`
	// Paused is the switch that keeps a pending delivery waiting. The history leaves
	// it empty: it is set where deliveries are shown, by what is in force then.
	Paused *Switch `json:"paused,omitempty"`
	// Down is the target for which a pending delivery waits because it is down: one
	// delivery at a time tests it, whatever Due says. Empty if Paused is not, or if
	// the target is up. It is set where Paused is.
	Down string `json:"down,omitempty"`
	// Due is when a pending delivery is tried next, Ended when it reached its
	// end.
	Due   time.Time `json:"due,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
	// Status and Error are those of the last attempt. Where deliveries are shown, Error
	// also says that the delivery expired before it was attempted (again).
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Detail is all that is known of one event.
type Detail struct {
	Summary Summary
	// Event is the event as it was stored, nil when that cannot be read.
	Event *event.Event
	// Attempts holds the attempts of each delivery, by the delivery's id,
	// oldest first.
	Attempts map[string][]Attempt
	// Behind says for each delivery that waits for another of its action and
	// order key which one that is: the delivery that may be attempted, by its id.
	Behind map[string]string
}

// Backlog is what waits for one action.
type Backlog struct {
	Action string    `json:"action"`
	Count  int       `json:"count"`
	Oldest time.Time `json:"oldest"`
	Paused bool      `json:"paused,omitempty"`
}
