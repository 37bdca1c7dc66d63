package queuetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// witness is told what an engine does wrong, in place of the test.
type witness struct {
	*testing.T
	mu       sync.Mutex
	said     []string
	cleanups []func()
}

func (w *witness) say(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *witness) Error(values ...any)                 { w.say(fmt.Sprintln(values...)) }
func (w *witness) Errorf(format string, values ...any) { w.say(fmt.Sprintf(format, values...)) }
func (w *witness) Fatal(values ...any)                 { w.Error(values...); runtime.Goexit() }
func (w *witness) Fatalf(format string, values ...any) { w.Errorf(format, values...); runtime.Goexit() }
func (w *witness) Failed() bool                        { w.mu.Lock(); defer w.mu.Unlock(); return len(w.said) > 0 }

func (w *witness) Cleanup(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleanups = append(w.cleanups, f)
}

// blames runs a test of the suite over an engine that is broken, and checks that it
// fails for the reason that is expected.
func blames(t *testing.T, test func(*fixture), harness Harness, want string) {
	w := &witness{T: t}
	f := newFixture(t, w, harness)
	f.patience = time.Second // a call that never returns is as wrong as a wrong one
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		test(f)
	}()
	<-ended
	for _, cleanup := range slices.Backward(w.cleanups) {
		cleanup()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.said, func(said string) bool { return strings.Contains(said, want) }) {
		t.Errorf("the suite says %q of it, want %q", w.said, want)
	}
}

// brokenNodes has for each test of nodes an engine that breaks one promise, and what
// the suite says of it.
var brokenNodes = map[string]struct {
	breaks func(number int, whole node) node
	said   string
}{
	"of 99 equal entries that are put on three nodes one is stored": {
		second(func(n node) node { return forgetsDedupe{n} }), "of 99 were stored as themselves",
	},
	"what is put on one node is taken on another": {
		second(func(n node) node { return takesNothing{n} }), "Take(x) after 0 of 1",
	},
	"what a node would have taken itself is taken on another": {
		second(func(n node) node { return takesNothing{n} }), "the waiting Take gave",
	},
	"takers on three nodes never have the same": {
		second(func(n node) node { return &repeatsLease{node: n} }), "was taken 2 times",
	},
	"order keys that three nodes feed keep their order": {
		second(func(n node) node { return forgetsKey{n} }), "out at once",
	},
	"the head of a key holds it on every node, also while it waits": {
		second(func(n node) node { return forgetsKey{n} }), "want nothing",
	},
	"an action that is paused on one node is paused on each": {
		second(func(n node) node { return changesLater{n} }), "number of switches",
	},
	"no call of Take that begins after a pause gives a lease": {
		first(func(n node) node { return changesNothing{n} }), "a call of Take that began after the pause gave",
	},
	"a switch is obeyed on each node when the command returns": {
		second(func(n node) node { return obeysNothing{n} }), "calls on node 1",
	},
	"a switch does not wait for a node that vanished": {
		first(func(n node) node { return changesNothing{n} }), "before node 1 obeys",
	},
	"cancelling on one node takes away what another has leased": {
		second(func(n node) node { return extendsAll{n} }), "Extend gave",
	},
	"cancelling the head on one node releases the next on another": {
		first(func(n node) node { return changesNothing{n} }), "the waiting Take gave",
	},
	"an action is cancelled, whichever nodes have put and leased it": {
		first(func(n node) node { return changesNothing{n} }), "number is 0, want 120",
	},
	"an action is moved, whichever nodes have put and leased it": {
		first(func(n node) node { return changesNothing{n} }), "number is 0, want 120",
	},
	"trying leaves alone what another node has leased": {
		first(func(n node) node { return changesNothing{n} }), "what trying did",
	},
	"what is added on one node is taken on another": {
		third(func(n node) node { return takesNothing{n} }), "the waiting Take gave",
	},
	"the lease of a node that vanished ends, and its key goes on in order": {
		third(func(n node) node { return &takesAny{node: n} }), "want nothing",
	},
	"what a node has put is not lost with it": {
		second(func(n node) node { return losesHalf{n} }), "Take(x) after",
	},
	"Close gives back the leases of its node, and no others": {
		second(func(n node) node { return givesBackNothing{n} }), "the waiting Take gave",
	},
	"Close of one node leaves the others open": {
		first(func(n node) node { return closesAll{n} }), queue.ErrClosed.Error(),
	},
	"Watch tells of what other nodes stored and changed": {
		second(func(n node) node { return watchesNothing{n} }), "the other node tells",
	},
	"the backlog is that of all nodes, and a sample counts once": {
		each(func(n node) node { return addsSamples{n} }), "the samples are [18]",
	},
	"counts of all nodes add up": {
		third(func(n node) node { return countsOwn{n} }), "number of events",
	},
	"uses of all nodes are counted once": {
		second(func(n node) node { return countsTwice{n} }), "uses of",
	},
	"Prune on all nodes at once removes each event once": {
		third(func(n node) node { return prunesAgain{n} }), "number is",
	},
	"Exclusive is so over all nodes": {
		second(func(n node) node { return excludesNothing{n} }), "two run at once",
	},
	"Exclusive ends with a node that vanished": {
		first(func(n node) node { return &waitsForEver{node: n} }), "Exclusive after the other node has vanished",
	},
	"an action of one node is taken on one node": {
		second(func(n node) node { return takesEverywhere{n} }), "want nothing",
	},
	"no two nodes hold leases of an action of one node": {
		second(func(n node) node { return takesEverywhere{n} }), "while node",
	},
	"an action is no longer one of one node": {
		second(func(n node) node { return staysOne{n} }), "Take(x) after 0 of 1",
	},
	"one node leads, and another after it": {
		second(func(n node) node { return leads{n} }), "nodes lead",
	},
	"every node knows all": {
		second(func(n node) node { return describesNothing{n} }), "knows what node 1 runs",
	},
	"events and notes say which node they are of": {
		third(func(n node) node { return asAnother{n} }), "node of the event",
	},
}

