package queuetest

import (
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var moveTests = map[string]func(*fixture){
	"all unfinished deliveries are moved": func(f *fixture) {
		const n = 300
		var entries []queue.Entry
		for range n {
			entries = append(entries, f.entry("x", "z"))
		}
		f.putAll(entries...)
		present := f.put(f.entry("y")).Deliveries[0].ID
		f.one("y", present)
		leased := f.take("x", 1)[0]
		tried := f.take("x", 1)[0]
		f.again(tried, f.Lease())
		ended := f.take("x", 1)[0]
		f.deliver(ended)
		f.state(ended.Delivery.ID, queue.Delivered)
		equal(f, "number", f.move("x", "y"), n-1)
		f.lost("Settle", f.Settle(leased.Token, queue.Settlement{State: queue.Delivered}))
		f.lost("Extend", f.Extend(f.patient(), leased.Token, f.Lease()))
		f.nothing("x")
		want := make(map[string]bool)
		for _, e := range entries {
			if id := e.Deliveries[0].ID; id != ended.Delivery.ID && id != tried.Delivery.ID {
				want[id] = true
			}
		}
		for _, l := range f.take("y", n-2) {
			if !want[l.Delivery.ID] {
				f.Errorf("delivery %s was handed out twice or should not be", l.Delivery.ID)
			}
			delete(want, l.Delivery.ID)
			equal(f, "action", l.Delivery.Action, "y")
			f.deliver(l)
		}
		f.nothing("y")
		f.Advance(f.Lease() / 2)
		f.nothing("y") // not before the time of the one that was tried
		f.Advance(f.Lease() / 2)
		for _, l := range f.take("y", 2) { // and the lease of the one that y had
			if l.Delivery.ID == tried.Delivery.ID {
				equal(f, "attempts", l.Delivery.Attempts, 1)
			} else {
				equal(f, "other delivery", l.Delivery.ID, present)
			}
			f.deliver(l)
		}
		f.reopen()
		f.nothing("x")
		f.nothing("y")
		f.take("z", n)
		equal(f, "action of one that was moved", f.find(tried.Delivery.ID).Summary.Deliveries[0].Action, "y")
		equal(f, "action of one that had ended", f.find(ended.Delivery.ID).Summary.Deliveries[0].Action, "x")
		equal(f, "events with y", len(f.all(queue.Filter{Action: "y", States: []queue.State{queue.Delivered}}, 100)), n)
		equal(f, "events with x", len(f.all(queue.Filter{Action: "x"}, 100)), 1)
	},

	"order keys go on": func(f *fixture) {
		there := f.ordered("y", "k")
		a, b, c := f.ordered("x", "k"), f.ordered("x", "k"), f.ordered("x", "other")
		equal(f, "number", f.move("x", "y"), 3)
		late := f.ordered("x", "k")
		f.one("x", late.ID)
		got := map[string]queue.Lease{}
		for _, l := range f.take("y", 2) {
			got[l.Delivery.ID] = l
		}
		f.nothing("y")
		if _, ok := got[c.ID]; !ok {
			f.Error("the other key waits")
		}
		f.deliver(got[there.ID])
		f.deliver(f.one("y", a.ID))
		f.reopen()
		for _, l := range f.take("y", 2) {
			if l.Delivery.ID != b.ID && l.Delivery.ID != c.ID {
				f.Errorf("delivery %s was handed out", l.Delivery.ID)
			}
		}
		f.nothing("y")
	},

	"to an action that is switched off": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.change(queue.Change{Switch: off("y")})
		equal(f, "number", f.move("x", "y"), 1)
		f.nothing("x")
		f.nothing("y")
		done := f.waiting("y")
		f.change(queue.Change{Switch: on("y")})
		f.woken(done, id)
	},

	"nothing to move": func(f *fixture) {
		equal(f, "number", f.move("x", "y"), 0)
		f.one("x", f.put(f.entry("x")).Deliveries[0].ID)
		f.one("y", f.put(f.entry("y")).Deliveries[0].ID)
	},

	"to nowhere": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		for _, to := range []string{"", "x"} {
			if _, err := f.Change(f.patient(), queue.Change{Move: &queue.Move{From: "x", To: to}}); err == nil {
				f.Errorf("moving to %q was taken", to)
			}
		}
		f.one("x", id)
	},

	"a cancelled one of a key leaves its head alone": func(f *fixture) {
		old := f.put(f.entry())
		head := f.ordered("x", "k")
		added := queue.Delivery{ID: newID(), Action: "x", OrderKey: "k"}
		f.amend(queue.Amendment{Event: old.Event.ID, Deliveries: []queue.Delivery{added}})
		last := f.ordered("x", "k")
		lease := f.one("x", head.ID)
		f.change(queue.Change{CancelDelivery: last.ID})
		f.nothing("x")
		f.deliver(lease)
		f.one("x", added.ID)
	},
}

func (f *fixture) move(from, to string) int {
	f.Helper()
	return f.change(queue.Change{Move: &queue.Move{From: from, To: to}}).Deliveries
}
