package scheduler

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// lease is the content of a token. A lease is held while it is in
// Scheduler.leases.
type lease struct {
	action   *Action
	delivery *Delivery
	expires  int64 // in microseconds of Options.Elapsed
	index    int   // place in Scheduler.leases, -1 when not there
}

// unwrittenLimit is how many settlements of one action may wait for a commit
// before its takers have to wait as well.
const unwrittenLimit = 16384

// Wait tells that a call of Take begins for an action, and returns what wakes
// it: after that, or after a call of Take that gave nothing, it calls Take
// again. Done ends it.
func (s *Scheduler) Wait(a *Action) (wake <-chan struct{}) {
	a.takers++
	return a.wake
}

// Done ends what Wait began.
func (s *Scheduler) Done(a *Action) { a.takers-- }

// Take leases up to n deliveries of an action, the longest waiting first, and
// has storage read when memory runs low.
func (s *Scheduler) Take(a *Action, n int) []queue.Lease {
	clock := s.options.Now()
	now := clock.UnixMicro()
	elapsed := s.expire()
	a.ripen(now)
	if !s.mayTake(a) {
		return nil
	}
	var leases []queue.Lease
	for len(leases) < n {
		d := a.next()
		if d == nil {
			break
		}
		l := &lease{action: a, delivery: d, expires: elapsed + s.options.Lease.Microseconds()}
		d.lease = l
		heap.Push(&s.leases, l)
		leases = append(leases, queue.Lease{Token: l, Delivery: d.Delivery, Event: d.Event, Expires: clock.Add(s.options.Lease)})
	}
	s.loadIfLow(a, now)
	if len(leases) == 0 {
		s.wakeFor(a, now)
		return nil
	}
	s.wakeForLeases(now, elapsed)
	if a.ready() {
		a.signal()
	}
	return leases
}

// wakeForLeases has Tick called when the first lease expires, if there is any.
func (s *Scheduler) wakeForLeases(now, elapsed int64) {
	if len(s.leases) > 0 {
		s.wakeBy(now + s.leases[0].expires - elapsed)
	}
}

// wakeFor has Tick called when something of an action comes due that waits for
// its time, in memory or in storage.
func (s *Scheduler) wakeFor(a *Action, now int64) {
	if a.later.Len() > 0 {
		s.wakeBy(a.later[0].Since)
	}
	if a.nextLoad > now { // else storage is being read
		s.wakeBy(a.nextLoad)
	}
}

// mayTake reports whether deliveries of an action may be handed out at all.
func (s *Scheduler) mayTake(a *Action) bool {
	return !a.paused && a.barred == 0 && a.unwritten < unwrittenLimit && (a.unwritten == 0 || !s.unwritable)
}

// expire makes the deliveries of expired leases due again, and returns how many
// microseconds have elapsed.
func (s *Scheduler) expire() (elapsed int64) {
	elapsed = s.elapsed()
	for len(s.leases) > 0 && s.leases[0].expires <= elapsed {
		l := heap.Pop(&s.leases).(*lease)
		d := l.delivery
		d.lease = nil
		heap.Push(&l.action.due, d)
		l.action.signal()
	}
	return elapsed
}

// drop ends a lease.
func (s *Scheduler) drop(l *lease) {
	l.delivery.lease = nil
	if l.index >= 0 {
		heap.Remove(&s.leases, l.index)
	}
}

// Leased reports whether a delivery of an action is leased.
func (s *Scheduler) Leased(a *Action, number int64) bool {
	s.expire()
	d := a.held[number]
	return d != nil && d.lease != nil
}

// Extend moves the expiry of a lease to at least d from now.
func (s *Scheduler) Extend(token queue.Token, d time.Duration) error {
	l, err := s.held(token)
	if err != nil {
		return err
	}
	if expires := s.elapsed() + (d + time.Microsecond - 1).Microseconds(); expires > l.expires {
		l.expires = expires
		heap.Fix(&s.leases, l.index)
	}
	return nil
}

// held returns the lease of a token if it is still held.
func (s *Scheduler) held(token queue.Token) (*lease, error) {
	l, ok := token.(*lease)
	if !ok {
		return nil, fmt.Errorf("%w: not a token of this queue", queue.ErrLeaseLost)
	}
	s.expire()
	// Looked up, because a token may be of another scheduler, from before a
	// restart.
	if l.index < 0 || l.index >= len(s.leases) || s.leases[l.index] != l {
		return nil, queue.ErrLeaseLost
	}
	return l, nil
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
