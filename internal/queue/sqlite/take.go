package sqlite

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// lease is the content of a token. A lease is held while it is in DB.leases.
type lease struct {
	action   *action
	delivery *delivery
	expires  int64 // in microseconds of limits.elapsed
	index    int   // place in DB.leases, -1 when not there
}

// unwrittenLimit is how many settlements of one action may wait for a commit
// before its takers have to wait as well.
const unwrittenLimit = 16384

// Take implements queue.Queue.
func (db *DB) Take(ctx context.Context, name string, n int) ([]queue.Lease, error) {
	if n < 1 {
		return nil, fmt.Errorf("taking deliveries of %s: n is %d and must be at least 1", name, n)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	a := db.action(name)
	a.takers++
	defer func() { a.takers-- }()
	for {
		if db.closing {
			return nil, fmt.Errorf("taking deliveries of %s: %w", name, queue.ErrClosed)
		}
		if leases := db.leaseOut(a, n); len(leases) > 0 {
			if a.ready() {
				a.signal()
			}
			return leases, nil
		}
		db.mu.Unlock()
		var err error
		select {
		case <-a.wake:
		case <-db.closed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		db.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
}

// leaseOut leases up to n deliveries, and has the table read when memory runs
// low.
func (db *DB) leaseOut(a *action, n int) []queue.Lease {
	clock := db.now()
	now := micros(clock)
	elapsed := db.expire()
	a.ripen(now)
	if !db.mayTake(a) {
		return nil
	}
	var leases []queue.Lease
	for len(leases) < n {
		d := a.next()
		if d == nil {
			break
		}
		l := &lease{action: a, delivery: d, expires: elapsed + db.options.Lease.Microseconds()}
		d.lease = l
		heap.Push(&db.leases, l)
		leases = append(leases, queue.Lease{Token: l, Delivery: d.Delivery, Event: d.event, Expires: clock.Add(db.options.Lease)})
	}
	db.loadIfLow(a, now)
	if len(leases) > 0 {
		db.armForLeases(now, elapsed)
	} else {
		db.armFor(a, now)
	}
	return leases
}

// armForLeases has tick called when the first lease expires, if there is any.
func (db *DB) armForLeases(now, elapsed int64) {
	if len(db.leases) > 0 {
		db.arm(now + db.leases[0].expires - elapsed)
	}
}

// armFor has tick called when something of an action comes due that waits for
// its time, in memory or in the table.
func (db *DB) armFor(a *action, now int64) {
	if a.later.Len() > 0 {
		db.arm(a.later[0].since)
	}
	if a.nextLoad > now { // else the table is being read
		db.arm(a.nextLoad)
	}
}

// mayTake reports whether deliveries of an action may be handed out at all.
func (db *DB) mayTake(a *action) bool {
	return !a.paused && a.cancelling == 0 && a.unwritten < unwrittenLimit && (a.unwritten == 0 || !db.unwritable)
}

// expire makes the deliveries of expired leases due again, and returns how many
// microseconds have elapsed. Leases go by that and not by the clock of the
// machine: if that is set forward, deliveries under attempt would be handed out
// a second time.
func (db *DB) expire() (elapsed int64) {
	elapsed = db.options.limits.elapsed().Microseconds()
	for len(db.leases) > 0 && db.leases[0].expires <= elapsed {
		l := heap.Pop(&db.leases).(*lease)
		d := l.delivery
		d.lease = nil
		heap.Push(&l.action.due, d)
		l.action.signal()
	}
	return elapsed
}

// drop ends a lease.
func (db *DB) drop(l *lease) {
	l.delivery.lease = nil
	if l.index >= 0 {
		heap.Remove(&db.leases, l.index)
	}
}

// Extend implements queue.Queue.
func (db *DB) Extend(token queue.Token, d time.Duration) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	l, err := db.leased(token)
	if err != nil {
		return fmt.Errorf("extending a lease: %w", err)
	}
	if expires := db.options.limits.elapsed().Microseconds() + (d + time.Microsecond - 1).Microseconds(); expires > l.expires {
		l.expires = expires
		heap.Fix(&db.leases, l.index)
	}
	return nil
}

// leased returns the lease of a token if it is still held.
func (db *DB) leased(token queue.Token) (*lease, error) {
	l, ok := token.(*lease)
	if !ok {
		return nil, fmt.Errorf("%w: not a token of this queue", queue.ErrLeaseLost)
	}
	if db.closing {
		return nil, queue.ErrClosed
	}
	db.expire()
	// Looked up, because a token may be from another DB, of the time before.
	if l.index < 0 || l.index >= len(db.leases) || db.leases[l.index] != l {
		return nil, queue.ErrLeaseLost
	}
	return l, nil
}

// longestTimer bounds how long the timer sleeps, because the clock of the
// machine may be set meanwhile.
const longestTimer = 2 * time.Second

// arm has tick called at a time. DB.mu is held.
func (db *DB) arm(at int64) {
	if at >= db.armed || db.closing {
		return
	}
	db.armed = at
	wait := time.Duration(at-micros(db.now())) * time.Microsecond
	db.timer.Reset(min(max(wait, 0), longestTimer))
}

// tick does what is due: leases expire, retries ripen, tables are read.
func (db *DB) tick() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closing {
		return
	}
	db.armed = never
	now := micros(db.now())
	db.armForLeases(now, db.expire())
	for _, a := range db.actions {
		a.ripen(now)
		if a.takers == 0 || !db.mayTake(a) {
			continue
		}
		db.loadIfLow(a, now)
		db.armFor(a, now)
		if a.ready() {
			a.signal()
		}
	}
}

// byExpiry is a heap of leases.
type byExpiry []*lease

func (h byExpiry) Len() int           { return len(h) }
func (h byExpiry) Less(i, j int) bool { return h[i].expires < h[j].expires }
func (h byExpiry) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *byExpiry) Push(x any) {
	x.(*lease).index = len(*h)
	*h = append(*h, x.(*lease))
}
func (h *byExpiry) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.index = -1
	return l
}
