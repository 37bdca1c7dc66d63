// Package queue says what Event Relay asks of the storage behind it: a Queue,
// which holds events and unfinished deliveries, and a History, which remembers
// what became of them.
//
// The comments are the contract: what is durable when a call returns, what holds
// for other processes that have the same storage open, and what each error
// means. The suite in queuetest holds an engine to it sentence by sentence, so
// an engine that passes can stand behind the relay without a change to its
// callers. Nothing is promised here that only an embedded database could keep.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Errors that callers distinguish. Engines wrap them with what they know. Any
// other error means that it is not known whether the call was carried out.
var (
	// ErrFull means that nothing was stored because storage is full, nearly
	// full, or holds as many unfinished deliveries as it may.
	ErrFull = errors.New("queue is full")
	// ErrUnavailable means that nothing was stored or changed because storage
	// cannot be opened or reached right now. The queue tries again by itself.
	ErrUnavailable = errors.New("queue unavailable")
	// ErrMisconfigured means that the queue cannot be opened as it is configured,
	// and that trying again does not help.
	ErrMisconfigured = errors.New("the queue is misconfigured")
	// ErrClosed means that nothing was stored or changed because the queue is
	// closed or closing.
	ErrClosed = errors.New("queue is closed")
	// ErrLeaseLost means that the lease had expired, was settled before, or
	// that its delivery was cancelled or moved. The caller has no more say in it.
	ErrLeaseLost = errors.New("lease is lost")
	// ErrNotFound means that no event, delivery or note has the given id or name.
	ErrNotFound = errors.New("not found")
	// ErrRefused means that a stored event cannot be added to: its deliveries
	// cannot be read, or there are as many as it can have.
	ErrRefused = errors.New("nothing can be added to it")
	// ErrCursor means that a cursor is none that the engine returned.
	ErrCursor = errors.New("not a cursor")
	// ErrNoBackup means that a file is not a whole backup.
	ErrNoBackup = errors.New("not a whole backup")
)

// Queue holds events and unfinished deliveries. All methods may be called by
// many goroutines at once, and several processes may have the same storage open
// if the engine allows it.
type Queue interface {
	// Put stores entries, with their verdicts and deliveries, as one unit: all
	// of them or none. When it returns without error they are on stable
	// storage, not in memory and not in a page cache. Many callers at once
	// share a sync (group commit).
	//
	// An entry whose dedupe key was stored within its window is stored as a
	// duplicate: its event is kept, its deliveries are not, and the receipt
	// names the event it repeats. The decision is made inside, so that of a
	// hundred equal entries put at once exactly one is stored as itself, in
	// whichever process; also among the entries of one call.
	//
	// ErrFull, ErrUnavailable and ErrClosed mean "not stored". Any other error
	// means that the entries may be stored or not: also that of a context that
	// ends while the commit is on its way.
	//
	// Events belong to the queue afterwards: takers read them, and nothing may
	// change them. The list of entries is the caller's again, also after an error.
	Put(ctx context.Context, entries []Entry) ([]Receipt, error)

	// Take leases up to n deliveries of an action that are due, the longest
	// waiting first, and waits until there is at least one or ctx ends (then it
	// returns ctx.Err()). It returns ErrClosed when the queue closes. While
	// storage is unavailable it waits. A call that begins after Change returned
	// gives no lease for an action that was paused, in any process. No two
	// unexpired leases exist for one delivery.
	//
	// Deliveries with the same non-empty order key are leased one after another
	// in order of receipt: while one of them is unfinished, also while it waits
	// for its next attempt, the later ones are not due.
	//
	// A lease that is neither settled nor extended until it expires makes its
	// delivery due again, also when its process ended without Close. Close gives
	// the leases back.
	Take(ctx context.Context, action string, n int) ([]Lease, error)

	// Extend moves the expiry of a lease to at least d from now and returns
	// ErrLeaseLost if it is no longer held, also because the delivery was
	// cancelled or moved meanwhile. After any other error the lease lasts at
	// least as long as it did before.
	Extend(ctx context.Context, lease Token, d time.Duration) error

	// Settle ends a lease: with what was tried, and whether the delivery is
	// over or due again. It returns at once; what it says is in force for every
	// taker immediately and reaches storage with a later commit. A crash in
	// between can only lead to doing the attempt again, never after a later
	// delivery of the same order key. It returns ErrLeaseLost for a lease that
	// is no longer held, and then changes nothing but may keep the attempt in
	// the history. A Change that the same process begins afterwards finds the
	// settlement carried out.
	//
	// An engine that cannot write settlements keeps them in memory and lets
	// Take of that action wait, so that memory stays bounded and nothing is
	// sent twice.
	Settle(lease Token, settlement Settlement) error

	// Amend adds to what is done about stored events, as one unit, durable on
	// return: further deliveries, and a new verdict if there is one. Deliveries
	// are taken as if they had just been put, whatever the age of their event.
	// If any of the events is not stored it changes nothing and returns
	// ErrNotFound, if any cannot be added to ErrRefused; ErrFull, ErrUnavailable
	// and ErrClosed are as with Put.
	Amend(ctx context.Context, amendments []Amendment) error

	// Change cancels or moves deliveries, makes them due, or turns a switch. On return it is
	// durable and in force: every call of Take that begins later obeys it, in
	// every process. It waits for processes that were killed or cut off until the time
	// of a lease is over, because they may still have something in memory to hand out. A
	// delivery that is leased while it is cancelled or moved may
	// still be attempted once; its lease is lost. An action that is cancelled or
	// moved may be done so in parts: an error tells how far it came. The same holds
	// for one whose deliveries are made due.
	Change(ctx context.Context, change Change) (Changed, error)

	// Close lets running commits end, writes all settlements and gives back all
	// leases. Takers and later calls get ErrClosed. Storage that does not answer
	// holds it up for a bounded time: what was under way is unknown then, and leases
	// run out by themselves. It may be called more than once.
	Close() error
}

