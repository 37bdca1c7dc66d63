package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// world is an engine in slow motion: a test decides when a transaction is
// committed, when memory learns of it, and when storage is read. So it gets
// between two steps that follow each other at once in a real engine.
type world struct {
	*testing.T
	random *rand.Rand
	calls  []string

	scheduler *Scheduler
	action    Action
	now       int64 // microseconds
	timer     int64 // when Tick is to be called
	number    int64 // of the last delivery

	table map[int64]*row // what is committed
	known map[int64]*truth

	commits []func() // what the next transaction does to the table
	applies []func() // what memory learns once it is committed
	learns  []func() // the same, of the transaction that is committed

	loading bool
	order   Order
	read    *Read // nil until storage is read
	failed  bool

	waits int // calls of Take that wait
	slow  int // how often a step of reading storage does not come
	// calm says that all is at rest before a settlement whose time passes. Else
	// there is nearly always another step that wakes the taker.
	calm bool
}

// row is a delivery in storage.
type row struct {
	number, due int64
	attempts    int
}

// truth is what a taker may rely on.
type truth struct {
	committed, over bool
	due             int64
	attempts        int
	settled         int  // how often it was
	plain           bool // never had a time of its own
	token           queue.Token
	expires         int64
}

const testLease = 60 * int64(time.Second/time.Microsecond)

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{T: t, random: rand.New(rand.NewPCG(seed, 1)), now: 1_000_000_000, timer: never, table: make(map[int64]*row), known: make(map[int64]*truth)}
	w.scheduler = New(Options{
		Lease: time.Minute, Fresh: 1 + w.random.IntN(12), ActionBytes: 1 + int64(w.random.IntN(2))*math.MaxInt32, TotalBytes: math.MaxInt32,
		Now: func() time.Time { return time.UnixMicro(w.now) }, Elapsed: func() time.Duration { return time.Duration(w.now) * time.Microsecond },
		Wake: func(in time.Duration) { w.timer = w.now + max(in.Microseconds(), 0) },
		Load: func(_ *Action, order Order) {
			if w.loading {
				t.Fatal("storage is to be read twice at once")
			}
			w.loading, w.order, w.read = true, order, nil
		},
	})
	w.scheduler.Add(&w.action, "x")
	w.slow = w.random.IntN(10)
	return w
}

func (w *world) note(format string, args ...any) {
	w.calls = append(w.calls, fmt.Sprintf("%d %s", w.now, fmt.Sprintf(format, args...)))
}

// takeable reports whether a delivery may be handed out.
func (w *world) takeable(t *truth) bool {
	return t.committed && !t.over && t.due <= w.now && (t.token == nil || t.expires <= w.now)
}

func (w *world) any(fits func(*truth) bool) (number int64, found *truth) {
	var numbers []int64
	for _, number := range slices.Sorted(maps.Keys(w.known)) {
		if fits(w.known[number]) {
			numbers = append(numbers, number)
		}
	}
	if len(numbers) == 0 {
		return 0, nil
	}
	number = numbers[w.random.IntN(len(numbers))]
	return number, w.known[number]
}

// put stores a delivery: a fresh one, one with a time of its own, or one behind
// another of its order key.
func (w *world) put() {
	w.number++
	number, due := w.number, int64(0)
	switch w.random.IntN(4) {
	case 0:
		due = w.now + testLease*int64(w.random.IntN(20)-5)/10
	case 1:
		due = layout.Behind
	}
	w.note("put %d, due %d", number, due)
	w.known[number] = &truth{due: due, plain: due == 0}
	w.commits = append(w.commits, func() {
		w.table[number] = &row{number: number, due: due}
		w.known[number].committed = true
	})
	received := w.now
	w.applies = append(w.applies, func() {
		w.scheduler.HandOver(&w.action, &Delivery{Number: number, Due: due, Size: 100, Event: &event.Event{Received: time.UnixMicro(received)}})
	})
}

