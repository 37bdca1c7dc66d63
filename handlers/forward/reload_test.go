package forward

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// crowd is a target that holds requests until it is told to let them go, and
// knows how many there were at once.
type crowd struct {
	url         string
	mu          sync.Mutex
	now, most   int
	total       int
	paths       []string
	gate        chan struct{}
	interrupted atomic.Int64
}

func newCrowd(t testing.TB) *crowd {
	c := &crowd{gate: make(chan struct{})}
	c.url = serve(t, func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.now++
		c.total++
		c.most = max(c.most, c.now)
		c.paths = append(c.paths, r.URL.Path)
		c.mu.Unlock()
		select {
		case <-c.gate:
		case <-r.Context().Done():
			c.interrupted.Add(1)
		}
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	})
	return c
}

func (c *crowd) inFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// The limit of an action holds, also across reloads that lower or raise it.
func TestConcurrency(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	with := func(n int) []*Prepared { return []*Prepared{prepare(t, config.Action{URL: c.url, Concurrency: n})} }
	ids := w.queue.add("test", eventtest.With(nil), 200)
	w.Use(with(5))
	eventually(t, "five are in flight", func() bool { return c.inFlight() == 5 })
	for range 20 {
		w.Use(with(5))
	}
	w.Use(with(2))
	c.gate <- struct{}{}
	c.gate <- struct{}{}
	c.gate <- struct{}{}
	eventually(t, "two are in flight", func() bool { return c.inFlight() == 2 })
	c.gate <- struct{}{}
	eventually(t, "the next begins", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.total == 6 && c.now == 2 })
	if c.most != 5 {
		t.Errorf("%d were in flight at once", c.most)
	}
	w.Use(with(9))
	eventually(t, "nine are in flight", func() bool { return c.inFlight() == 9 })
	close(c.gate)
	for _, id := range ids {
		w.settledAs(t, id, queue.Delivered)
	}
	if c.most != 9 || c.total != 200 {
		t.Errorf("%d of %d were in flight at once", c.most, c.total)
	}
}

// Under many reloads every delivery is attempted exactly once, and never more
// at once than the highest limit.
func TestReloadsUnderLoad(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	close(c.gate)
	var ids []string
	for i := range 60 {
		ids = append(ids, w.queue.add("test", eventtest.With(nil), 20)...)
		switch i % 4 {
		case 0:
			w.Use(nil)
		default:
			w.Use([]*Prepared{prepare(t, config.Action{URL: c.url, Concurrency: 1 + i%4})})
		}
	}
	for _, id := range ids {
		if r := w.settledAs(t, id, queue.Delivered); len(r.attempts) != 1 {
			t.Errorf("%d attempts", len(r.attempts))
		}
	}
	if c.total != len(ids) || c.most > 4 {
		t.Errorf("%d requests for %d deliveries, %d at once", c.total, len(ids), c.most)
	}
}

// Attempts in flight finish as they began, later ones use the newest
// configuration, and what belongs to no action waits.
func TestUse(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	with := func(path string) []*Prepared {
		return []*Prepared{prepare(t, config.Action{URL: c.url + path, Concurrency: 1})}
	}
	ids := w.queue.add("test", eventtest.With(nil), 3)
	w.Use(with("/old"))
	eventually(t, "one is in flight", func() bool { return c.inFlight() == 1 })
	w.Use(with("/new"))
	c.gate <- struct{}{}
	eventually(t, "the second is in flight", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.total == 2 && c.now == 1 })
	w.Use(nil)
	c.gate <- struct{}{}
	w.settledAs(t, ids[1], queue.Delivered)
	eventually(t, "nobody takes", func() bool { return w.queue.idle("test") == 0 })
	if r := w.queue.get(ids[2]); r.state != queue.Pending || r.leased || len(r.attempts) != 0 {
		t.Errorf("the third is %+v", r)
	}
	w.Use(with("/again"))
	c.gate <- struct{}{}
	w.settledAs(t, ids[2], queue.Delivered)
	if want := []string{"/old", "/new", "/again"}; !slices.Equal(c.paths, want) {
		t.Errorf("paths are %q, want %q", c.paths, want)
	}
}

// What was taken just before a reload that leaves no room for it is given back.
func TestTakenBeforeReload(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	ids := w.queue.add("test", eventtest.With(nil), 4)
	with := func(n int) []*Prepared { return []*Prepared{prepare(t, config.Action{URL: c.url, Concurrency: n})} }
	w.queue.taken = func() { w.Use(with(1)) }
	w.Use(with(4))
	eventually(t, "one is in flight", func() bool { return c.inFlight() == 1 })
	eventually(t, "three are given back", func() bool {
		given := 0
		for _, id := range ids {
			given += w.queue.get(id).given
		}
		return given == 3
	})
	w.queue.mu.Lock()
	w.queue.taken = func() { w.Use(nil) } // one is taken, and there is no action for it
	w.queue.mu.Unlock()
	c.gate <- struct{}{}
	eventually(t, "one more is given back", func() bool {
		given := 0
		for _, id := range ids {
			given += w.queue.get(id).given
		}
		return given >= 4
	})
	if c.total != 1 {
		t.Errorf("%d were sent", c.total)
	}
	close(c.gate)
	w.Use(with(4))
	for _, id := range ids {
		if r := w.settledAs(t, id, queue.Delivered); len(r.attempts) != 1 {
			t.Errorf("%d attempts", len(r.attempts))
		}
	}
}

