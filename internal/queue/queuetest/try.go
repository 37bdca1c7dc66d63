package queuetest

import (
	"errors"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var tryTests = map[string]func(*fixture){
	"a delivery that waits for its time is due at once": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", id), 10*f.Lease())
		done := f.waiting("x")
		at := f.Now()
		equal(f, "what it changed", f.change(queue.Change{TryDelivery: id}), queue.Changed{Deliveries: 1})
		f.near("due in the history", f.state(id, queue.Pending).Due, at)
		lease := f.woken(done, id)
		equal(f, "attempts", lease.Delivery.Attempts, 1)
		f.again(lease, 10*f.Lease())
		f.nothing("x")
		f.eventually("the second attempt is in the history", func() bool { return f.state(id, queue.Pending).Attempts == 2 })
		equal(f, "status of the last", f.state(id, queue.Pending).Status, 503)
	},

	"also after reopening": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", id), 10*f.Lease())
		f.reopen()
		f.nothing("x")
		f.change(queue.Change{TryDelivery: id})
		f.reopen()
		f.one("x", id)
	},

	"ahead of the others": func(f *fixture) {
		later := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", later), 10*f.Lease())
		var want []string
		for range 5 {
			want = append(want, f.put(f.entry("x")).Deliveries[0].ID)
			f.Advance(time.Second)
		}
		f.change(queue.Change{TryDelivery: want[3]})
		f.change(queue.Change{TryDelivery: later})
		first := ids(f.take("x", 2))
		if first[0] != want[3] && first[0] != later || first[1] != want[3] && first[1] != later {
			f.Errorf("first came %v, want %s and %s", first, want[3], later)
		}
		for _, id := range []string{want[0], want[1], want[2], want[4]} {
			f.one("x", id)
		}
		f.nothing("x")
	},

	"one that is leased is left alone": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		equal(f, "what it changed", f.change(queue.Change{TryDelivery: id}), queue.Changed{Leased: 1})
		f.nothing("x")
		f.again(lease, 10*f.Lease())
		f.nothing("x")
	},

	"one that has ended stays so": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.deliver(f.one("x", id))
		equal(f, "what it changed", f.change(queue.Change{TryDelivery: id}), queue.Changed{})
		f.nothing("x")
		f.state(id, queue.Delivered)
		for _, unknown := range []string{newID(), "nonsense"} {
			if _, err := f.Change(f.patient(), queue.Change{TryDelivery: unknown}); !errors.Is(err, queue.ErrNotFound) {
				f.Errorf("trying %s gave %v, want ErrNotFound", unknown, err)
			}
		}
	},

	"a paused one waits on": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", id), 10*f.Lease())
		f.change(queue.Change{Switch: off("x")})
		equal(f, "number", f.change(queue.Change{TryDelivery: id}).Deliveries, 1)
		f.nothing("x")
		f.change(queue.Change{Switch: on("x")})
		f.one("x", id)
	},

	"an order key is kept": func(f *fixture) {
		head, next, last := f.ordered("x", "k"), f.ordered("x", "k"), f.ordered("x", "k")
		f.again(f.one("x", head.ID), 10*f.Lease())
		equal(f, "number", f.change(queue.Change{TryDelivery: last.ID}).Deliveries, 1)
		f.nothing("x")
		f.change(queue.Change{TryDelivery: head.ID})
		for _, d := range []queue.Delivery{head, next, last} {
			lease := f.one("x", d.ID)
			f.nothing("x")
			f.deliver(lease)
		}
	},

	"one behind another is due when it is its turn": func(f *fixture) {
		head := f.ordered("x", "k")
		e := f.entry("x")
		e.Deliveries[0].OrderKey, e.Deliveries[0].Due = "k", f.Now().Add(10*f.Lease())
		next := f.put(e).Deliveries[0]
		f.change(queue.Change{TryDelivery: next.ID})
		f.deliver(f.one("x", head.ID))
		f.one("x", next.ID)
	},

	"all of an action": func(f *fixture) {
		const n = 600
		var entries []queue.Entry
		for range n {
			entries = append(entries, f.entry("x", "y"))
		}
		f.putAll(entries...)
		for _, lease := range append(f.take("x", n-3), f.take("y", 1)...) {
			f.again(lease, 10*f.Lease())
		}
		leased := f.take("x", 2) // and one is due already
		equal(f, "number", f.change(queue.Change{TryAction: "x"}).Deliveries, n-3)
		f.take("x", n-2)
		f.nothing("x")
		f.take("y", n-1)
		f.nothing("y")
		for _, lease := range leased {
			f.deliver(lease)
		}
		equal(f, "number of none", f.change(queue.Change{TryAction: "z"}).Deliveries, 0)
		equal(f, "number a second time", f.change(queue.Change{TryAction: "x"}).Deliveries, 0)
	},
}
