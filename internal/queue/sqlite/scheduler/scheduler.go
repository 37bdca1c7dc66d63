// Package scheduler decides which unfinished delivery is handed out next. It
// keeps in memory those deliveries that are leased or will be soon, says when
// the engine has to read more of them from storage, and ends leases that
// expire. It knows nothing of how deliveries are stored, and it does nothing by
// itself: it has no goroutine, no timer and no lock.
//
// The engine holds one lock around all calls, and around its own list of what
// is still to be written. Otherwise two settlements of one delivery could be
// written in the wrong order.
package scheduler

import (
	"math"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Options is what a scheduler needs from its engine.
type Options struct {
	// Lease is how long a lease lasts that is not extended.
	Lease time.Duration

	// Fresh is how many deliveries of one action are kept in memory that were
	// never attempted. A quarter of it is kept of those that are due after their
	// first attempt, and a quarter of those that are due later.
	Fresh int
	// ActionBytes and TotalBytes bound the estimated memory of the events of
	// these deliveries, for one action and for all.
	ActionBytes, TotalBytes int64

	// Now is the time by which deliveries become due.
	Now func() time.Time
	// Elapsed is the time since some moment, by which leases expire. It must not
	// jump when the clock of the machine is set forward, or deliveries under
	// attempt would be handed out a second time.
	Elapsed func() time.Duration

	// Wake asks the engine to call Tick in a time. The last call counts.
	Wake func(in time.Duration)
	// Load asks the engine to read deliveries of an action from storage and to
	// pass them to Loaded. It is called with the lock held, and must not wait.
	Load func(*Action, Order)
}

// Scheduler is the deliveries of all actions. It is not safe for concurrent use.
type Scheduler struct {
	options    Options
	actions    []*Action
	leases     byExpiry
	bytes      int64 // estimated memory of all held events
	wakeAt     int64 // when Tick was asked for
	unwritable bool
}

// New returns a scheduler without actions.
func New(options Options) *Scheduler { return &Scheduler{options: options, wakeAt: never} }

// Delivery is an unfinished delivery in memory: it is leased, is likely to be
// soon, or its settlement is not written yet. All others are only in storage.
type Delivery struct {
	queue.Delivery
	// Number is the delivery's key in storage. What was stored later has a
	// greater one.
	Number int64
	// Event is the event of the delivery, and Size the estimated memory of it.
	Event *event.Event
	Size  int64
	// Due is when it is due, as storage has it: in microseconds since 1970, 0
	// since it was stored, Behind or more while another of its order key goes
	// first.
	Due int64
	// Since is the time by which the longest waiting goes first: when the
	// delivery was due, or when the event was received.
	Since int64
	// Added is when it was added to a stored event, 0 if it was stored with it.
	Added int64

	lease     *lease
	unwritten int  // settlements that are not committed
	evict     bool // leave memory once the settlement is committed
	gone      bool // cancelled or forgotten: skip it wherever it still stands
}

// Action is what memory holds of one action. The zero value is ready for Add.
//
// What is due goes through two lists. The fresh ones were never attempted and
// have no time of their own: they are due since they were stored, in the order
// of their numbers, so that one number (readUpTo) says which of them memory has
// seen, and reading on from there never meets one twice. All others have a
// time in storage and stand in heaps.
type Action struct {
	// Name is the action's.
	Name string

	paused bool
	barred int           // calls that cancel or move all its deliveries
	takers int           // calls of Take that are waiting
	wake   chan struct{} // has room for one wake-up

	held  map[int64]*Delivery // everything in memory, by number
	bytes int64               // estimated memory of their events

	fresh fifo
	due   byTime // had a time of their own, which has come
	later byTime // have a time of their own, which is to come

	// readUpTo is the fresh delivery up to which memory has seen all. While
	// overflow is set there may be others behind it in storage, up to dropped.
	readUpTo, dropped int64
	overflow          bool
	// nextLoad is when storage may hold a due delivery with a time of its own
	// that memory does not: microseconds, never = math.MaxInt64.
	nextLoad int64

	loading   bool
	loadAfter time.Duration // after an error: not before so much has elapsed
	// left are deliveries that left memory, or were cancelled, while storage is
	// being read: what was read of them is out of date.
	left map[int64]struct{}
	// outdated says that all that is being read may be out of date: it is read
	// once more.
	outdated bool

	unwritten int // settlements that are not committed
}

const never = math.MaxInt64

// Add makes an action known to the scheduler.
func (s *Scheduler) Add(a *Action, name string) {
	a.Name, a.wake, a.held, a.nextLoad = name, make(chan struct{}, 1), make(map[int64]*Delivery), never
	s.actions = append(s.actions, a)
}

// Stored tells that storage may hold unfinished deliveries of an action, up to
// one with the given number, none of which memory has seen. It is how a
// scheduler begins.
func (s *Scheduler) Stored(a *Action, upTo int64) {
	a.overflow, a.dropped, a.nextLoad = true, upTo, 0
	a.signal()
}

// Pause sets whether an action is paused.
func (s *Scheduler) Pause(a *Action, paused bool) {
	a.paused = paused
	if !paused {
		a.signal()
	}
}

// Bar keeps the deliveries of an action from being handed out until Unbar was
// called as often.
func (s *Scheduler) Bar(a *Action) { a.barred++ }

// Unbar ends what Bar began.
func (s *Scheduler) Unbar(a *Action) {
	a.barred--
	a.signal()
}

// SetUnwritable sets whether settlements cannot be written. Meanwhile an action
// that has some of them hands nothing out: memory stays bounded, and nothing is
// attempted whose last attempt could be forgotten.
func (s *Scheduler) SetUnwritable(yes bool) { s.unwritable = yes }

// Unwritable returns what SetUnwritable set.
func (s *Scheduler) Unwritable() bool { return s.unwritable }

// Memory returns how many deliveries of an action are in memory, how many of
// its settlements are not written, and the estimated bytes of its events.
func (a *Action) Memory() (held, unwritten int, bytes int64) {
	return len(a.held), a.unwritten, a.bytes
}

// Bytes returns the estimated memory of all events that are held.
func (s *Scheduler) Bytes() int64 { return s.bytes }

// Signal wakes one call of Take that waits.
func (s *Scheduler) Signal(a *Action) { a.signal() }

// signal wakes one taker, which signals the next if it leaves something.
func (a *Action) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// wakeBy has Tick called at a time.
func (s *Scheduler) wakeBy(at int64) {
	if at >= s.wakeAt {
		return
	}
	s.wakeAt = at
	s.options.Wake(time.Duration(at-s.now()) * time.Microsecond)
}

func (s *Scheduler) now() int64     { return s.options.Now().UnixMicro() }
func (s *Scheduler) elapsed() int64 { return s.options.Elapsed().Microseconds() }

// Tick does what is due: leases expire, retries ripen, storage is read.
func (s *Scheduler) Tick() {
	s.wakeAt = never
	now := s.now()
	s.wakeForLeases(now, s.expire())
	for _, a := range s.actions {
		a.ripen(now)
		if a.takers == 0 || !s.mayTake(a) {
			continue
		}
		s.loadIfLow(a, now)
		s.wakeFor(a, now)
		if a.ready() {
			a.signal()
		}
	}
}