// first, second, third and each choose the nodes that are broken.
func first(breaks func(node) node) func(int, node) node  { return only(0, breaks) }
func second(breaks func(node) node) func(int, node) node { return only(1, breaks) }
func third(breaks func(node) node) func(int, node) node  { return only(2, breaks) }
func each(breaks func(node) node) func(int, node) node {
	return func(_ int, whole node) node { return breaks(whole) }
}

func only(which int, breaks func(node) node) func(int, node) node {
	return func(number int, whole node) node {
		if number == which {
			return breaks(whole)
		}
		return whole
	}
}

func TestBrokenNodesFail(t *testing.T) {
	t.Parallel()
	for name, test := range nodesTests {
		broken, ok := brokenNodes[name]
		if !ok {
			t.Errorf("no broken engine shows that the test %q can fail", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blames(t, test, newStorage(t, broken.breaks), broken.said)
		})
	}
	for name := range brokenNodes {
		if nodesTests[name] == nil {
			t.Errorf("there is no test %q", name)
		}
	}
}

// forgetsDedupe stores each entry as itself.
type forgetsDedupe struct{ node }

func (e forgetsDedupe) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].DedupeKey = ""
	}
	return e.node.Put(ctx, entries)
}

// forgetsKey puts deliveries without their order key.
type forgetsKey struct{ node }

func (e forgetsKey) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Deliveries = slices.Clone(entries[i].Deliveries)
		for j := range entries[i].Deliveries {
			entries[i].Deliveries[j].OrderKey = ""
		}
	}
	return e.node.Put(ctx, entries)
}

// losesHalf loses what a node has put when that is gone.
type losesHalf struct{ node }

func (e losesHalf) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	if rand.IntN(2) == 0 {
		entries = slices.Clone(entries)
		for i := range entries {
			entries[i].Deliveries = nil
		}
	}
	return e.node.Put(ctx, entries)
}

// countsTwice counts each use twice.
type countsTwice struct{ node }

func (e countsTwice) Uses(ctx context.Context) ([]queue.Use, error) {
	uses, err := e.node.Uses(ctx)
	for i := range uses {
		uses[i].Count *= 2
	}
	return uses, err
}

// takesNothing takes nothing that was put on another node, and here nothing was put on
// this one.
type takesNothing struct{ node }

