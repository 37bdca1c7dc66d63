package scheduler

import (
	"container/heap"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// MinimumKept is how many deliveries each list of an action may hold however
// large their events are and however much the other actions hold.
const MinimumKept = 16

// room reports whether a list that holds n of at most limit deliveries may
// take one more, of the given size.
func (s *Scheduler) room(a *Action, n, limit int, size int64) bool {
	o := &s.options
	return n < limit && (n < MinimumKept || a.bytes+size <= o.ActionBytes && s.bytes+size <= o.TotalBytes)
}

// Retries get lists of their own, so that neither a flood of events keeps them
// out of memory nor they the events.
func (s *Scheduler) roomFresh(a *Action, size int64) bool {
	return s.room(a, a.fresh.len(), s.options.Fresh, size)
}
func (s *Scheduler) roomDue(a *Action, size int64) bool {
	return s.room(a, a.due.Len(), max(s.options.Fresh/4, 1), size)
}
func (s *Scheduler) roomLater(a *Action, size int64) bool {
	return s.room(a, a.later.Len(), max(s.options.Fresh/4, 1), size)
}

// hold takes a delivery into memory.
func (s *Scheduler) hold(a *Action, d *Delivery) {
	a.held[d.Number] = d
	a.bytes += d.Size
	s.bytes += d.Size
}

// forget lets a delivery go from memory.
func (s *Scheduler) forget(a *Action, d *Delivery) {
	if d.gone {
		return
	}
	d.gone = true
	delete(a.held, d.Number)
	s.dropEvent(a, d)
	a.leave(d.Number)
}

// dropEvent lets go the event of a delivery that will not be handed out from
// memory any more.
func (s *Scheduler) dropEvent(a *Action, d *Delivery) {
	a.bytes -= d.Size
	s.bytes -= d.Size
	d.Event, d.Size = nil, 0
}

// leave tells a running load that what it reads of a delivery is out of date.
func (a *Action) leave(id int64) {
	if a.loading {
		a.left[id] = struct{}{}
	}
}

// HandOver takes a delivery that was just stored into memory, if there is room.
// It is called in the order of the numbers.
func (s *Scheduler) HandOver(a *Action, d *Delivery) {
	if a.held[d.Number] != nil {
		return // read from storage between the commit and now
	}
	switch now, due := s.now(), d.Due; {
	case due >= layout.Behind:
		// Behind another of its order key, which will release it.
	case due > 0:
		d.Since = due
		if due > now && s.roomLater(a, d.Size) {
			s.hold(a, d)
			heap.Push(&a.later, d)
			s.wakeBy(due)
		} else if due <= now && s.roomDue(a, d.Size) {
			s.hold(a, d)
			heap.Push(&a.due, d)
			a.signal()
		} else {
			s.loadAt(a, due)
		}
	case d.Number <= a.readUpTo:
	case !a.overflow && s.roomFresh(a, d.Size):
		d.Since = d.Event.Received.UnixMicro()
		s.hold(a, d)
		a.fresh.push(d)
		a.readUpTo = d.Number
		a.signal()
	default:
		a.overflow, a.dropped = true, d.Number
		if a.takers > 0 {
			a.signal()
		}
	}
}

// loadAt notes that storage holds a delivery which is due at a time and is
// not in memory.
func (s *Scheduler) loadAt(a *Action, due int64) {
	a.nextLoad = min(a.nextLoad, due)
	if a.takers > 0 {
		s.wakeBy(due)
	}
}

// ripen moves what has become due.
func (a *Action) ripen(now int64) {
	for a.later.Len() > 0 && a.later[0].Since <= now {
		d := heap.Pop(&a.later).(*Delivery)
		if !d.gone {
			heap.Push(&a.due, d)
		}
	}
}

// next removes and returns the delivery that has been waiting longest, or nil.
func (a *Action) next() *Delivery {
	for {
		fresh := a.fresh.first()
		var d *Delivery
		switch {
		case a.due.Len() > 0 && (fresh == nil || a.due[0].Since <= fresh.Since):
			d = heap.Pop(&a.due).(*Delivery)
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

func (a *Action) ready() bool { return a.fresh.len() > 0 || a.due.Len() > 0 }

// fifo is a queue in a slice.
type fifo struct {
	items []*Delivery
	head  int
}

func (f *fifo) len() int { return len(f.items) - f.head }

func (f *fifo) push(d *Delivery) {
	if f.head > 64 && f.head*2 >= len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, d)
}

func (f *fifo) first() *Delivery {
	if f.len() == 0 {
		return nil
	}
	return f.items[f.head]
}

func (f *fifo) pop() *Delivery {
	d := f.items[f.head]
	f.items[f.head] = nil
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return d
}

// byTime is a heap by since, then in the order of storing.
type byTime []*Delivery

func (h byTime) Len() int { return len(h) }
func (h byTime) Less(i, j int) bool {
	if h[i].Since != h[j].Since {
		return h[i].Since < h[j].Since
	}
	return h[i].Number < h[j].Number
}
func (h byTime) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byTime) Push(x any)   { *h = append(*h, x.(*Delivery)) }
func (h *byTime) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
