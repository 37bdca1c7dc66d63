package scheduler

import (
	"container/heap"
	"time"
)

// loadAtOnce bounds how many deliveries one reading of storage brings, so that
// it stays short and the first of them are soon at work.
const loadAtOnce = 512

// retryLoading is how long after an error storage is read again.
const retryLoading = time.Second

// Order says which unfinished deliveries of an action are to be read.
type Order struct {
	// Now is the time up to which deliveries are due.
	Now int64
	// Fresh is how many deliveries without a time of their own are to be read,
	// in the order of their numbers, from After on.
	Fresh int
	After int64
	// Timed is how many deliveries with a time of their own that has come are to
	// be read, in the order of their times, except those that are Held.
	Timed int
	Held  map[int64]struct{}

	dropped int64 // as it was when the reading began
}

// Read is what was read for an order.
type Read struct {
	Fresh, Timed []*Delivery
	// FreshEnd says that there were no more fresh ones.
	FreshEnd bool
	// NextDue is the due time of the first timed one that was not read, or
	// math.MaxInt64.
	NextDue int64
}

// loadIfLow begins to read deliveries of an action when memory has few and
// storage may have more.
func (s *Scheduler) loadIfLow(a *Action, now int64) {
	fresh := a.overflow && a.fresh.len() <= s.options.Fresh/2
	timed := a.nextLoad <= now && a.due.Len() <= s.options.Fresh/8
	if a.loading || !fresh && !timed {
		return
	}
	if a.loadAfter > 0 {
		if wait := a.loadAfter - s.options.Elapsed(); wait > 0 {
			s.wakeBy(now + wait.Microseconds() + 1)
			return
		}
		a.loadAfter = 0
	}
	order := Order{Now: now, dropped: a.dropped}
	if fresh {
		order.Fresh, order.After = loadAtOnce, a.readUpTo
	}
	if timed {
		order.Timed = loadAtOnce
		// A delivery that leaves memory for storage from now on sets it again.
		a.nextLoad = never
		order.Held = make(map[int64]struct{}, len(a.held))
		for number := range a.held {
			order.Held[number] = struct{}{}
		}
	}
	a.loading, a.left = true, make(map[int64]struct{})
	s.options.Load(a, order)
}

// Loaded takes what was read for an order into memory, or tells that it could
// not be read.
func (s *Scheduler) Loaded(a *Action, order Order, read Read, err error) {
	left, outdated := a.left, a.outdated
	a.loading, a.left, a.outdated = false, nil, false
	if err != nil || outdated {
		if order.Timed > 0 {
			a.nextLoad = min(a.nextLoad, order.Now)
		}
		if !outdated {
			a.loadAfter = s.options.Elapsed() + retryLoading
		}
		a.signal()
		return
	}
	unknown := func(d *Delivery) bool {
		_, gone := left[d.Number]
		return !gone && a.held[d.Number] == nil
	}
	if order.Timed > 0 {
		a.nextLoad = min(a.nextLoad, read.NextDue)
		for _, d := range read.Timed {
			if !unknown(d) {
				continue
			}
			if !s.roomDue(a, d.Size) {
				a.nextLoad = min(a.nextLoad, d.Since)
				break
			}
			s.hold(a, d)
			heap.Push(&a.due, d)
		}
	}
	if order.Fresh > 0 {
		for _, d := range read.Fresh {
			if unknown(d) {
				if !s.roomFresh(a, d.Size) {
					read.FreshEnd = false
					break
				}
				s.hold(a, d)
				a.fresh.push(d)
			}
			a.readUpTo = d.Number
		}
		if read.FreshEnd {
			// All that was dropped before the reading began was visible to it.
			a.readUpTo = max(a.readUpTo, order.dropped)
			a.overflow = a.dropped > a.readUpTo
		}
	}
	if a.nextLoad != never && a.takers > 0 {
		s.wakeBy(a.nextLoad)
	}
	if a.ready() || a.overflow || a.nextLoad <= order.Now {
		a.signal()
	}
}