// Entry is one event to be stored and what is to be done about it.
type Entry struct {
	Event   *event.Event
	Verdict rules.Verdict

	// Deliveries are carried out in parallel, one for each action.
	Deliveries []Delivery

	// DedupeKey, if not empty, makes the entry a duplicate of an event that was
	// stored with the same key less than DedupeWindow ago.
	DedupeKey    string
	DedupeWindow time.Duration
}

// Receipt says what became of an entry.
type Receipt struct {
	// DuplicateOf is the id of the event that the entry repeats, or empty.
	DuplicateOf string
}

// Delivery is one action to be carried out for one event.
type Delivery struct {
	// ID is a UUID of version 7. It is the Idempotency-Key of all attempts.
	ID     string
	Action string

	// Of is the id of the delivery that this one repeats, of the same event; empty
	// for none.
	Of string

	// OrderKey, if not empty, makes deliveries of one action with the same key
	// go one after another.
	OrderKey string

	// Due is when the next attempt may be made. The zero time means at once.
	Due time.Time

	// Expires is when the delivery is not worth doing any more. The zero time
	// means never. The queue only carries it: the taker settles as Expired.
	Expires time.Time

	// Attempts counts the attempts that were made, and FirstAttempt is when the
	// first of them began. The queue keeps both; Put ignores them.
	Attempts     int
	FirstAttempt time.Time
}

// Token identifies a lease. Its content is the engine's own business.
type Token any

// Lease is the right to attempt a delivery until it expires.
type Lease struct {
	Token    Token
	Delivery Delivery
	// Event is shared with other takers: read it only. Nil when the stored
	// event cannot be read; the delivery must then be settled as Failed.
	Event   *event.Event
	Expires time.Time
}

// State is where a delivery stands.
type State string

// Pending is the only state that is not an end.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Failed    State = "failed"
	Expired   State = "expired"
	Cancelled State = "cancelled"
)

// ExpiredUnsent and ExpiredBetween are why a delivery expired, as sentences for an
// administrator: its time was over when its turn came, so that nothing was tried; or
// its time ends before the next attempt after one that failed. An attempt's error ends
// in the latter. The former is not stored, as there is no attempt that it belongs to.
const (
	ExpiredUnsent  = "it had expired when its turn came (expires); not sent"
	ExpiredBetween = "it expires before it could be tried again"
)

// Mended is no state that a delivery is settled in. In filters and counts it stands
// in place of Failed, Expired or Cancelled for a delivery that arrived when it was
// sent again: see Mend.
const Mended State = "mended"

// Settlement says how a lease ended.
type Settlement struct {
	// State is the delivery's state from now on.
	State State

	// Again is when a Pending delivery is due next.
	Again time.Time

	// Attempt is what was tried. Nil means that nothing was: the lease is given
	// back, or the delivery ended without an attempt. Attempts without a
	// request (one that could not be rendered) are attempts too.
	Attempt *Attempt
}

