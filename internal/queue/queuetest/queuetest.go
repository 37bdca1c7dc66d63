// Package queuetest holds the suite that every engine of the queue passes. It
// goes through the contract of queue.Engine sentence by
// sentence. What only one engine has (a disk that can be full, a process that
// can be killed) is tested there.
package queuetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Harness gives the suite engines over one storage.
type Harness interface {
	// Open opens the storage, which is empty at first. After Close of the engine
	// it opens the same storage again.
	Open(t *testing.T) queue.Engine

	// Now is the engine's time. It stands still until Advance lets some of it pass.
	// Advance may let settlements reach storage before: a lease that was settled does
	// not expire, however suddenly time passes.
	Now() time.Time
	Advance(d time.Duration)

	// Lease is how long a lease lasts that is not extended. The suite measures in
	// leases.
	Lease() time.Duration

	// Soon is how long the suite watches that something does not happen, in real
	// time. An engine that looks at its storage now and then needs several of such
	// looks.
	Soon() time.Duration
}

// Run runs the suite. Each test gets a harness with a storage of its own.
func Run(t *testing.T, harness func(t *testing.T) Harness) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*fixture)
	}{
		{"Put", putTests}, {"Dedupe", dedupeTests}, {"Take", takeTests}, {"Settle", settleTests}, {"Order", orderTests},
		{"Change", changeTests}, {"Switch", switchTests}, {"Amend", amendTests}, {"Mended", mendedTests}, {"Try", tryTests}, {"Note", noteTests}, {"Move", moveTests}, {"Watch", watchTests}, {"Exclusive", exclusiveTests}, {"Search", searchTests}, {"Series", seriesTests}, {"Uses", usesTests}, {"Text", textTests}, {"Close", closeTests}, {"Activity", activityTests}, {"Prune", pruneTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(newFixture(t, t, harness(t)))
				})
			}
		})
	}
}

// patience is how long something may take that must happen.
const patience = 20 * time.Second

// fixture is an engine under test, with what tests do over and over.
type fixture struct {
	testing.TB            // is told what the engine does wrong
	t          *testing.T // the test that runs
	Harness
	queue.Engine
	patience time.Duration
}

// newFixture opens the engine of a harness. Failures are told to tb.
func newFixture(t *testing.T, tb testing.TB, harness Harness) *fixture {
	t.Helper()
	f := &fixture{TB: tb, t: t, Harness: harness, patience: patience}
	f.open()
	tb.Cleanup(func() { f.Engine.Close() })
	return f
}

func (f *fixture) open() { f.Engine = f.Harness.Open(f.t) }

func (f *fixture) reopen() {
	f.Helper()
	if err := f.Engine.Close(); err != nil {
		f.Fatalf("closing: %v", err)
	}
	f.open()
}

// patient returns a context for what must happen.
func (f *fixture) patient() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), f.patience)
	f.Cleanup(cancel)
	return ctx
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// event returns an event that was received now.
func (f *fixture) event() *event.Event {
	return &event.Event{ID: newID(), Source: "pbx", Name: "incoming_call", Received: f.Now(), Method: "POST", Path: "/", RawBody: []byte("{}")}
}

// entry returns an event that leads to the given actions.
func (f *fixture) entry(actions ...string) queue.Entry {
	e := queue.Entry{Event: f.event(), Verdict: rules.Verdict{Decision: rules.Ignored}}
	for _, action := range actions {
		e.Verdict.Decision = rules.Act
		e.Verdict.Actions = append(e.Verdict.Actions, rules.ActionCall{Action: action, Rule: "Caddyfile:1"})
		e.Deliveries = append(e.Deliveries, queue.Delivery{ID: newID(), Action: action})
	}
	return e
}

// put stores an entry and returns it.
func (f *fixture) put(e queue.Entry) queue.Entry {
	f.Helper()
	f.putAll(e)
	return e
}

func (f *fixture) putAll(entries ...queue.Entry) []queue.Receipt {
	f.Helper()
	receipts, err := f.Put(f.patient(), entries)
	if err != nil {
		f.Fatalf("Put: %v", err)
	}
	if len(receipts) != len(entries) {
		f.Fatalf("Put gave %d receipts for %d entries", len(receipts), len(entries))
	}
	return receipts
}

// ordered stores a delivery of an action with an order key.
func (f *fixture) ordered(action, key string) queue.Delivery {
	f.Helper()
	e := f.entry(action)
	e.Deliveries[0].OrderKey = key
	return f.put(e).Deliveries[0]
}

// take takes deliveries until it has exactly n.
func (f *fixture) take(action string, n int) []queue.Lease {
	f.Helper()
	var leases []queue.Lease
	for len(leases) < n {
		more, err := f.Take(f.patient(), action, n-len(leases))
		if err != nil {
			f.Fatalf("Take(%s) after %d of %d: %v", action, len(leases), n, err)
		}
		leases = append(leases, more...)
	}
	if len(leases) > n {
		f.Fatalf("Take(%s) gave %d leases, asked for %d", action, len(leases), n)
	}
	return leases
}

// one takes one delivery, and checks that it is the one with the given id.
func (f *fixture) one(action, id string) queue.Lease {
	f.Helper()
	lease := f.take(action, 1)[0]
	if lease.Delivery.ID != id {
		f.Fatalf("Take(%s) gave delivery %s, want %s", action, lease.Delivery.ID, id)
	}
	return lease
}

