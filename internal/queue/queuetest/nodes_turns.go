package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// nodesTurnsTests are of what one node does at a time, and of which nodes there are.
var nodesTurnsTests = map[string]func(*fixture){
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
