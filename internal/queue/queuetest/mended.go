package queuetest

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

var mendedTests = map[string]func(*fixture){
	"a failure is mended once what repeats it arrives": func(f *fixture) {
		e := f.failed("x")
		f.standing(e, queue.Failed)
		again := f.repeat(e, e.Deliveries[0].ID)
		f.standing(e, queue.Failed, queue.Pending)
		lease := f.one("x", again)
		f.again(lease, 0)
		f.standing(e, queue.Failed, queue.Pending)
		f.deliver(f.one("x", again))
		f.standing(e, queue.Mended, queue.Delivered)
		d := f.find(e.Event.ID).Summary.Deliveries[0]
		equal(f, "state", d.State, queue.Failed)
		equal(f, "what mends it", d.MendedBy, again)
		f.reopen()
		f.standing(e, queue.Mended, queue.Delivered)
	},

	"over any number of repetitions": func(f *fixture) {
		e := f.failed("x")
		of, want := e.Deliveries[0].ID, []queue.State{queue.Mended}
		for range 3 {
			of = f.repeat(e, of)
			f.settle(f.one("x", of), queue.Settlement{State: queue.Failed, Attempt: f.attempt(500, "no")})
			want = append(want, queue.Mended)
		}
		f.standing(e, queue.Failed, queue.Failed, queue.Failed, queue.Failed)
		f.deliver(f.one("x", f.repeat(e, of)))
		f.standing(e, append(want, queue.Delivered)...)
		f.reopen()
		f.standing(e, append(want, queue.Delivered)...)
	},

	"what expired or was cancelled too": func(f *fixture) {
		e := f.put(f.entry("x", "y", "z"))
		f.settle(f.take("x", 1)[0], queue.Settlement{State: queue.Expired})
		f.change(queue.Change{CancelDelivery: e.Deliveries[1].ID})
		f.change(queue.Change{CancelAction: "z"})
		for _, d := range e.Deliveries {
			again := queue.Delivery{ID: newID(), Action: d.Action, Of: d.ID}
			f.amend(queue.Amendment{Event: e.Event.ID, Deliveries: []queue.Delivery{again}})
			f.deliver(f.one(d.Action, again.ID))
		}
		f.standing(e, queue.Mended, queue.Mended, queue.Mended, queue.Delivered, queue.Delivered, queue.Delivered)
	},

	"what arrived stays delivered, and what fails later stays failed": func(f *fixture) {
		e := f.put(f.entry("x"))
		f.deliver(f.one("x", e.Deliveries[0].ID))
		again := f.repeat(e, e.Deliveries[0].ID)
		f.settle(f.one("x", again), queue.Settlement{State: queue.Failed, Attempt: f.attempt(500, "no")})
		f.standing(e, queue.Delivered, queue.Failed)
		f.deliver(f.one("x", f.repeat(e, again)))
		f.standing(e, queue.Delivered, queue.Mended, queue.Delivered)
	},

	"another delivery of the action mends nothing": func(f *fixture) {
		e := f.failed("x")
		f.deliver(f.one("x", f.add(e, "x").ID))
		f.standing(e, queue.Failed, queue.Delivered)
	},

	"one that ends after what repeats it arrived": func(f *fixture) {
		e := f.put(f.entry("x"))
		lease := f.one("x", e.Deliveries[0].ID)
		f.deliver(f.one("x", f.repeat(e, e.Deliveries[0].ID)))
		f.standing(e, queue.Pending, queue.Delivered)
		f.settle(lease, queue.Settlement{State: queue.Failed, Attempt: f.attempt(500, "no")})
		f.standing(e, queue.Mended, queue.Delivered)
	},

	"it counts as mended when it had ended": func(f *fixture) {
		begin := f.Now()
		for _, later := range []time.Duration{0, 3 * time.Hour} {
			e := f.failed("x")
			f.wantFailed(begin, 1)
			f.Advance(later)
			f.deliver(f.one("x", f.repeat(e, e.Deliveries[0].ID)))
			f.state(e.Deliveries[0].ID, queue.Failed)
			f.wantFailed(begin, 0)
			f.reopen()
			f.wantFailed(begin, 0)
			f.Advance(time.Minute)
		}
		s, err := f.Series(f.patient(), begin, begin.Add(2*time.Hour), 2)
		if err != nil {
			f.Fatal(err)
		}
		equal(f, "mended in the first hours", s.Points[0].Deliveries[queue.Mended]+s.Points[1].Deliveries[queue.Mended], 2)
	},

	"a failure is found among many that are mended": func(f *fixture) {
		const mended = 400
		first := f.failed("x")
		var amendments []queue.Amendment
		var entries []queue.Entry
		for range mended {
			entries = append(entries, f.entry("x"))
		}
		f.putAll(entries...)
		for i, l := range f.take("x", mended) {
			f.settle(l, queue.Settlement{State: queue.Failed, Attempt: f.attempt(500, "no")})
			amendments = append(amendments, queue.Amendment{Event: l.Event.ID, Deliveries: []queue.Delivery{{ID: newID(), Action: "x", Of: l.Delivery.ID}}})
			if i == mended-1 {
				f.state(l.Delivery.ID, queue.Failed)
			}
		}
		f.amend(amendments...)
		for _, l := range f.take("x", mended) {
			f.deliver(l)
		}
		f.eventually("all are mended", func() bool { return len(f.all(queue.Filter{States: []queue.State{queue.Mended}}, 100)) == mended })
		page, err := f.Page(f.patient(), queue.Filter{Action: "x", States: []queue.State{queue.Failed}}, queue.NewestFirst, "", 1)
		if err != nil || page.Early || len(page.Events) != 1 || page.Events[0].ID != first.Event.ID {
			f.Fatalf("the page is %+v and %v, want the event that is not mended", page, err)
		}
	},
}