func (takesNothing) Take(ctx context.Context, _ string, _ int) ([]queue.Lease, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// repeatsLease hands out a lease again.
type repeatsLease struct {
	node
	again atomic.Pointer[queue.Lease]
}

func (e *repeatsLease) Take(ctx context.Context, action string, n int) ([]queue.Lease, error) {
	if lease := e.again.Swap(nil); lease != nil {
		return []queue.Lease{*lease}, nil
	}
	leases, err := e.node.Take(ctx, action, n)
	if len(leases) > 0 {
		e.again.Store(&leases[0])
	}
	return leases, err
}

// takesAny hands out what another node has leased.
type takesAny struct{ node }

func (e *takesAny) Take(context.Context, string, int) ([]queue.Lease, error) {
	return []queue.Lease{{Delivery: queue.Delivery{ID: "of another node"}}}, nil
}

// takesEverywhere knows no actions of one node.
type takesEverywhere struct{ node }

func (takesEverywhere) OneNode([]string) {}

// staysOne keeps an action one of one node.
type staysOne struct{ node }

func (e staysOne) OneNode(actions []string) {
	if len(actions) > 0 {
		e.node.OneNode(actions)
	}
}

// changesLater returns before the change is in force.
type changesLater struct{ node }

func (e changesLater) Change(_ context.Context, change queue.Change) (queue.Changed, error) {
	time.AfterFunc(100*time.Millisecond, func() { _, _ = e.node.Change(context.Background(), change) })
	return queue.Changed{}, nil
}

// changesNothing does not change what other nodes have.
type changesNothing struct{ node }

func (changesNothing) Change(context.Context, queue.Change) (queue.Changed, error) {
	return queue.Changed{}, nil
}

// extendsAll does not notice that a lease is lost.
type extendsAll struct{ node }

func (extendsAll) Extend(context.Context, queue.Token, time.Duration) error { return nil }

// givesBackNothing closes as if it were killed.
type givesBackNothing struct{ node }

func (givesBackNothing) Close() error { return nil }

// closesAll closes the storage for all.
type closesAll struct{ node }

func (e closesAll) Close() error {
	for _, other := range e.node.(*member).nodes {
		if err := other.Close(); err != nil {
			return err
		}
	}
	return nil
}

// watchesNothing tells of no events.
type watchesNothing struct{ node }

func (e watchesNothing) Watch(ctx context.Context) <-chan queue.Changes {
	told := make(chan queue.Changes)
	go func() {
		defer close(told)
		for changes := range e.node.Watch(ctx) {
			changes.Events = nil
			select {
			case told <- changes:
			case <-ctx.Done():
			}
		}
	}()
	return told
}

// addsSamples adds up the samples of three nodes.
type addsSamples struct{ node }

func (e addsSamples) Series(ctx context.Context, since, until time.Time, n int) (queue.Series, error) {
	series, err := e.node.Series(ctx, since, until, n)
	for _, point := range series.Points {
		for action, sample := range maps.Clone(point.Backlog) {
			sample.Count *= 3
			point.Backlog[action] = sample
		}
	}
	return series, err
}

// countsOwn leaves out what another node has counted.
type countsOwn struct{ node }

func (e countsOwn) Series(ctx context.Context, since, until time.Time, n int) (queue.Series, error) {
	series, err := e.node.Series(ctx, since, until, n)
	for _, point := range series.Points {
		if point.Events[rules.Act] > 0 {
			point.Events[rules.Act]--
		}
	}
	return series, err
}

// prunesAgain counts what another node has removed.
type prunesAgain struct{ node }

func (e prunesAgain) Prune(ctx context.Context, before time.Time, size int64) (int, error) {
	n, err := e.node.Prune(ctx, before, size)
	return n + 1, err
}

// excludesNothing does not wait for other nodes.
type excludesNothing struct{ node }

func (excludesNothing) Exclusive(ctx context.Context, _ string, f func(context.Context) error) error {
	return f(ctx)
}

// waitsForEver waits for a node that is gone.
type waitsForEver struct{ node }

func (e *waitsForEver) Exclusive(ctx context.Context, _ string, _ func(context.Context) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// leads leads even if another does.
type leads struct{ node }

func (leads) Leads() bool { return true }

// obeysNothing does not ask this node to obey switches.
type obeysNothing struct{ node }

func (obeysNothing) OnSwitches(func(context.Context) error) {}

// describesNothing does not tell the others what it runs.
type describesNothing struct{ node }

func (describesNothing) Describe(queue.Description) {}

// asAnother receives events as another node.
type asAnother struct{ node }

func (e asAnother) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	return e.node.(*member).nodes[0].Put(ctx, entries)
}