// nothing checks that nothing of an action is handed out.
func (f *fixture) nothing(action string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), f.Soon())
	defer cancel()
	leases, err := f.Take(ctx, action, 10)
	if len(leases) > 0 {
		f.Fatalf("Take(%s) gave %s, want nothing", action, ids(leases))
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		f.Fatalf("Take(%s) ended with %v, want its context's error", action, err)
	}
}

// taken is the result of a Take that was started before there was anything.
type taken struct {
	leases []queue.Lease
	err    error
}

// waiting starts a Take.
func (f *fixture) waiting(action string) <-chan taken {
	done := make(chan taken, 1)
	ctx := f.patient()
	go func() {
		leases, err := f.Take(ctx, action, 1)
		done <- taken{leases, err}
	}()
	return done
}

// woken checks that a waiting Take got a delivery.
func (f *fixture) woken(done <-chan taken, id string) queue.Lease {
	f.Helper()
	got := <-done
	if got.err != nil || len(got.leases) != 1 || got.leases[0].Delivery.ID != id {
		f.Fatalf("the waiting Take gave %s and %v, want delivery %s", ids(got.leases), got.err, id)
	}
	return got.leases[0]
}

func (f *fixture) settle(lease queue.Lease, s queue.Settlement) {
	f.Helper()
	if err := f.Settle(lease.Token, s); err != nil {
		f.Fatalf("Settle: %v", err)
	}
}

func (f *fixture) deliver(lease queue.Lease) {
	f.Helper()
	f.settle(lease, queue.Settlement{State: queue.Delivered, Attempt: f.attempt(200, "")})
}

// again settles a failed attempt that is to be repeated after d.
func (f *fixture) again(lease queue.Lease, d time.Duration) {
	f.Helper()
	f.settle(lease, queue.Settlement{State: queue.Pending, Again: f.Now().Add(d), Attempt: f.attempt(503, "no room")})
}

func (f *fixture) attempt(status int, err string) *queue.Attempt {
	return &queue.Attempt{Began: f.Now(), Took: 3 * time.Millisecond, Status: status, Error: err}
}

func (f *fixture) lost(what string, err error) {
	f.Helper()
	if !errors.Is(err, queue.ErrLeaseLost) {
		f.Errorf("%s gave %v, want ErrLeaseLost", what, err)
	}
}

func (f *fixture) change(c queue.Change) queue.Changed {
	f.Helper()
	changed, err := f.Change(f.patient(), c)
	if err != nil {
		f.Fatalf("Change(%+v): %v", c, err)
	}
	return changed
}

// eventually waits until a condition holds: the activity may lag behind.
func (f *fixture) eventually(what string, holds func() bool) {
	f.Helper()
	for deadline := time.Now().Add(f.patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("%s: not within %v", what, f.patience)
		}
	}
}

// all reads all pages of the activity.
func (f *fixture) all(filter queue.Filter, n int) []queue.Summary {
	f.Helper()
	return f.inOrder(filter, queue.NewestFirst, n)
}

// inOrder reads all pages in an order.
func (f *fixture) inOrder(filter queue.Filter, order queue.Order, n int) []queue.Summary {
	f.Helper()
	var events []queue.Summary
	for after := queue.Cursor(""); ; {
		page, err := f.Page(f.patient(), filter, order, after, n)
		if err != nil {
			f.Fatalf("Page: %v", err)
		}
		if len(page.Events) > n {
			f.Fatalf("Page gave %d events, asked for %d", len(page.Events), n)
		}
		events = append(events, page.Events...)
		if page.Next == "" {
			return events
		}
		if page.Next == after {
			f.Fatalf("Page gave the cursor that it got")
		}
		after = page.Next
	}
}

func (f *fixture) find(id string) queue.Detail {
	f.Helper()
	h, err := f.Find(f.patient(), id)
	if err != nil {
		f.Fatalf("Find(%s): %v", id, err)
	}
	return h
}

// state waits until the activity knows a delivery in a state.
func (f *fixture) state(id string, state queue.State) queue.DeliveryState {
	f.Helper()
	var found queue.DeliveryState
	f.eventually("delivery "+id+" is "+string(state), func() bool {
		for _, d := range f.find(id).Summary.Deliveries {
			if d.ID == id {
				found = d
			}
		}
		return found.State == state
	})
	return found
}

func ids(leases []queue.Lease) (ids []string) {
	for _, l := range leases {
		ids = append(ids, l.Delivery.ID)
	}
	return ids
}

func eventIDs(events []queue.Summary) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

func equal[T comparable](f *fixture, what string, got, want T) {
	f.Helper()
	if got != want {
		f.Errorf("%s is %v, want %v", what, got, want)
	}
}

func equalTime(f *fixture, what string, got, want time.Time) {
	f.Helper()
	// Engines may keep microseconds only.
	if d := got.Sub(want); d > time.Microsecond || d < -time.Microsecond {
		f.Errorf("%s is %v, want %v", what, got, want)
	}
}

func equalIDs(f *fixture, what string, got, want []string) {
	f.Helper()
	if !slices.Equal(got, want) {
		f.Errorf("%s: got %v, want %v", what, got, want)
	}
}