// Attempt is one try at a delivery.
type Attempt struct {
	// Began is when the attempt began, Took how long it lasted.
	Began time.Time
	Took  time.Duration

	// Status is the HTTP status of the answer, 0 when there was none.
	Status int

	// Error is a sentence for an administrator, empty when the attempt ended
	// well.
	Error string

	// Request is the request as sent, secrets masked and bounded in size.
	// Response is the first part of the answer's body.
	Request, Response string

	// Empty names the tags that rendered as nothing.
	Empty []string
}

// Amendment is what is added to a stored event.
type Amendment struct {
	// Event is the full id of the event.
	Event string
	// Verdict replaces the event's. Nil leaves it.
	Verdict *rules.Verdict
	// Deliveries are carried out in addition to those that the event has.
	Deliveries []Delivery
}

// Change is one thing that an administrator changes. Exactly one of its fields
// is set.
type Change struct {
	// CancelDelivery ends one unfinished delivery, by id.
	CancelDelivery string
	// CancelAction ends all unfinished deliveries of an action.
	CancelAction string
	// Move hands all unfinished deliveries of an action to another, such as
	// after it was renamed.
	Move *Move
	// TryDelivery makes one unfinished delivery due at once, by id, ahead of the
	// others of its action, whatever it waited for until now: its attempts count on.
	// One that is leased is left alone, so that it is not attempted twice at a time.
	// One that is behind another of its order key stays there, and is due once it is
	// its turn.
	TryDelivery string
	// TryAction makes all unfinished deliveries of an action due at once that have
	// to wait for their time, as TryDelivery does, but not ahead of the others.
	TryAction string
	// Switch turns a switch on or off.
	Switch *Switch
}

// Move names the two actions of Change.Move.
type Move struct{ From, To string }

// Check returns an error unless exactly one change is given, and one that can be made.
func (c *Change) Check() error {
	n := 0
	for _, given := range []bool{c.CancelDelivery != "", c.CancelAction != "", c.Move != nil, c.Switch != nil, c.TryDelivery != "", c.TryAction != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("exactly one change must be given, not %d", n)
	}
	if c.Switch != nil {
		return c.Switch.check()
	}
	return nil
}

// Changed says what a Change did.
type Changed struct {
	// Deliveries counts the deliveries that were cancelled or moved. Of TryDelivery
	// it is 1 unless that has ended or is leased, and of TryAction it counts those
	// whose time was to come.
	Deliveries int
	// Leased is 1 if TryDelivery left the delivery alone because it is leased.
	Leased int
}

// SwitchKind is what a switch is for.
type SwitchKind string

const (
	// SwitchAction keeps the deliveries of an action waiting while it is off:
	// the queue hands none out.
	SwitchAction SwitchKind = "action"
	// SwitchEvent makes events of one name be stored and nothing done about
	// them. The queue only keeps it: callers of Put obey it.
	SwitchEvent SwitchKind = "event"
	// SwitchAll makes all events be stored and nothing be done at all. The queue
	// only keeps it.
	SwitchAll SwitchKind = "all"
)

// Switch is something that an administrator turned off while the relay was
// running. Only switches that are off are kept.
type Switch struct {
	Kind SwitchKind `json:"kind"`
	// Name is the action, the event as source:event, or empty.
	Name string `json:"name,omitempty"`
	// Off is whether it is off. Turning on what is not off does nothing.
	Off bool `json:"off"`
	// Since is when it was turned off. Change sets it.
	Since time.Time `json:"since,omitzero"`
	// Until is when it is to be turned on again. The zero time means: by hand.
	// The queue only keeps it; the caller turns the switch on again.
	Until time.Time `json:"until,omitzero"`
	// Reason is what the administrator said about it.
	Reason string `json:"reason,omitempty"`
}

func (s *Switch) check() error {
	switch s.Kind {
	case SwitchAction, SwitchEvent:
		if s.Name == "" {
			return fmt.Errorf("a switch of kind %s needs a name", s.Kind)
		}
	case SwitchAll:
		if s.Name != "" {
			return fmt.Errorf("a switch of kind %s has no name, and %q was given", s.Kind, s.Name)
		}
	default:
		return fmt.Errorf("unknown kind of switch %q", s.Kind)
	}
	return nil
}

// Note returns the note that an engine makes when it turns the switch.
func (s *Switch) Note() (Note, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return Note{}, fmt.Errorf("encoding a switch: %w", err)
	}
	return Note{Kind: NoteSwitch, Name: strings.TrimSpace(string(s.Kind) + " " + s.Name), Text: string(text)}, nil
}
