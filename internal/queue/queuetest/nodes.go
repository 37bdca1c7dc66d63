package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Cluster gives the suite engines that have the same storage open at once. They
// implement queue.Cluster.
type Cluster interface {
	Harness

	// Another opens the storage as one more node, as another process does. Now and
	// Advance are the time of all nodes: that of the storage.
	Another(t *testing.T) queue.Engine

	// Kill ends a node as the end of its process does: it writes nothing more, gives
	// nothing back and says nothing. Calls of it give any error. Close does nothing.
	Kill(engine queue.Engine)
}

// RunNodes runs the part of the suite for engines whose storage several processes
// have open at once. They pass Run as well. Each test gets a harness with a storage of
// its own.
func RunNodes(t *testing.T, cluster func(t *testing.T) Cluster) {
	for name, test := range nodesTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newFixture(t, t, cluster(t)))
		})
	}
}

// another opens one more node.
func (f *fixture) another() *fixture {
	f.Helper()
	other := *f
	other.Engine = f.Harness.(Cluster).Another(f.t)
	f.Cleanup(func() { other.Engine.Close() })
	return &other
}

// three returns three nodes, the first of which is open.
func (f *fixture) three() []*fixture { return []*fixture{f, f.another(), f.another()} }

func (f *fixture) kill() { f.Harness.(Cluster).Kill(f.Engine) }

func (f *fixture) cluster() queue.Cluster {
	f.Helper()
	cluster, ok := f.Engine.(queue.Cluster)
	if !ok {
		f.Fatalf("%T is no queue.Cluster", f.Engine)
	}
	return cluster
}

func (f *fixture) close() {
	f.Helper()
	if err := f.Engine.Close(); err != nil {
		f.Fatalf("closing: %v", err)
	}
}

// unending returns a context that ends with the test.
func (f *fixture) unending() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	return ctx
}

// work takes deliveries of an action on each of some nodes, by several goroutines, and
// delivers them until there were n. began is called before the attempts at what was
// taken, and ended before they are settled.
func work(nodes []*fixture, action string, n int64, began, ended func(node int, leases []queue.Lease)) {
	f := nodes[0]
	f.Helper()
	var delivered atomic.Int64
	ctx, cancel := context.WithCancel(f.patient())
	defer cancel()
	var done sync.WaitGroup
	for i, node := range nodes {
		for range 3 {
			done.Go(func() {
				for {
					leases, err := node.Take(ctx, action, 4)
					if err != nil {
						if ctx.Err() == nil {
							f.Errorf("Take: %v", err)
						}
						return
					}
					began(i, leases)
					time.Sleep(time.Millisecond) // the attempts
					ended(i, leases)
					for _, lease := range leases {
						if err := node.Settle(lease.Token, queue.Settlement{State: queue.Delivered, Attempt: f.attempt(200, "")}); err != nil {
							f.Errorf("Settle: %v", err)
						}
						if delivered.Add(1) == n {
							cancel()
						}
					}
				}
			})
		}
	}
	done.Wait()
	if got := delivered.Load(); got != n {
		f.Errorf("%d deliveries were delivered, want %d", got, n)
	}
}

// ignored is what work calls where nothing is of interest.
func ignored(int, []queue.Lease) {}

// shared checks that a call on each node gives the same, once each knows.
func shared[T comparable](nodes []*fixture, what string, want T, get func(node *fixture) T) {
	f := nodes[0]
	f.Helper()
	for i, node := range nodes {
		node.eventually(fmt.Sprintf("%s is %v on node %d", what, want, i), func() bool { return get(node) == want })
	}
}

