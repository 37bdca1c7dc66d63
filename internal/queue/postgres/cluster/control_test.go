package cluster

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestChangeIsObeyedByEveryNodeWhenItReturns(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"notified": nil,
		// A lost notification costs time, no more.
		"not notified": func(o *Options) { o.Schema = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			s := share(t)
			a, b, c := s.join("a", nil), s.join("b", change), s.join("c", nil)
			for range 3 {
				before := b.Mark()
				if !b.Lends("x", before) || !b.Lends("y", before) {
					t.Fatal("it does not lend")
				}
				if err := s.pause(a, "x", true); err != nil {
					t.Fatal(err)
				}
				for _, n := range []*node{a, b, c} {
					if n.Lends("x", n.Mark()) {
						t.Errorf("node %s lends what was paused", n.Name())
					}
				}
				if !b.Lends("y", before) {
					t.Error("it does not lend what was not changed")
				}
				if err := s.pause(c, "x", false); err != nil {
					t.Fatal(err)
				}
				if b.Lends("x", before) {
					t.Error("it lends what was leased before the change")
				}
				if !b.Lends("x", b.Mark()) {
					t.Error("it does not lend what was leased after the change")
				}
			}
			if !b.has(func(h *heard) bool {
				return slices.Contains(h.changed, "x")
			}) {
				t.Errorf("the engine was told %+v", b.changed)
			}
		})
	}
}

// A node that hangs counts as dead after its lease. It does not lend by then, nor when
// it goes on, before it has heard of the change.
func TestChangeWaitsForANodeThatHangsAsLongAsItLives(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	s.connected(b)
	b.refreshing.Lock() // it hangs where it would obey
	mark := b.Mark()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	epoch, err := a.Raise(t.Context(), s.pool, false, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Obeyed(ctx, epoch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it was not waited for: %v", err)
	}
	if err := a.Obeyed(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	if b.Lends("x", mark) || b.Lends("y", mark) {
		t.Error("it lends though others take it for dead")
	}
	b.refreshing.Unlock()
	s.eventually("it lends again", func() bool { return b.Lends("y", mark) })
	if b.Lends("x", mark) {
		t.Error("it lends what was leased before the change")
	}
}

// A node whose engine cannot obey is waited for as long as its lease lasts, and not for
// ever. It comes back when it can.
func TestChangeDoesNotWaitForeverForANodeThatCannotObey(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	var obeys atomic.Bool
	b.OnSwitches(func(context.Context) error {
		if obeys.Load() {
			return nil
		}
		return errors.New("not now")
	})
	if err := s.pause(a, "x", true); err != nil {
		t.Fatal(err)
	}
	if b.Lives() || b.Lends("y", b.Mark()) {
		t.Error("it lives, and did not obey")
	}
	obeys.Store(true)
	s.eventually("it lives again", b.Lives)
}

// slow is a database that does not answer.
type slow struct {
	Querier
	asked chan struct{}
}

func (s slow) Query(ctx context.Context, _ string, _ ...any) (pgx.Rows, error) {
	close(s.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

// Changes on other nodes do not wait while one of this node waits for the database.
func TestNodeObeysOthersWhileItsOwnChangeWaitsForAConnection(t *testing.T) {
	s := share(t)
	long := func(o *Options) { o.Lease = time.Hour }
	a, b := s.join("a", long), s.join("b", long)
	database := slow{asked: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	refreshed := make(chan error, 1)
	go func() { refreshed <- a.refresh(ctx, database, math.MaxInt64) }()
	<-database.asked
	if err := s.pause(b, "x", true); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-refreshed; !errors.Is(err, context.Canceled) {
		t.Errorf("reading what was changed gave %v", err)
	}
}