// A reload changes actions and their targets together: no attempt is refused
// because it falls between the two.
func TestTargetsChangeWithActions(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	ids := w.queue.add("test", eventtest.With(nil), 3)
	action := []*Prepared{prepare(t, config.Action{URL: c.url, Concurrency: 1})}
	w.Use(action)
	eventually(t, "one is in flight", func() bool { return c.inFlight() == 1 })
	w.sender.Restrict(mustTargets(t, "10.0.0.0/8"))
	c.gate <- struct{}{}
	w.settledAs(t, ids[0], queue.Delivered)
	eventually(t, "the second is in flight", func() bool { return c.inFlight() == 1 })
	w.Use(action)
	c.gate <- struct{}{}
	w.settledAs(t, ids[1], queue.Delivered)
	r := w.settledAs(t, ids[2], queue.Failed)
	if want := "the target 127.0.0.1 is not among the targets that actions may call; to allow it, write in event_relay: targets 127.0.0.1 10.0.0.0/8"; r.attempts[0].Error != want {
		t.Error(r.attempts[0].Error)
	}
}

// One action's trouble is not another's.
func TestActionsAreIndependent(t *testing.T) {
	w := newWorkbench(t)
	slow, quick := newCrowd(t), newCrowd(t)
	close(quick.gate)
	w.Use([]*Prepared{
		prepare(t, config.Action{Name: "slow", URL: slow.url, Concurrency: 2}),
		prepare(t, config.Action{Name: "quick", URL: quick.url, Concurrency: 2}),
	})
	w.queue.add("slow", eventtest.With(nil), 10)
	eventually(t, "the slow one is full", func() bool { return slow.inFlight() == 2 })
	for _, id := range w.queue.add("quick", eventtest.With(nil), 50) {
		w.settledAs(t, id, queue.Delivered)
	}
	close(slow.gate)
}

// Stop waits for what is in flight, and begins nothing more.
func TestStopWaits(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	ids := w.queue.add("test", eventtest.With(nil), 5)
	w.Use([]*Prepared{prepare(t, config.Action{URL: c.url, Concurrency: 2})})
	eventually(t, "two are in flight", func() bool { return c.inFlight() == 2 })
	stopped := make(chan error)
	go func() { stopped <- w.Stop(context.Background()) }()
	eventually(t, "stopping has begun", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.stopped })
	close(c.gate)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	w.Use([]*Prepared{prepare(t, config.Action{URL: c.url})})
	delivered := 0
	for _, id := range ids {
		if r := w.queue.get(id); r.state == queue.Delivered {
			delivered++
		} else if r.leased || len(r.attempts) > 0 {
			t.Errorf("not delivered, but %+v", r)
		}
	}
	if delivered != 2 || c.total != 2 {
		t.Errorf("%d delivered, %d sent", delivered, c.total)
	}
}

// When the time is over, what is in flight is broken off and given back: due at
// once, no attempt counted.
func TestStopBreaksOff(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	ids := w.queue.add("test", eventtest.With(nil), 3)
	w.Use([]*Prepared{prepare(t, config.Action{URL: c.url}), prepare(t, config.Action{Name: "idle", URL: c.url})})
	eventually(t, "all are in flight", func() bool { return c.inFlight() == 3 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for _, id := range ids {
		if r := w.queue.get(id); r.state != queue.Pending || r.leased || len(r.attempts) > 0 || r.given != 1 || r.delivery.Due.After(w.clock.Now()) {
			t.Errorf("got %+v", r)
		}
	}
	eventually(t, "the target sees it", func() bool { return c.interrupted.Load() == 3 })
	w.sender.Close()
	eventually(t, "no goroutine of ours is left", func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "forward.(*worker)")
	})
}

// An idle action costs one goroutine.
func TestIdle(t *testing.T) {
	w := newWorkbench(t)
	c := newCrowd(t)
	close(c.gate)
	w.Use([]*Prepared{prepare(t, config.Action{URL: c.url, Concurrency: 100})})
	for _, id := range w.queue.add("test", eventtest.With(nil), 300) {
		w.settledAs(t, id, queue.Delivered)
	}
	eventually(t, "one goroutine is left", func() bool {
		stacks := make([]byte, 1<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "forward.(*worker).serve") == 1
	})
	if w.queue.mostAsk != mostTaken {
		t.Errorf("up to %d were asked for", w.queue.mostAsk)
	}
}
