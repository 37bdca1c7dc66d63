package queuetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// nodesTakeTests are of what several nodes store, take and settle.
var nodesTakeTests = map[string]func(*fixture){
	"of 99 equal entries that are put on three nodes one is stored": func(f *fixture) {
		nodes := f.three()
		f.storesOne(99, nodes...)
		work(nodes, "x", 1, ignored, ignored)
		f.nothing("x")
	},

	"what is put on one node is taken on another": func(f *fixture) {
		a, b := f, f.another()
		first := a.put(a.entry("x"))
		lease := b.one("x", first.Deliveries[0].ID)
		sameEvent(f, "the other node", lease.Event, first.Event)
		b.deliver(lease)
		done := b.waiting("x")
		b.deliver(b.woken(done, a.put(a.entry("x")).Deliveries[0].ID))
		shared([]*fixture{a, b}, "state of the first", queue.Delivered, func(f *fixture) queue.State {
			return f.find(first.Event.ID).Summary.Deliveries[0].State
		})
	},

	"what a node would have taken itself is taken on another": func(f *fixture) {
		// A node may keep what it has put for its own takers. Here there are none any more.
		a, b := f, f.another()
		a.deliver(a.one("x", a.put(a.entry("x")).Deliveries[0].ID))
		done := b.waiting("x")
		id := a.put(a.entry("x")).Deliveries[0].ID
		select {
		case got := <-done:
			if got.err != nil || len(got.leases) != 1 || got.leases[0].Delivery.ID != id {
				f.Errorf("the waiting Take gave %s and %v", ids(got.leases), got.err)
			}
		case <-time.After(f.Soon()):
			f.Advance(f.Lease())
			b.woken(done, id)
		}
	},

	"takers on three nodes never have the same": func(f *fixture) {
		nodes := f.three()
		const n = 300
		var mu sync.Mutex
		taken := make(map[string]int)
		var putting sync.WaitGroup
		for i, node := range nodes {
			putting.Go(func() {
				for range n / 30 {
					var entries []queue.Entry
					for range 10 {
						entries = append(entries, node.entry("x"))
					}
					if _, err := node.Put(f.patient(), entries); err != nil {
						f.Errorf("Put on node %d: %v", i, err)
					}
				}
			})
		}
		work(nodes, "x", n, func(_ int, leases []queue.Lease) {
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids(leases) {
				if taken[id]++; taken[id] > 1 {
					f.Errorf("delivery %s was taken %d times", id, taken[id])
				}
			}
		}, ignored)
		putting.Wait()
		equal(f, "number of deliveries", len(taken), n)
		f.nothing("x")
	},

	"order keys that three nodes feed keep their order": func(f *fixture) {
		nodes := f.three()
		const keys, each = 8, 12
		want := make(map[string][]string)
		for i := range each {
			for k := range keys {
				key := fmt.Sprint(k)
				want[key] = append(want[key], nodes[(i+k)%3].ordered("x", key).ID)
			}
		}
		var mu sync.Mutex
		got, out := make(map[string][]string), make(map[string]bool)
		work(nodes, "x", keys*each, func(node int, leases []queue.Lease) {
			mu.Lock()
			defer mu.Unlock()
			for _, lease := range leases {
				key := lease.Delivery.OrderKey
				if out[key] {
					f.Errorf("two deliveries of key %s are out at once", key)
				}
				out[key] = true
				got[key] = append(got[key], lease.Delivery.ID)
			}
		}, func(_ int, leases []queue.Lease) {
			mu.Lock()
			defer mu.Unlock()
			for _, lease := range leases {
				delete(out, lease.Delivery.OrderKey)
			}
		})
		for key := range want {
			equalIDs(f, "order of key "+key, got[key], want[key])
		}
	},

	"the head of a key holds it on every node, also while it waits": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		head, next, last := a.ordered("x", "k"), b.ordered("x", "k"), c.ordered("x", "k")
		b.again(b.one("x", head.ID), f.Lease())
		for _, node := range nodes {
			node.nothing("x")
		}
		f.Advance(f.Lease())
		lease := c.one("x", head.ID)
		equal(f, "attempts", lease.Delivery.Attempts, 1)
		a.nothing("x")
		done := a.waiting("x")
		c.deliver(lease)
		a.deliver(a.woken(done, next.ID))
		b.one("x", last.ID)
	},

	"what is added on one node is taken on another": func(f *fixture) {
		nodes := f.three()
		e := nodes[0].put(f.entry())
		done := nodes[2].waiting("x")
		added := nodes[1].add(e, "x")
		nodes[2].woken(done, added.ID)
	},

	"the lease of a node that vanished ends, and its key goes on in order": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		head, next := a.ordered("x", "k"), a.ordered("x", "k")
		b.one("x", head.ID)
		b.kill()
		a.nothing("x")
		f.Advance(f.Lease() / 2)
		c.nothing("x")
		done := a.waiting("x")
		f.Advance(f.Lease() / 2)
		lease := a.woken(done, head.ID)
		equal(f, "attempts", lease.Delivery.Attempts, 0)
		c.nothing("x")
		a.deliver(lease)
		c.one("x", next.ID)
	},

	"what a node has put is not lost with it": func(f *fixture) {
		a, b := f.another(), f
		a.deliver(a.one("x", a.put(a.entry("x")).Deliveries[0].ID)) // it takes, and may keep what it puts for itself
		want := make(map[string]bool)
		for range 20 {
			want[a.put(a.entry("x")).Deliveries[0].ID] = true
		}
		a.take("x", 5)
		a.kill()
		f.Advance(f.Lease())
		for _, lease := range b.take("x", 20) {
			if !want[lease.Delivery.ID] {
				f.Errorf("delivery %s is given twice, or was settled", lease.Delivery.ID)
			}
			delete(want, lease.Delivery.ID)
		}
	},

	"Close gives back the leases of its node, and no others": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		f.putAll(f.entry("x"), f.entry("x"))
		mine, other := b.take("x", 1)[0], c.take("x", 1)[0]
		a.nothing("x")
		done := a.waiting("x")
		b.close()
		a.woken(done, mine.Delivery.ID)
		a.nothing("x")
		if err := c.Extend(f.patient(), other.Token, f.Lease()); err != nil {
			f.Errorf("Extend of the lease of another node: %v", err)
		}
		c.deliver(other)
		a.state(other.Delivery.ID, queue.Delivered)
	},

	"Close of one node leaves the others open": func(f *fixture) {
		a, b := f, f.another()
		a.close()
		b.deliver(b.one("x", b.put(b.entry("x")).Deliveries[0].ID))
		c := b.another()
		c.one("y", b.put(b.entry("y")).Deliveries[0].ID)
	},
}