// release makes a delivery due that was behind another.
func (w *world) release() {
	number, t := w.any(func(t *truth) bool { return t.committed && !t.over && t.due == layout.Behind })
	if t == nil {
		return
	}
	w.note("release %d", number)
	due := Released(layout.Behind, w.now, w.now)
	w.commits = append(w.commits, func() {
		if row := w.table[number]; row != nil {
			row.due, t.due = due, due
		}
	})
	w.applies = append(w.applies, func() { w.scheduler.Due(&w.action, w.now) })
}

// hurry makes a delivery due ahead of all others, unless it is leased when that is
// written. A settlement that comes meanwhile has the last word.
func (w *world) hurry() {
	number, t := w.any(func(t *truth) bool { return t.committed && !t.over && t.due != layout.Behind })
	if t == nil {
		return
	}
	w.note("hurry %d", number)
	settled, written, attempts := t.settled, false, 0
	w.commits = append(w.commits, func() {
		row := w.table[number]
		if written = row != nil && !w.scheduler.Leased(&w.action, number); !written {
			return
		}
		attempts = row.attempts
		if row.due = 1; t.settled == settled {
			t.due, t.plain = 1, false
		}
	})
	w.applies = append(w.applies, func() {
		if written {
			var read *Delivery
			if w.random.IntN(2) == 0 {
				read = &Delivery{Number: number, Due: 1, Since: 1, Size: 100, Event: &event.Event{}}
				read.Attempts = attempts
			}
			w.scheduler.Hurry(&w.action, number, 1, read)
		}
	})
}

func (w *world) cancel() {
	number, t := w.any(func(t *truth) bool { return t.committed && !t.over })
	if t == nil {
		return
	}
	w.note("cancel %d", number)
	w.commits = append(w.commits, func() { delete(w.table, number) })
	w.applies = append(w.applies, func() {
		w.scheduler.Release(&w.action, number)
		t.over = true
	})
}

// commit commits what gathered, once memory has learnt of the transaction before.
func (w *world) commit() {
	if len(w.learns) > 0 || len(w.commits) == 0 {
		return
	}
	w.note("commit")
	for _, f := range w.commits {
		f()
	}
	w.learns, w.commits, w.applies = w.applies, nil, nil
}

func (w *world) learn() {
	if len(w.learns) == 0 {
		return
	}
	w.note("memory learns of it")
	for _, f := range w.learns {
		f()
	}
	w.learns = nil
}

// load reads storage, or hands over what was read.
func (w *world) load() {
	switch {
	case !w.loading:
	case w.read == nil:
		w.failed = w.random.IntN(20) == 0
		w.read = w.readTable()
		w.note("storage is read: %d fresh, %d timed", len(w.read.Fresh), len(w.read.Timed))
	default:
		w.note("what was read is handed over, failed: %v", w.failed)
		var err error
		if w.failed {
			err = errors.New("cannot be read")
		}
		w.loading = false
		w.scheduler.Loaded(&w.action, w.order, *w.read, err)
	}
}

// readTable does what an engine does for an Order, but only a few at a time.
func (w *world) readTable() *Read {
	read := &Read{NextDue: math.MaxInt64, FreshEnd: true}
	atOnce := 1 + w.random.IntN(6)
	if w.order.Fresh > 0 {
		for _, number := range slices.Sorted(maps.Keys(w.table)) {
			if r := w.table[number]; number > w.order.After && r.due == 0 {
				if len(read.Fresh) == atOnce {
					read.FreshEnd = false
					break
				}
				read.Fresh = append(read.Fresh, &Delivery{Number: number, Since: 1, Size: 100})
			}
		}
	}
	if w.order.Timed > 0 {
		rows := slices.SortedFunc(maps.Values(w.table), func(a, b *row) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.number, b.number)) })
		for _, r := range rows {
			if _, held := w.order.Held[r.number]; held || r.due == 0 || r.due >= layout.Behind {
				continue
			}
			if r.due > w.order.Now || len(read.Timed) == atOnce {
				read.NextDue = r.due
				break
			}
			d := &Delivery{Number: r.number, Since: r.due, Due: r.due, Size: 100}
			d.Attempts = r.attempts
			read.Timed = append(read.Timed, d)
		}
	}
	return read
}

func (w *world) take() {
	if w.waits == 2 {
		return
	}
	w.scheduler.Wait(&w.action)
	w.waits++
	w.takeOnce()
}

