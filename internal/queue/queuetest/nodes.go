package queuetest

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
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

// nodesTests are all that RunNodes runs, by name.
var nodesTests = func() map[string]func(*fixture) {
	all := make(map[string]func(*fixture))
	for _, tests := range []map[string]func(*fixture){nodesTakeTests, nodesChangeTests, nodesHistoryTests, nodesTurnsTests} {
		maps.Copy(all, tests)
	}
	return all
}()