// failed stores an event whose delivery fails.
func (f *fixture) failed(action string) queue.Entry {
	f.Helper()
	e := f.put(f.entry(action))
	f.settle(f.one(action, e.Deliveries[0].ID), queue.Settlement{State: queue.Failed, Attempt: f.attempt(404, "gone")})
	f.state(e.Deliveries[0].ID, queue.Failed)
	return e
}

// repeat adds a delivery that repeats another, and returns its id.
func (f *fixture) repeat(e queue.Entry, of string) string {
	f.Helper()
	d := queue.Delivery{ID: newID(), Action: e.Deliveries[0].Action, Of: of}
	f.amend(queue.Amendment{Event: e.Event.ID, Deliveries: []queue.Delivery{d}})
	return d.ID
}

// standing waits until the deliveries of the only event stand so, and checks that
// each filter says the same.
func (f *fixture) standing(e queue.Entry, want ...queue.State) {
	f.Helper()
	f.eventually("the deliveries are as they should", func() bool {
		got := f.find(e.Event.ID).Summary.Deliveries
		if len(got) != len(want) {
			f.Fatalf("there are %d deliveries, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].Standing() != want[i] {
				return false
			}
		}
		return true
	})
	for _, state := range []queue.State{queue.Pending, queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled, queue.Mended} {
		n := 0
		for _, s := range want {
			if s == state {
				n = 1
			}
		}
		for _, filter := range []queue.Filter{{States: []queue.State{state}}, {States: []queue.State{state}, Decision: rules.Act}} {
			equal(f, "events found by "+string(state), len(f.all(filter, 10)), n)
		}
	}
	summaries, err := f.Summaries(context.Background(), []string{e.Event.ID})
	if err != nil || len(summaries) != 1 {
		f.Fatalf("the summaries are %v and %v", summaries, err)
	}
	for i, d := range summaries[0].Deliveries {
		equal(f, "delivery in the summary", d.Standing(), want[i])
	}
}

// wantFailed waits until as many deliveries count as failed.
func (f *fixture) wantFailed(begin time.Time, n int) {
	f.Helper()
	f.eventually("the count of failures is right", func() bool {
		s, err := f.Series(f.patient(), begin, f.Now().Add(time.Minute), 10)
		if err != nil {
			f.Fatal(err)
		}
		failed := 0
		for _, p := range s.Points {
			failed += p.Deliveries[queue.Failed]
		}
		return failed == n
	})
}
