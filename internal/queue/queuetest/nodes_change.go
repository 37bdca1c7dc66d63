package queuetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// nodesChangeTests are of what a change on one node means for the others.
var nodesChangeTests = map[string]func(*fixture){
	"an action that is paused on one node is paused on each": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		id := a.put(a.entry("x")).Deliveries[0].ID
		b.change(queue.Change{Switch: off("x")})
		for _, node := range nodes {
			equal(f, "number of switches", len(node.switches()), 1)
			node.nothing("x")
		}
		done := c.waiting("x")
		a.change(queue.Change{Switch: on("x")})
		c.woken(done, id)
		for _, node := range nodes {
			equal(f, "number of switches", len(node.switches()), 0)
		}
	},

	"no call of Take that begins after a pause gives a lease": func(f *fixture) {
		nodes := f.three()
		a := nodes[0]
		ctx, cancel := context.WithCancel(f.patient())
		var done sync.WaitGroup
		defer done.Wait()
		defer cancel()
		// The turns that were made. After an odd one the action is paused.
		var turns, began atomic.Int64
		for _, node := range nodes {
			done.Go(func() {
				for ctx.Err() == nil {
					short, cancel := context.WithTimeout(ctx, f.Soon()/5)
					turn := turns.Load()
					began.Add(1)
					leases, _ := node.Take(short, "x", 1)
					if turn%2 == 1 && turns.Load() == turn && len(leases) > 0 {
						f.Errorf("a call of Take that began after the pause gave %s", ids(leases))
					}
					cancel()
				}
			})
		}
		for range 4 {
			f.putAll(f.entry("x"), f.entry("x"), f.entry("x"))
			a.change(queue.Change{Switch: off("x")})
			turns.Add(1)
			// More than the calls that began before it can take.
			for range 2 * len(nodes) {
				nodes[1].put(f.entry("x"))
			}
			calls := began.Load()
			f.eventually("Take is called", func() bool { return began.Load() > calls+6 })
			turns.Add(1)
			a.change(queue.Change{Switch: on("x")})
		}
	},

	"a switch is obeyed on each node when the command returns": func(f *fixture) {
		nodes := f.three()
		var calls [3]atomic.Int32
		for i, node := range nodes[1:] {
			i++
			node.cluster().OnSwitches(func(ctx context.Context) error {
				switches, err := node.Switches(ctx)
				if err != nil {
					return err
				}
				if len(switches) != 1 || !switches[0].Off || switches[0].Name != "pbx:incoming_call" {
					f.Errorf("node %d is asked to obey %+v", i, switches)
				}
				// It is asked again after an error.
				if calls[i].Add(1) == 1 {
					return errors.New("not yet")
				}
				return nil
			})
		}
		f.turn(queue.Switch{Kind: queue.SwitchEvent, Name: "pbx:incoming_call", Off: true})
		for i := range nodes[1:] {
			if got := calls[i+1].Load(); got < 2 {
				f.Errorf("when the command returned there were %d calls on node %d, want one more after the error", got, i+1)
			}
		}
	},

	"a switch does not wait for a node that vanished": func(f *fixture) {
		a, b := f, f.another()
		b.cluster().OnSwitches(func(context.Context) error { return errors.New("never") })
		done := make(chan error, 1)
		ctx := f.patient()
		go func() {
			_, err := a.Change(ctx, queue.Change{Switch: off("x")})
			done <- err
		}()
		select {
		case err := <-done:
			f.Fatalf("Change returned before node 1 obeys: %v", err)
		case <-time.After(f.Soon()):
		}
		b.kill()
		f.Advance(f.Lease())
		if err := <-done; err != nil {
			f.Errorf("Change: %v", err)
		}
		f.put(f.entry("x"))
		a.nothing("x")
	},

	"cancelling on one node takes away what another has leased": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		first, second := a.put(a.entry("x")).Deliveries[0].ID, a.put(a.entry("x")).Deliveries[0].ID
		lease := b.one("x", first)
		equal(f, "number", a.change(queue.Change{CancelDelivery: first}).Deliveries, 1)
		f.lost("Extend", b.Extend(f.patient(), lease.Token, f.Lease()))
		// The other node may not know yet that it has lost it: then this changes nothing.
		if err := b.Settle(lease.Token, queue.Settlement{State: queue.Delivered, Attempt: f.attempt(200, "")}); err != nil && !errors.Is(err, queue.ErrLeaseLost) {
			f.Errorf("Settle gave %v, want nothing or ErrLeaseLost", err)
		}
		b.deliver(b.one("x", second)) // after it
		c.state(second, queue.Delivered)
		c.state(first, queue.Cancelled)
		f.Advance(f.Lease())
		c.nothing("x")
	},

	"cancelling the head on one node releases the next on another": func(f *fixture) {
		a, b := f, f.another()
		head, next := a.ordered("x", "k"), b.ordered("x", "k")
		b.one("x", head.ID)
		done := b.waiting("x")
		a.change(queue.Change{CancelDelivery: head.ID})
		b.woken(done, next.ID)
	},

	"an action is cancelled, whichever nodes have put and leased it": func(f *fixture) {
		nodes := f.three()
		const each = 40
		for _, node := range nodes {
			for range each {
				node.put(node.entry("x", "y"))
			}
		}
		lease := nodes[2].take("x", 1)[0]
		equal(f, "number", nodes[0].change(queue.Change{CancelAction: "x"}).Deliveries, 3*each)
		f.lost("Extend", nodes[2].Extend(f.patient(), lease.Token, f.Lease()))
		f.Advance(f.Lease())
		for _, node := range nodes {
			node.nothing("x")
			node.take("y", each)
		}
	},

	"an action is moved, whichever nodes have put and leased it": func(f *fixture) {
		nodes := f.three()
		const each = 40
		for _, node := range nodes {
			for range each {
				node.put(node.entry("x"))
			}
		}
		lease := nodes[2].take("x", 1)[0]
		equal(f, "number", nodes[0].change(queue.Change{Move: &queue.Move{From: "x", To: "y"}}).Deliveries, 3*each)
		f.lost("Extend", nodes[2].Extend(f.patient(), lease.Token, f.Lease()))
		for _, node := range nodes {
			node.nothing("x")
			node.take("y", each)
		}
	},

	"trying leaves alone what another node has leased": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		id := a.put(a.entry("x")).Deliveries[0].ID
		lease := b.one("x", id)
		equal(f, "what trying did", a.change(queue.Change{TryDelivery: id}), queue.Changed{Leased: 1})
		b.again(lease, f.Lease())
		f.eventually("the attempt is known", func() bool { return a.find(id).Summary.Deliveries[0].Attempts == 1 })
		equal(f, "what trying did", a.change(queue.Change{TryDelivery: id}), queue.Changed{Deliveries: 1})
		c.one("x", id)
	},
}
