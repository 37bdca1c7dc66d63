package scheduler

import (
	"container/heap"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// Settlement is a settlement that is in force in memory and still has to be
// written. Written ends it.
type Settlement struct {
	Action   *Action
	Delivery *Delivery
	// Over says that the delivery has ended.
	Over bool
	// Number is the number of the attempt, from 0, and Attempts how many were
	// made until now, the first of them at First (0: none).
	Number, Attempts int
	First            int64
	// Event is the UUID of the event, empty if the event cannot be read, and
	// Since when the delivery began to wait.
	Event string
	Since int64
	// Test says that the event is a test.
	Test bool
	// At is when the delivery is due again, or when it ended.
	At int64
}

// Settle ends a lease.
func (s *Scheduler) Settle(token queue.Token, how *queue.Settlement) (Settlement, error) {
	l, err := s.held(token)
	if err != nil {
		return Settlement{}, err
	}
	s.drop(l)
	a, d := l.action, l.delivery
	settled := Settlement{Action: a, Delivery: d, Over: how.State != queue.Pending, Number: d.Attempts}
	if how.Attempt != nil {
		d.Attempts++
		if d.FirstAttempt.IsZero() {
			d.FirstAttempt = how.Attempt.Began
		}
	}
	settled.Attempts = d.Attempts
	if !d.FirstAttempt.IsZero() {
		settled.First = d.FirstAttempt.UnixMicro()
	}
	if d.Event != nil {
		settled.Event, settled.Since, settled.Test = d.Event.ID, d.Event.Received.UnixMicro(), d.Event.Test
	}
	if d.Added != 0 {
		settled.Since = d.Added
	}
	a.unwritten++
	d.unwritten++
	now := s.options.Now()
	if settled.Over {
		// It is held until that is written, and in no list.
		settled.At = now.UnixMicro()
		s.dropEvent(a, d)
		return settled, nil
	}
	again := how.Again
	if again.Before(now) {
		again = now
	}
	at := layout.DueAt(again)
	settled.At = at
	d.Delivery.Due, d.Due, d.Since = again, at, at
	switch {
	case at > now.UnixMicro() && s.roomLater(a, 0):
		heap.Push(&a.later, d)
		s.wakeBy(at)
	case at <= now.UnixMicro() && s.roomDue(a, 0):
		heap.Push(&a.due, d)
		a.signal()
	default:
		d.evict = true
		s.dropEvent(a, d)
	}
	return settled, nil
}

// Written tells that a settlement is committed, or will never be.
func (s *Scheduler) Written(settled *Settlement) {
	a, d := settled.Action, settled.Delivery
	a.unwritten--
	d.unwritten--
	if s.unwritable || a.unwritten == unwrittenLimit-1 {
		a.signal()
	}
	switch {
	case settled.Over:
		s.forget(a, d)
	case d.evict && d.unwritten == 0:
		s.forget(a, d)
		s.loadAt(a, d.Due)
	}
}

// Release lets go of a delivery that is no longer one of an action, because it
// was cancelled or moved. Its lease is lost.
func (s *Scheduler) Release(a *Action, number int64) {
	a.leave(number)
	if d := a.held[number]; d != nil {
		if d.lease != nil {
			s.drop(d.lease)
		}
		s.forget(a, d)
	}
}

// Due tells that storage holds a delivery which is due from a time on and which
// memory may not hold, because it was added, moved or released.
func (s *Scheduler) Due(a *Action, at int64) {
	s.loadAt(a, at)
	a.signal()
}

// Hurry tells that a delivery has got another time in storage, which has come. read
// is the delivery as it was read since; it may be nil, and then the delivery comes
// into memory when that has room. One that was leased or settled meanwhile goes by
// its settlement.
func (s *Scheduler) Hurry(a *Action, number, at int64, read *Delivery) {
	a.leave(number)
	d := a.held[number]
	switch {
	case d == nil && read == nil:
		s.loadAt(a, at)
	case d == nil:
		s.hold(a, read)
		heap.Push(&a.due, read)
	case d.lease != nil || d.unwritten > 0:
		return
	default:
		// It changes its list: the old entry is skipped there.
		moved := *d
		d.gone, d.Event = true, nil
		moved.Due, moved.Since, moved.Delivery.Due = at, at, time.UnixMicro(at).UTC()
		a.held[number] = &moved
		heap.Push(&a.due, &moved)
	}
	a.signal()
}

// Doubt tells that storage may have changed without the scheduler: what is being
// read is read again. It returns the deliveries of an action in memory that
// storage should have. The engine looks them up and calls Release for the rest.
func (s *Scheduler) Doubt(a *Action) (numbers []int64) {
	a.outdated = a.loading
	for number, d := range a.held {
		if d.unwritten == 0 { // else its settlement will tell
			numbers = append(numbers, number)
		}
	}
	return numbers
}