// takeOnce is what a taker does that was woken.
func (w *world) takeOnce() {
	leases := w.scheduler.Take(&w.action, 1+w.random.IntN(4))
	if len(leases) == 0 {
		return
	}
	w.scheduler.Done(&w.action)
	w.waits--
	for _, l := range leases {
		number := l.Token.(*lease).delivery.Number
		w.note("take %d", number)
		t := w.known[number]
		if !w.takeable(t) {
			w.Fatalf("%d is handed out: %+v", number, t)
		}
		if l.Delivery.Attempts != t.attempts {
			w.Errorf("%d has %d attempts, want %d", number, l.Delivery.Attempts, t.attempts)
		}
		if t.plain && t.token == nil {
			for before := int64(1); before < number; before++ {
				if b := w.known[before]; b.plain && w.takeable(b) && b.token == nil && w.table[before] != nil {
					w.Fatalf("%d is handed out before %d", number, before)
				}
			}
		}
		t.token, t.expires = l.Token, w.now+testLease
	}
}

func (w *world) settle() {
	number, t := w.any(func(t *truth) bool { return !t.over && t.token != nil && t.expires > w.now })
	if t == nil {
		return
	}
	how := queue.Settlement{State: queue.Delivered}
	if w.random.IntN(2) == 0 {
		how = queue.Settlement{State: queue.Pending, Again: time.UnixMicro(w.now + testLease*int64(w.random.IntN(15)-3)/10)}
	}
	if w.random.IntN(3) > 0 {
		how.Attempt = &queue.Attempt{Began: time.UnixMicro(w.now)}
		t.attempts++
	}
	w.note("settle %d %s", number, how.State)
	settled, err := w.scheduler.Settle(t.token, &how)
	if err != nil {
		w.Fatalf("settling %d: %v", number, err)
	}
	t.token = nil
	t.settled++
	if t.over = settled.Over; !t.over {
		t.due, t.plain = settled.At, false
	}
	w.commits = append(w.commits, func() {
		if row := w.table[number]; row != nil && settled.Over {
			delete(w.table, number)
		} else if row != nil {
			row.due, row.attempts = settled.At, settled.Attempts
		}
	})
	w.applies = append(w.applies, func() { w.scheduler.Written(&settled) })
}

func (w *world) extend() {
	number, t := w.any(func(t *truth) bool { return !t.over && t.token != nil })
	if t == nil {
		return
	}
	by := testLease * int64(w.random.IntN(20)) / 10
	w.note("extend %d by %d", number, by)
	err := w.scheduler.Extend(t.token, time.Duration(by)*time.Microsecond)
	if lost := t.expires <= w.now; lost != errors.Is(err, queue.ErrLeaseLost) {
		w.Fatalf("extending %d gave %v, is it lost: %v", number, err, lost)
	}
	if err == nil {
		t.expires = max(t.expires, w.now+by)
	}
}

func (w *world) pass(d int64) {
	w.note("%d pass", d)
	w.now += d
}

// restart forgets all but the table.
func (w *world) restart() {
	w.note("restart")
	for len(w.learns)+len(w.commits) > 0 {
		w.learn()
		w.commit()
	}
	fresh := newWorld(w.T, w.random.Uint64())
	w.scheduler, w.action, w.timer, w.loading, w.waits = fresh.scheduler, Action{}, never, false, 0
	w.scheduler.actions = nil
	w.scheduler.options.Now, w.scheduler.options.Elapsed = func() time.Time { return time.UnixMicro(w.now) }, func() time.Duration { return time.Duration(w.now) * time.Microsecond }
	w.scheduler.options.Wake = func(in time.Duration) { w.timer = w.now + max(in.Microseconds(), 0) }
	w.scheduler.options.Load = func(_ *Action, order Order) { w.loading, w.order, w.read = true, order, nil }
	w.scheduler.Add(&w.action, "x")
	w.scheduler.Stored(&w.action, w.number)
	for number, t := range w.known {
		t.token = nil
		if w.table[number] == nil {
			t.over = true
		}
	}
}

