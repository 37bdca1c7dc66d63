package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

func TestExclusiveRunsOneAtATimeOnAllNodes(t *testing.T) {
	s := share(t)
	nodes := []*node{s.join("a", nil), s.join("b", nil), s.join("c", nil)}
	var running, calls atomic.Int32
	var done sync.WaitGroup
	for i := range 6 {
		done.Go(func() {
			for range 3 {
				if err := nodes[i%3].Exclusive(t.Context(), "x", func(context.Context) error {
					if running.Add(1) > 1 {
						t.Error("two run at once")
					}
					calls.Add(1)
					running.Add(-1)
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	if calls.Load() != 18 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestExclusiveOfANodeThatVanishesEndsWithItsLease(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	var ended atomic.Bool
	err := a.Exclusive(t.Context(), "x", func(ctx context.Context) error {
		// Nothing that it says arrives any more.
		s.exec("ALTER TABLE claims RENAME TO hidden")
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			t.Error("its context does not end")
		}
		ended.Store(true)
		s.exec("ALTER TABLE hidden RENAME TO claims")
		return b.Exclusive(t.Context(), "x", func(context.Context) error { return nil })
	})
	if err != nil || !ended.Load() {
		t.Errorf("Exclusive gave %v", err)
	}
}

func TestExclusiveEndsWhenItsClaimIsLost(t *testing.T) {
	s := share(t)
	a := s.join("a", nil)
	if err := a.Exclusive(t.Context(), "x", func(ctx context.Context) error {
		s.exec("UPDATE claims SET holder = 'another' WHERE name = 'exclusive x'")
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			t.Error("its context does not end")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s.exec("UPDATE claims SET until = until + 3600*1000000::bigint WHERE name = 'exclusive x'")
	if err := a.Exclusive(ctx, "x", func(context.Context) error { t.Error("it runs"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting gave %v", err)
	}
	a.Stop()
	if err := a.Exclusive(t.Context(), "x", func(context.Context) error { return nil }); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Exclusive of a node that has stopped gave %v", err)
	}
}

// A server that does not answer does not keep a caller waiting who set no limit.
func TestExclusiveAsksNoLongerThanItsPatience(t *testing.T) {
	s := share(t)
	a := s.join("a", nil)
	locked, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked.Exec(t.Context(), "LOCK TABLE claims IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- a.Exclusive(context.Background(), "x", func(context.Context) error { t.Error("it runs"); return nil })
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Exclusive gave %v", err)
		}
	case <-time.After(patience):
		t.Error("it waits for the server")
	}
	if err := locked.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Exclusive(t.Context(), "x", func(context.Context) error { return nil }); err != nil {
		t.Errorf("later Exclusive gave %v", err)
	}
}

// A node that hears nothing of its claim does not wait beyond the time for which that is
// valid, however long its lease is: another may have the turn then.
func TestExclusiveWaitsNoLongerThanItsClaimIsValid(t *testing.T) {
	s := share(t)
	const lease = time.Hour
	var passed atomic.Int64
	a := s.join("a", func(o *Options) {
		o.Lease, o.Clock = lease, func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	})
	c := &claim{name: "exclusive x", holder: a.holder(), valid: a.believed(a.options.Clock(), lease)}
	passed.Store(int64(lease*9/10 - 100*time.Millisecond))
	held, lost := context.WithCancelCause(t.Context())
	go a.keep(held, c, lost)
	select {
	case <-held.Done():
		if err := context.Cause(held); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends because of: %v", err)
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

func TestOneNodeLeads(t *testing.T) {
	s := share(t)
	nodes := []*node{s.join("a", nil), s.join("b", nil), s.join("c", nil)}
	// who waits until one of the nodes leads, and returns it.
	who := func(nodes ...*node) (leads *node) {
		t.Helper()
		s.eventually("one leads", func() bool {
			leads = nil
			for _, n := range nodes {
				if n.Leads() {
					if leads != nil {
						t.Fatal("two lead")
					}
					leads = n
				}
			}
			return leads != nil
		})
		for _, n := range nodes {
			once, err := n.Once(t.Context(), s.pool)
			if err != nil || once != (n == leads) {
				t.Errorf("Once of %s gave %v, %v", n.Name(), once, err)
			}
		}
		return leads
	}
	without := func(nodes []*node, one *node) []*node {
		return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return n == one })
	}
	first := who(nodes...)
	if err := first.Close(t.Context()); err != nil || first.Leads() {
		t.Errorf("closing gave %v, and it leads: %v", err, first.Leads())
	}
	nodes = without(nodes, first)
	second := who(nodes...)
	second.Stop() // it vanishes
	if third := who(without(nodes, second)...); second.Leads() || !third.Leads() {
		t.Error("a node that is cut off leads")
	}
}

func TestLaneIsOfOneNodeAtATime(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	hold := func(n *node, want Lane) {
		t.Helper()
		if got, err := n.Hold(t.Context(), s.pool, "x", n.options.Lease); err != nil || got != want {
			t.Errorf("Hold of %s gave %v, %v, want %v", n.Name(), got, err, want)
		}
	}
	mark := a.Mark()
	for _, n := range []*node{a, b} {
		n.OneNode([]string{"x"})
		if n.Lends("x", mark) || !n.OneNodeTakes("x") || !n.Lends("y", mark) || n.OneNodeTakes("y") {
			t.Errorf("node %s does not know what it may take", n.Name())
		}
	}
	// Leases that were given before are waited for, by those who do not hold them.
	s.exec("INSERT INTO waiting VALUES (1, now_us() + 3600*1000000::bigint, $1)", b.session)
	hold(a, LaneFree)
	hold(b, LaneOfThis)
	s.exec("DELETE FROM waiting")
	hold(a, LaneOfAnother)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	hold(a, LaneOfThis)

	// A lane lasts longer than what was leased under it.
	c := s.join("c", nil)
	if lane, err := a.Hold(t.Context(), s.pool, "x", time.Hour); err != nil || lane != LaneOfThis {
		t.Error(lane, err)
	}
	a.Stop()
	hold(c, LaneOfAnother)
	s.exec("UPDATE lanes SET until = until - 3600*1000000::bigint")
	s.eventually("the lane of a node that vanished goes to another", func() bool {
		lane, err := c.Hold(t.Context(), s.pool, "x", c.options.Lease)
		return err == nil && lane == LaneOfThis
	})
	c.OneNode(nil)
	if c.OneNodeTakes("x") || !c.Lends("x", c.Mark()) {
		t.Error("it is still for one node")
	}
}