var nodesTests = map[string]func(*fixture){
	"of 99 equal entries that are put on three nodes one is stored": func(f *fixture) {
		nodes := f.three()
		var done sync.WaitGroup
		receipts, entries := make([]queue.Receipt, 99), make([]queue.Entry, 99)
		for i := range entries {
			entries[i] = f.dedupe("k", "x")
			done.Go(func() {
				got, err := nodes[i%3].Put(f.patient(), entries[i:i+1])
				if err != nil || len(got) != 1 {
					f.Errorf("Put gave %d receipts and %v", len(got), err)
					return
				}
				receipts[i] = got[0]
			})
		}
		done.Wait()
		var stored []string
		for i, r := range receipts {
			if r.DuplicateOf == "" {
				stored = append(stored, entries[i].Event.ID)
			}
		}
		if len(stored) != 1 {
			f.Fatalf("%d of 99 were stored as themselves, want 1", len(stored))
		}
		for i, r := range receipts {
			if r.DuplicateOf != "" && r.DuplicateOf != stored[0] {
				f.Errorf("receipt %d names %s, want %s", i, r.DuplicateOf, stored[0])
			}
		}
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
			nodes[1].put(f.entry("x"))
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

	"Watch tells of what other nodes stored and changed": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		watch := b.Watch(f.unending())
		// Other nodes may learn a moment later that there is a watcher.
		e := queue.Entry{}
		toldOf := make(map[string]bool)
		f.eventually("the other node tells", func() bool {
			e = a.put(a.entry("x", "y"))
			select {
			case changes, ok := <-watch:
				if !ok {
					f.Fatal("the channel is closed")
				}
				for _, id := range changes.Events {
					toldOf[id] = true
				}
			case <-time.After(f.Soon()):
			}
			return len(toldOf) > 0
		})
		e = a.put(a.entry("z"))
		b.told(watch, e.Event.ID)
		c.deliver(c.one("z", e.Deliveries[0].ID))
		b.told(watch, e.Event.ID)
		b.state(e.Deliveries[0].ID, queue.Delivered)
		e = c.put(c.entry("z"))
		b.told(watch, e.Event.ID)
		a.change(queue.Change{CancelDelivery: e.Deliveries[0].ID})
		b.told(watch, e.Event.ID)
		a.add(e, "z")
		b.told(watch, e.Event.ID)
	},

	"Watch tells that another node turned a switch": func(f *fixture) {
		nodes := f.three()
		a, b := nodes[0], nodes[1]
		watch := b.Watch(f.unending())
		for _, turned := range []queue.Switch{
			{Kind: queue.SwitchEvent, Name: "pbx:incoming_call", Off: true}, {Kind: queue.SwitchAll, Off: true}, {Kind: queue.SwitchEvent, Name: "pbx:incoming_call"},
		} {
			a.turn(turned)
			f.eventually("the watcher is told of the switch", func() bool {
				select {
				case changes, ok := <-watch:
					if !ok {
						f.Fatal("the channel is closed")
					}
					return changes.Switches
				case <-time.After(f.Soon()):
					return false
				}
			})
			_, isOff := b.switches()[string(turned.Kind)+turned.Name]
			equal(f, fmt.Sprintf("that %s %s is off", turned.Kind, turned.Name), isOff, turned.Off)
		}
	},

	"the backlog is that of all nodes, and a sample counts once": func(f *fixture) {
		nodes := f.three()
		begin := f.Now()
		for _, node := range nodes {
			node.putAll(node.entry("x"), node.entry("x"))
		}
		for _, node := range nodes {
			shared([]*fixture{node}, "backlog", 6, func(f *fixture) int {
				backlog, err := f.Backlog(f.patient())
				if err != nil || len(backlog) != 1 {
					f.Fatalf("the backlog is %+v and %v", backlog, err)
				}
				return backlog[0].Count
			})
		}
		var done sync.WaitGroup
		for i, node := range nodes {
			done.Go(func() {
				if err := node.Sample(f.patient()); err != nil {
					f.Errorf("Sample on node %d: %v", i, err)
				}
			})
		}
		done.Wait()
		f.Advance(time.Minute)
		for _, node := range nodes {
			series, err := node.Series(f.patient(), begin, f.Now(), 10)
			if err != nil {
				f.Fatal(err)
			}
			var counts []int
			for _, point := range series.Points {
				if sample, ok := point.Backlog["x"]; ok {
					counts = append(counts, sample.Count)
				}
			}
			if !slices.Equal(counts, []int{6}) {
				f.Errorf("the samples are %v, want one of 6", counts)
			}
		}
	},

	"counts of all nodes add up": func(f *fixture) {
		nodes := f.three()
		begin := f.Now()
		for i, node := range nodes {
			for range i + 1 {
				node.deliver(node.one("x", node.put(node.entry("x")).Deliveries[0].ID))
			}
		}
		for _, node := range nodes {
			shared([]*fixture{node}, "number of events and of deliveries that were delivered", [2]int{6, 6}, func(f *fixture) (got [2]int) {
				total := f.total(begin)
				return [2]int{total.Events[rules.Act], total.Deliveries[queue.Delivered]}
			})
		}
	},

	"uses of all nodes are counted once": func(f *fixture) {
		nodes := f.three()
		a, b := nodes[0], nodes[1]
		began := f.Now()
		a.exist(call, rule("r"), action("x"))
		a.put(f.held(f.entry("x"), "r"))
		f.Advance(f.Lease() / 2)
		b.exist(call, rule("r"), action("x")) // as a node does that starts later
		for _, node := range nodes {
			node.put(f.held(f.entry("x"), "r"))
		}
		nodes[2].settle(nodes[2].take("x", 1)[0], queue.Settlement{State: queue.Failed, Attempt: f.attempt(400, "no")})
		b.deliver(b.take("x", 1)[0])
		for _, node := range nodes {
			for _, thing := range []queue.Thing{call, rule("r"), action("x")} {
				node.wantUses(thing, 4, began, f.Now())
				equalTime(f, "begin of "+thing.Name, node.use(thing).Since, began)
				equalTime(f, "end of "+thing.Name, node.use(thing).Gone, time.Time{})
			}
			shared([]*fixture{node}, "ends", [2]int64{1, 1}, func(f *fixture) [2]int64 {
				use := f.use(action("x"))
				return [2]int64{use.Delivered, use.Failed}
			})
		}
	},

	"Prune on all nodes at once removes each event once": func(f *fixture) {
		nodes := f.three()
		const n = 400
		var entries []queue.Entry
		for range n {
			entries = append(entries, f.entry())
		}
		f.putAll(entries...)
		waits := f.put(f.entry("x")).Event.ID
		f.Advance(f.Lease())
		limit := f.Now()
		young := nodes[1].put(f.entry()).Event.ID
		var removed atomic.Int64
		var done sync.WaitGroup
		for i, node := range nodes {
			done.Go(func() {
				got, err := node.Prune(f.patient(), limit, 0)
				if err != nil {
					f.Errorf("Prune on node %d: %v", i, err)
				}
				removed.Add(int64(got))
			})
		}
		done.Wait()
		equal(f, "number", removed.Load(), n)
		equalIDs(f, "events that are left", eventIDs(nodes[2].all(queue.Filter{}, 100)), []string{young, waits})
	},

	"Exclusive is so over all nodes": func(f *fixture) {
		nodes := f.three()
		var running, calls atomic.Int32
		var done sync.WaitGroup
		for i, node := range nodes {
			for range 2 {
				done.Go(func() {
					for range 10 {
						if err := node.Exclusive(f.patient(), "a", func(context.Context) error {
							if running.Add(1) > 1 {
								f.Error("two run at once")
							}
							calls.Add(1)
							time.Sleep(time.Millisecond)
							running.Add(-1)
							return nil
						}); err != nil {
							f.Errorf("Exclusive on node %d: %v", i, err)
						}
					}
				})
			}
		}
		done.Wait()
		equal(f, "number of calls", calls.Load(), 60)
		if err := nodes[0].Exclusive(f.patient(), "a", func(ctx context.Context) error {
			return nodes[1].Exclusive(ctx, "b", func(context.Context) error { return nil })
		}); err != nil {
			f.Errorf("Exclusive of another name: %v", err)
		}
	},

	"Exclusive ends with a node that vanished": func(f *fixture) {
		a, b := f, f.another()
		holds, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			_ = b.Exclusive(f.patient(), "a", func(context.Context) error { close(holds); <-release; return nil })
		}()
		select {
		case <-holds:
		case <-ended:
			f.Fatal("Exclusive has not run its function")
		}
		defer func() { close(release); <-ended }()
		short, cancel := context.WithTimeout(f.patient(), f.Soon())
		defer cancel()
		if err := a.Exclusive(short, "a", func(context.Context) error { f.Error("two run at once"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			f.Errorf("Exclusive gave %v, want its context's error", err)
		}
		b.kill()
		f.Advance(f.Lease())
		if err := a.Exclusive(f.patient(), "a", func(context.Context) error { return nil }); err != nil {
			f.Errorf("Exclusive after the other node has vanished: %v", err)
		}
	},

	"an action of one node is taken on one node": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		for _, node := range nodes {
			node.cluster().OneNode([]string{"x"})
		}
		const n = 12
		for range n / 3 {
			for _, node := range nodes {
				node.put(node.entry("x", "y"))
			}
		}
		a.take("x", 2)
		b.nothing("x")
		c.nothing("x")
		b.take("y", n)
		// Another follows one that has ended,
		done := b.waiting("x")
		a.close()
		first := <-done
		if first.err != nil || len(first.leases) != 1 {
			f.Fatalf("the waiting Take gave %s and %v", ids(first.leases), first.err)
		}
		c.nothing("x")
		// or that has vanished.
		b.kill()
		done = c.waiting("x")
		f.Advance(f.Lease())
		if got := <-done; got.err != nil || len(got.leases) != 1 {
			f.Fatalf("the waiting Take gave %s and %v", ids(got.leases), got.err)
		}
		c.take("x", n-1)
	},

	"no two nodes hold leases of an action of one node": func(f *fixture) {
		nodes := f.three()
		const n = 200
		for _, node := range nodes {
			node.cluster().OneNode([]string{"x"})
			for range n / 4 {
				node.put(node.entry("x"))
			}
		}
		var putting sync.WaitGroup
		putting.Go(func() {
			for range n / 4 {
				nodes[1].put(f.entry("x"))
			}
		})
		var mu sync.Mutex
		held := make([]int, len(nodes))
		work(nodes, "x", n, func(node int, leases []queue.Lease) {
			mu.Lock()
			defer mu.Unlock()
			held[node] += len(leases)
			for other, holds := range held {
				if other != node && holds > 0 {
					f.Errorf("node %d took %d while node %d held %d", node, len(leases), other, holds)
				}
			}
		}, func(node int, leases []queue.Lease) {
			mu.Lock()
			defer mu.Unlock()
			held[node] -= len(leases)
		})
		putting.Wait()
	},

	"an action is no longer one of one node": func(f *fixture) {
		a, b := f, f.another()
		for _, node := range []*fixture{a, b} {
			node.cluster().OneNode([]string{"x"})
		}
		f.putAll(f.entry("x"), f.entry("x"), f.entry("x"))
		a.take("x", 1)
		b.nothing("x")
		for _, node := range []*fixture{a, b} {
			node.cluster().OneNode(nil)
		}
		b.take("x", 1)
		a.take("x", 1)
	},

	"one node leads, and another after it": func(f *fixture) {
		nodes := f.three()
		for len(nodes) > 0 {
			leader := -1
			f.eventually(fmt.Sprintf("one of %d nodes leads", len(nodes)), func() bool {
				leads := 0
				for i, node := range nodes {
					if node.cluster().Leads() {
						leader = i
						leads++
					}
				}
				if leads > 1 {
					f.Fatalf("%d nodes lead", leads)
				}
				return leads == 1
			})
			if len(nodes) == 3 {
				nodes[leader].kill()
				f.Advance(f.Lease())
			} else {
				nodes[leader].close()
			}
			nodes = slices.Delete(nodes, leader, leader+1)
		}
	},

	"every node knows all": func(f *fixture) {
		nodes := f.three()
		names := make(map[string]bool)
		for i, node := range nodes {
			names[node.cluster().Node()] = true
			node.cluster().Describe(queue.Description{Version: "1.2", Configuration: fmt.Sprint("digest ", i), Delivers: i > 0})
		}
		if len(names) != 3 || names[""] {
			f.Errorf("the names are %v", names)
		}
		// known returns what a node says of another.
		known := func(asked, of *fixture) queue.Node {
			all, err := asked.cluster().Nodes(f.patient())
			if err != nil {
				f.Fatalf("Nodes: %v", err)
			}
			if !slices.IsSortedFunc(all, func(a, b queue.Node) int { return strings.Compare(a.Name, b.Name) }) {
				f.Errorf("the nodes are not ordered by name: %+v", all)
			}
			at := slices.IndexFunc(all, func(n queue.Node) bool { return n.Name == of.cluster().Node() })
			if at < 0 || len(all) != 3 {
				f.Fatalf("%s is not among the nodes, or they are not three: %+v", of.cluster().Node(), all)
			}
			return all[at]
		}
		for i, of := range nodes {
			for j, asked := range nodes {
				want := queue.Description{Version: "1.2", Configuration: fmt.Sprint("digest ", i), Delivers: i > 0}
				asked.eventually(fmt.Sprintf("node %d knows what node %d runs", j, i), func() bool { return known(asked, of).Description == want })
				node := known(asked, of)
				equal(f, "that it lives", node.Lives, true)
				equal(f, "that it is closed", node.Closed, false)
				equal(f, "that it is the one that was asked", node.Self, i == j)
				f.near("start", node.Started, f.Now())
				f.near("sign of life", node.Seen, f.Now())
			}
		}
		a, b, c := nodes[0], nodes[1], nodes[2]
		b.close()
		a.eventually("it is known that a node was closed", func() bool { return !known(a, b).Lives })
		c.kill()
		equal(f, "that a node lives until its time is over", known(a, c).Lives, true)
		f.Advance(f.Lease())
		a.eventually("it is known that a node has vanished", func() bool { return !known(a, c).Lives })
		equal(f, "that the one that was closed is known as closed", known(a, b).Closed, true)
		equal(f, "that the one that has vanished is known as closed", known(a, c).Closed, false)
		a.eventually("the last one lives", func() bool { return known(a, a).Lives })
	},

	"events and notes say which node they are of": func(f *fixture) {
		nodes := f.three()
		a, b, c := nodes[0], nodes[1], nodes[2]
		for _, node := range nodes {
			e := node.put(node.entry())
			equal(f, "node of the event", a.find(e.Event.ID).Summary.Node, node.cluster().Node())
			page := c.all(queue.Filter{}, 10)
			equal(f, "node of the newest event", page[0].Node, node.cluster().Node())
			node.note(queue.Note{Kind: "other", Name: node.cluster().Node()})
		}
		for _, note := range b.notes("other", 10) {
			equal(f, "node of the note", note.Node, note.Name)
		}
		c.kill()
		b.close()
		starts := make(map[string]int)
		for _, note := range a.notes(queue.NoteStart, 10) {
			starts[note.Node]++
		}
		for i, node := range nodes {
			equal(f, fmt.Sprint("starts of node ", i), starts[node.cluster().Node()], 1)
		}
		stops := a.notes(queue.NoteStop, 10)
		if len(stops) != 1 || stops[0].Node != b.cluster().Node() {
			f.Errorf("the stops are %+v, want one of %s", stops, b.cluster().Node())
		}
	},
}