// wakeTaker lets happen what happens by itself: the timer, and a taker that is
// woken. It reports whether there was anything.
func (w *world) wakeTaker() bool {
	if w.timer <= w.now {
		w.timer = never
		w.scheduler.Tick()
		return true
	}
	if w.waits == 0 {
		return false
	}
	select {
	case <-w.action.wake:
		w.takeOnce()
		return true
	default:
		return false
	}
}

// rest lets everything come to rest. A taker that still waits then must have
// nothing to take, or it would wait for ever.
func (w *world) rest() {
	for w.wakeTaker() || w.loading || len(w.learns)+len(w.commits) > 0 {
		w.load()
		w.learn()
		w.commit()
	}
	if w.waits == 0 || w.action.loadAfter > w.scheduler.options.Elapsed() {
		return
	}
	for number, t := range w.known {
		if w.takeable(t) {
			w.Fatalf("a taker waits, %d is due, and nothing wakes it before %d: %+v", number, w.timer, t)
		}
	}
}

// TestModel drives the scheduler with random sequences of steps.
func TestModel(t *testing.T) {
	seeds := make([]uint64, 0, 300)
	for seed := range uint64(200) {
		seeds = append(seeds, seed)
	}
	for range 100 {
		seeds = append(seeds, rand.Uint64())
	}
	for _, seed := range seeds {
		for _, calm := range []bool{false, true} {
			w := newWorld(t, seed)
			w.calm = calm
			w.note("seed %d, calm: %v", seed, calm)
			w.run(300)
		}
	}
}

func (w *world) run(steps int) {
	defer func() {
		if w.Failed() {
			for _, call := range w.calls {
				w.Log(call)
			}
		}
	}()
	for range steps {
		switch n := w.random.IntN(100); {
		case n < 15:
			w.put()
		case n < 17:
			w.release()
		case n < 20:
			w.cancel()
		case n < 23:
			w.hurry()
		case n < 36:
			w.commit()
		case n < 48:
			w.learn()
		case n < 62:
			if w.random.IntN(10) >= w.slow {
				w.load()
			}
		case n < 72:
			w.take()
		case n < 82:
			w.settle()
		case n < 85:
			w.extend()
		case n < 90:
			if w.calm {
				w.rest()
				w.settle()
			}
			w.pass(testLease * int64(w.random.IntN(8)) / 10)
			if w.calm || w.slow < 5 {
				w.rest()
			}
		case n < 98:
			w.wakeTaker()
		case n < 99:
			if w.slow < 5 {
				w.rest()
			}
		default:
			w.restart()
		}
	}
	// In the end all are handed out.
	for w.release(); ; w.release() {
		w.rest()
		if _, t := w.any(func(t *truth) bool { return t.committed && !t.over && t.due == layout.Behind }); t == nil {
			break
		}
	}
	for range 10 * len(w.known) {
		w.pass(testLease)
		w.take()
		w.rest()
		for _, t := range w.known {
			if t.token != nil && !t.over && t.expires > w.now {
				t.over = true
				how := queue.Settlement{State: queue.Delivered}
				settled, err := w.scheduler.Settle(t.token, &how)
				if err != nil {
					w.Fatal(err)
				}
				number := settled.Delivery.Number
				w.commits = append(w.commits, func() { delete(w.table, number) })
				w.applies = append(w.applies, func() { w.scheduler.Written(&settled) })
			}
		}
		if number, t := w.any(func(t *truth) bool { return !t.over }); t == nil {
			w.rest()
			break
		} else if t.due > w.now {
			w.note("%d is due at %d", number, t.due)
		}
	}
	if number, t := w.any(func(t *truth) bool { return !t.over }); t != nil {
		w.Fatalf("%d is never handed out: %+v", number, t)
	}
	if held, unwritten, bytes := w.action.Memory(); held != 0 || unwritten != 0 || bytes != 0 || w.scheduler.Bytes() != 0 || len(w.scheduler.leases) != 0 {
		w.Fatalf("with nothing to do memory holds %d deliveries, %d settlements, %d bytes, %d leases", held, unwritten, bytes, len(w.scheduler.leases))
	}
}
