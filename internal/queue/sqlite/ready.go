package sqlite

import (
	"container/heap"
	"math"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// delivery is an unfinished delivery that is in memory: because it is leased,
// because it is likely to be soon, or because its settlement is not written
// yet. All others live in the table only.
type delivery struct {
	queue.Delivery
	id    int64
	event *event.Event
	size  int64 // estimated memory of the event
	due   int64 // as the table has it
	added int64 // when it was added to a stored event, 0: it was stored with it

	// since is the time by which the longest waiting goes first: when the
	// delivery was due, or when the event was received.
	since int64

	lease     *lease
	unwritten int  // settlements that are not committed
	evict     bool // leave memory once the settlement is committed
	gone      bool // cancelled or forgotten: skip it wherever it still stands
}

// action is what memory holds of one action. Its fields are guarded by DB.mu,
// except row and delta, which are the writer's.
//
// What is due goes through two lists. The fresh ones were never attempted and
// have no time of their own: they are due since they were stored, in the order
// of their ids, so that one number (readUpTo) says which of them memory has
// seen, and reading on from there never meets one twice. All others have a
// time in the table and stand in heaps.
type action struct {
	name    string
	id      int64 // in the table actions, 0 until stored
	row     int64 // the same, as the current transaction sees it
	waiting int   // committed unfinished deliveries, in memory or not
	delta   int   // how the current transaction changes waiting

	paused     bool
	cancelling int           // calls that cancel or move all its deliveries
	takers     int           // calls of Take that are waiting
	wake       chan struct{} // has room for one wake-up

	held  map[int64]*delivery // everything in memory, by id
	bytes int64               // estimated memory of their events

	fresh fifo
	due   byTime // had a time of their own, which has come
	later byTime // have a time of their own, which is to come

	// readUpTo is the fresh delivery up to which memory has seen all. While
	// overflow is set there may be others behind it in the table, up to dropped.
	readUpTo, dropped int64
	overflow          bool
	// nextLoad is when the table may hold a due delivery with a time of its own
	// that memory does not: microseconds, never = math.MaxInt64.
	nextLoad int64

	loading   bool
	loadAfter time.Time // after an error: not before
	// left are deliveries that left memory, or were cancelled, while the table is
	// being read: what was read of them is out of date.
	left map[int64]struct{}
	// outdated says that all that is being read of the table may be: it is read
	// once more.
	outdated bool

	unwritten int // settlements that are not committed
}

const never = math.MaxInt64

func newAction(name string) *action {
	return &action{name: name, wake: make(chan struct{}, 1), held: make(map[int64]*delivery), nextLoad: never}
}

// signal wakes one taker. Whoever takes and leaves something signals the next.
func (a *action) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// minimumKept is how many deliveries each list of an action may hold however
// large their events are and however much the other actions hold.
const minimumKept = 16

// room reports whether a list that holds n of at most limit deliveries may
// take one more, of the given size.
func (db *DB) room(a *action, n, limit int, size int64) bool {
	l := &db.options.limits
	return n < limit && (n < minimumKept || a.bytes+size <= l.actionBytes && db.bytes+size <= l.totalBytes)
}

// Retries get lists of their own, so that neither a flood of events keeps them
// out of memory nor they the events.
func (db *DB) roomFresh(a *action, size int64) bool {
	return db.room(a, a.fresh.len(), db.options.limits.fresh, size)
}
func (db *DB) roomDue(a *action, size int64) bool {
	return db.room(a, a.due.Len(), max(db.options.limits.fresh/4, 1), size)
}
func (db *DB) roomLater(a *action, size int64) bool {
	return db.room(a, a.later.Len(), max(db.options.limits.fresh/4, 1), size)
}

// hold takes a delivery into memory.
func (db *DB) hold(a *action, d *delivery) {
	a.held[d.id] = d
	a.bytes += d.size
	db.bytes += d.size
}

// forget lets a delivery go from memory.
func (db *DB) forget(a *action, d *delivery) {
	if d.gone {
		return
	}
	d.gone = true
	delete(a.held, d.id)
	db.dropEvent(a, d)
	a.leave(d.id)
}

// dropEvent lets go the event of a delivery that will not be handed out from
// memory any more.
func (db *DB) dropEvent(a *action, d *delivery) {
	a.bytes -= d.size
	db.bytes -= d.size
	d.event, d.size = nil, 0
}

// leave tells a running load that what it reads of a delivery is out of date.
func (a *action) leave(id int64) {
	if a.loading {
		a.left[id] = struct{}{}
	}
}

// handOver takes a delivery that was just stored into memory, if there is
// room. It is called in the order of the ids.
func (db *DB) handOver(a *action, d *delivery) {
	if a.held[d.id] != nil {
		return // read from the table between the commit and now
	}
	switch now, due := micros(db.now()), d.due; {
	case due >= behind:
		// Behind another of its order key, which will release it.
	case due > 0:
		d.since = due
		if due > now && db.roomLater(a, d.size) {
			db.hold(a, d)
			heap.Push(&a.later, d)
			db.arm(due)
		} else if due <= now && db.roomDue(a, d.size) {
			db.hold(a, d)
			heap.Push(&a.due, d)
			a.signal()
		} else {
			db.loadAt(a, due)
		}
	case d.id <= a.readUpTo:
	case !a.overflow && db.roomFresh(a, d.size):
		d.since = micros(d.event.Received)
		db.hold(a, d)
		a.fresh.push(d)
		a.readUpTo = d.id
		a.signal()
	default:
		a.overflow, a.dropped = true, d.id
		if a.takers > 0 {
			a.signal()
		}
	}
}

// loadAt notes that the table holds a delivery which is due at a time and is
// not in memory.
func (db *DB) loadAt(a *action, due int64) {
	a.nextLoad = min(a.nextLoad, due)
	if a.takers > 0 {
		db.arm(due)
	}
}

// ripen moves what has become due.
func (a *action) ripen(now int64) {
	for a.later.Len() > 0 && a.later[0].since <= now {
		d := heap.Pop(&a.later).(*delivery)
		if !d.gone {
			heap.Push(&a.due, d)
		}
	}
}

// next removes and returns the delivery that has been waiting longest, or nil.
func (a *action) next() *delivery {
	for {
		fresh := a.fresh.first()
		var d *delivery
		switch {
		case a.due.Len() > 0 && (fresh == nil || a.due[0].since <= fresh.since):
			d = heap.Pop(&a.due).(*delivery)
		case fresh != nil:
			d = a.fresh.pop()
		default:
			return nil
		}
		if !d.gone {
			return d
		}
	}
}

func (a *action) ready() bool { return a.fresh.len() > 0 || a.due.Len() > 0 }

// fifo is a queue in a slice.
type fifo struct {
	items []*delivery
	head  int
}

func (f *fifo) len() int { return len(f.items) - f.head }

func (f *fifo) push(d *delivery) {
	if f.head > 64 && f.head*2 >= len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, d)
}

func (f *fifo) first() *delivery {
	if f.len() == 0 {
		return nil
	}
	return f.items[f.head]
}

func (f *fifo) pop() *delivery {
	d := f.items[f.head]
	f.items[f.head] = nil
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return d
}

// byTime is a heap by since, then in the order of storing.
type byTime []*delivery

func (h byTime) Len() int { return len(h) }
func (h byTime) Less(i, j int) bool {
	if h[i].since != h[j].since {
		return h[i].since < h[j].since
	}
	return h[i].id < h[j].id
}
func (h byTime) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byTime) Push(x any)   { *h = append(*h, x.(*delivery)) }
func (h *byTime) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
