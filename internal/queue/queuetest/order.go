package queuetest

import (
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var orderTests = map[string]func(*fixture){
	"one after another": func(f *fixture) {
		a, b, c := f.ordered("x", "k"), f.ordered("x", "k"), f.ordered("x", "k")
		for _, d := range []queue.Delivery{a, b, c} {
			lease := f.one("x", d.ID)
			equal(f, "order key", lease.Delivery.OrderKey, "k")
			f.nothing("x")
			f.deliver(lease)
		}
		f.nothing("x")
	},

	"all of one call": func(f *fixture) {
		var entries []queue.Entry
		for range 3 {
			e := f.entry("x")
			e.Deliveries[0].OrderKey = "k"
			entries = append(entries, e)
		}
		f.putAll(entries...)
		for _, e := range entries {
			lease := f.one("x", e.Deliveries[0].ID)
			f.nothing("x")
			f.deliver(lease)
		}
	},

	"the head blocks while it waits for its next attempt": func(f *fixture) {
		head, next := f.ordered("x", "k"), f.ordered("x", "k")
		behind := func(id string) string { return f.find(id).Behind[id] }
		equal(f, "what the head waits for", behind(head.ID), "")
		equal(f, "what the next waits for", behind(next.ID), head.ID)
		f.again(f.one("x", head.ID), f.Lease())
		f.nothing("x")
		equal(f, "what the next waits for", behind(next.ID), head.ID)
		f.Advance(f.Lease())
		lease := f.one("x", head.ID)
		f.nothing("x")
		f.settle(lease, queue.Settlement{State: queue.Failed, Attempt: f.attempt(400, "no")})
		f.one("x", next.ID)
		equal(f, "what the next waits for after the head", behind(next.ID), "")
	},

	"the head blocks before it is due": func(f *fixture) {
		e := f.entry("x")
		e.Deliveries[0].OrderKey, e.Deliveries[0].Due = "k", f.Now().Add(f.Lease())
		f.put(e)
		next := f.ordered("x", "k")
		f.nothing("x")
		f.Advance(f.Lease())
		f.deliver(f.one("x", e.Deliveries[0].ID))
		f.one("x", next.ID)
	},

	"a released delivery waits for its own time": func(f *fixture) {
		head := f.ordered("x", "k")
		e := f.entry("x")
		e.Deliveries[0].OrderKey, e.Deliveries[0].Due = "k", f.Now().Add(f.Lease())
		f.put(e)
		f.deliver(f.one("x", head.ID))
		f.nothing("x")
		done := f.waiting("x")
		f.Advance(f.Lease())
		f.woken(done, e.Deliveries[0].ID)
	},

	"an expired lease of the head does not release": func(f *fixture) {
		head, next := f.ordered("x", "k"), f.ordered("x", "k")
		f.one("x", head.ID)
		f.Advance(f.Lease())
		lease := f.one("x", head.ID)
		f.nothing("x")
		f.deliver(lease)
		f.one("x", next.ID)
	},

	"a waiting call is woken by the release": func(f *fixture) {
		head, next := f.ordered("x", "k"), f.ordered("x", "k")
		lease := f.one("x", head.ID)
		done := f.waiting("x")
		f.deliver(lease)
		f.woken(done, next.ID)
	},

	"keys, actions and deliveries without a key are independent": func(f *fixture) {
		head := f.ordered("x", "k")
		blocked := f.ordered("x", "k")
		other := f.ordered("x", "other")
		free := f.put(f.entry("x")).Deliveries[0]
		action := f.ordered("y", "k")
		equalIDs(f, "deliveries of x", ids(f.take("x", 3)), []string{head.ID, other.ID, free.ID})
		f.one("y", action.ID)
		f.nothing("x")
		_ = blocked
	},

	"over reopening": func(f *fixture) {
		head, next, last := f.ordered("x", "k"), f.ordered("x", "k"), f.ordered("x", "k")
		f.reopen()
		lease := f.one("x", head.ID)
		f.nothing("x")
		f.again(lease, f.Lease())
		f.reopen()
		f.nothing("x")
		f.Advance(f.Lease())
		f.deliver(f.one("x", head.ID))
		f.reopen()
		f.deliver(f.one("x", next.ID))
		late := f.ordered("x", "k")
		f.deliver(f.one("x", last.ID))
		f.one("x", late.ID)
	},

	"cancelling the head releases the next": func(f *fixture) {
		head, next := f.ordered("x", "k"), f.ordered("x", "k")
		f.nothingBut("x", head.ID)
		f.change(queue.Change{CancelDelivery: head.ID})
		f.one("x", next.ID)
	},

	"cancelling one behind the head keeps the order": func(f *fixture) {
		head, middle, last := f.ordered("x", "k"), f.ordered("x", "k"), f.ordered("x", "k")
		f.change(queue.Change{CancelDelivery: middle.ID})
		lease := f.one("x", head.ID)
		f.nothing("x")
		f.deliver(lease)
		f.one("x", last.ID)
	},

	"many keys at once keep each its order": func(f *fixture) {
		const keys, each = 20, 10
		for range each {
			var entries []queue.Entry
			for k := range keys {
				e := f.entry("x")
				e.Deliveries[0].OrderKey = fmt.Sprint(k)
				entries = append(entries, e)
			}
			f.putAll(entries...)
		}
		// Ids of version 7 made one after another are in order.
		last := make(map[string]string)
		for done := 0; done < keys*each; {
			leases, err := f.Take(f.patient(), "x", 7)
			if err != nil {
				f.Fatal(err)
			}
			out := make(map[string]bool)
			for _, l := range leases {
				key, id := l.Delivery.OrderKey, l.Delivery.ID
				if out[key] {
					f.Errorf("two deliveries of key %s were out at once", key)
				}
				out[key] = true
				if id <= last[key] {
					f.Errorf("key %s: %s came after %s", key, id, last[key])
				}
				last[key] = id
				f.deliver(l)
				done++
			}
		}
		f.nothing("x")
	},
}

// nothingBut leases a delivery, checks that there is no other, and gives it
// back.
func (f *fixture) nothingBut(action, id string) {
	f.Helper()
	lease := f.one(action, id)
	f.nothing(action)
	f.settle(lease, queue.Settlement{State: queue.Pending})
}
