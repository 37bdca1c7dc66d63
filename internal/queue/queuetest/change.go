package queuetest

import (
	"errors"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var changeTests = map[string]func(*fixture){
	"a paused action hands out nothing": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.change(queue.Change{Switch: off("x")})
		f.nothing("x")
		f.put(f.entry("x"))
		f.nothing("x")
		f.one("y", f.put(f.entry("y")).Deliveries[0].ID)
		done := f.waiting("x")
		f.change(queue.Change{Switch: on("x")})
		f.woken(done, id)
	},

	"a pause survives reopening": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.change(queue.Change{Switch: off("x")})
		f.reopen()
		f.nothing("x")
		f.change(queue.Change{Switch: on("x")})
		f.reopen()
		f.one("x", id)
	},

	"an action can be paused before it has deliveries": func(f *fixture) {
		f.change(queue.Change{Switch: off("x")})
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.nothing("x")
		f.change(queue.Change{Switch: on("x")})
		f.one("x", id)
	},

	"a pause leaves leases alone": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		f.change(queue.Change{Switch: off("x")})
		if err := f.Extend(f.patient(), lease.Token, f.Lease()); err != nil {
			f.Errorf("Extend: %v", err)
		}
		f.deliver(lease)
		f.state(id, queue.Delivered)
	},

	"a cancelled delivery is over": func(f *fixture) {
		first, second := f.put(f.entry("x")).Deliveries[0].ID, f.put(f.entry("x")).Deliveries[0].ID
		equal(f, "number", f.change(queue.Change{CancelDelivery: first}).Deliveries, 1)
		f.one("x", second)
		f.nothing("x")
		if f.state(first, queue.Cancelled).Ended.IsZero() {
			f.Error("it has no time of its end")
		}
		f.reopen()
		f.one("x", second)
		f.nothing("x")
		equal(f, "number the second time", f.change(queue.Change{CancelDelivery: first}).Deliveries, 0)
	},

	"a delivery that waits for its next attempt can be cancelled": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", id), f.Lease())
		equal(f, "number", f.change(queue.Change{CancelDelivery: id}).Deliveries, 1)
		f.Advance(f.Lease())
		f.nothing("x")
		s := f.state(id, queue.Cancelled)
		equal(f, "attempts", s.Attempts, 1)
		equal(f, "status of the last attempt", s.Status, 503)
	},

	"cancelling takes a lease away": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		equal(f, "number", f.change(queue.Change{CancelDelivery: id}).Deliveries, 1)
		f.lost("Extend", f.Extend(f.patient(), lease.Token, f.Lease()))
		f.lost("Settle", f.Settle(lease.Token, queue.Settlement{State: queue.Delivered, Attempt: f.attempt(200, "")}))
		f.Advance(f.Lease())
		f.nothing("x")
		f.state(id, queue.Cancelled)
	},

	"a delivery that ended cannot be cancelled": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.deliver(f.one("x", id))
		equal(f, "number", f.change(queue.Change{CancelDelivery: id}).Deliveries, 0)
		f.state(id, queue.Delivered)
	},

	"an unknown delivery is not found": func(f *fixture) {
		event := f.put(f.entry("x")).Event.ID
		for _, id := range []string{newID(), event, "nonsense"} {
			if _, err := f.Change(f.patient(), queue.Change{CancelDelivery: id}); !errors.Is(err, queue.ErrNotFound) {
				f.Errorf("cancelling %s gave %v, want ErrNotFound", id, err)
			}
		}
	},

	"all deliveries of an action are cancelled": func(f *fixture) {
		const n = 600
		var entries []queue.Entry
		for range n {
			entries = append(entries, f.entry("x", "y"))
		}
		f.putAll(entries...)
		leased := f.take("x", 1)[0]
		f.again(f.take("x", 1)[0], f.Lease())
		f.deliver(f.take("x", 1)[0])
		equal(f, "number", f.change(queue.Change{CancelAction: "x"}).Deliveries, n-1)
		f.lost("Settle", f.Settle(leased.Token, queue.Settlement{State: queue.Delivered}))
		f.Advance(f.Lease())
		f.nothing("x")
		f.take("y", n)
		after := f.put(f.entry("x")).Deliveries[0].ID
		f.one("x", after)
		f.reopen()
		f.one("x", after)
		f.nothing("x")
		f.state(entries[n-1].Deliveries[0].ID, queue.Cancelled)
	},

	"cancelling an action ends all its order keys": func(f *fixture) {
		f.ordered("x", "k")
		f.ordered("x", "k")
		f.ordered("x", "other")
		equal(f, "number", f.change(queue.Change{CancelAction: "x"}).Deliveries, 3)
		f.nothing("x")
		f.one("x", f.ordered("x", "k").ID)
	},

	"an action without deliveries can be cancelled": func(f *fixture) {
		equal(f, "number", f.change(queue.Change{CancelAction: "x"}).Deliveries, 0)
		f.one("x", f.put(f.entry("x")).Deliveries[0].ID)
	},

	"exactly one change at a time": func(f *fixture) {
		for _, c := range []queue.Change{{}, {CancelDelivery: "x", CancelAction: "y"}, {CancelAction: "x", Switch: off("x")}, {CancelAction: "x", Move: &queue.Move{From: "x", To: "y"}}, {TryAction: "x", TryDelivery: "y"}} {
			if _, err := f.Change(f.patient(), c); err == nil {
				f.Errorf("Change(%+v) was taken", c)
			}
		}
	},
}

// off and on are the switch of an action.
func off(action string) *queue.Switch {
	return &queue.Switch{Kind: queue.SwitchAction, Name: action, Off: true}
}

func on(action string) *queue.Switch { return &queue.Switch{Kind: queue.SwitchAction, Name: action} }
