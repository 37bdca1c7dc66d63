package queuetest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// nodesHistoryTests are of what each node tells of all.
var nodesHistoryTests = map[string]func(*fixture){
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
}
