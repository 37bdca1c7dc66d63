package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// These tests run by the real clock, as nodes do.

// nodesOf opens a schema as two nodes. change changes the options of the second.
func nodesOf(t *testing.T, change func(*Options)) (a, b *DB) {
	t.Helper()
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	open := func(name string, change func(*Options)) *DB {
		o := Options{DSN: dsn, Schema: schema, Node: name, Lease: 5 * time.Second, Connections: 5, Logger: zaptest.NewLogger(t)}
		if change != nil {
			change(&o)
		}
		db, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	return open("a", nil), open("b", change)
}

func nodePatience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// putOn stores some events with a delivery each, and returns the ids of the deliveries.
func putOn(t *testing.T, db *DB, action, key string, n int) (ids []string) {
	t.Helper()
	var entries []queue.Entry
	for range n {
		id := uuid.Must(uuid.NewV7()).String()
		ids = append(ids, id)
		entries = append(entries, queue.Entry{
			Event:      &event.Event{ID: uuid.Must(uuid.NewV7()).String(), Source: "pbx", Name: "call", Received: time.Now(), RawBody: []byte("{}")},
			Verdict:    rules.Verdict{Decision: rules.Act},
			Deliveries: []queue.Delivery{{ID: id, Action: action, OrderKey: key}},
		})
	}
	if _, err := db.Put(nodePatience(t), entries); err != nil {
		t.Fatal(err)
	}
	return ids
}

func takeOn(t *testing.T, db *DB, action string) queue.Lease {
	t.Helper()
	leases, err := db.Take(nodePatience(t), action, 1)
	if err != nil {
		t.Fatal(err)
	}
	return leases[0]
}

func deliverOn(t *testing.T, db *DB, lease queue.Lease) {
	t.Helper()
	if err := db.Settle(lease.Token, queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: time.Now(), Status: 200}}); err != nil {
		t.Fatal(err)
	}
}

// fill has a node keep deliveries in memory for takers, which have just been there.
func fill(t *testing.T, db *DB, action string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		for range putOn(t, db, action, "", 8) {
			deliverOn(t, db, takeOn(t, db, action))
		}
		putOn(t, db, action, "", 8)
		db.mu.Lock()
		ready := len(db.lane(action).ready)
		db.mu.Unlock()
		if ready > 0 {
			return
		}
		for range 8 {
			deliverOn(t, db, takeOn(t, db, action))
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is kept in memory")
		}
	}
}

func nothingOn(t *testing.T, db *DB, action string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if leases, err := db.Take(ctx, action, 10); len(leases) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Take gave %d leases and %v, want none", len(leases), err)
	}
}

func pauseOn(t *testing.T, db *DB, action string, off bool) {
	t.Helper()
	if _, err := db.Change(nodePatience(t), queue.Change{Switch: &queue.Switch{Kind: queue.SwitchAction, Name: action, Off: off}}); err != nil {
		t.Fatal(err)
	}
}

// What a node has leased and keeps in memory is not taken once an action is paused on
// another.
func TestPauseOnAnotherNodeHoldsForWhatIsInMemory(t *testing.T) {
	a, b := nodesOf(t, nil)
	fill(t, b, "x")
	pauseOn(t, a, "x", true)
	nothingOn(t, b, "x")
	pauseOn(t, a, "x", false)
	for range 8 {
		deliverOn(t, b, takeOn(t, b, "x"))
	}
}

// The life of a node that gives no sign ends with its lease: a change on another does
// not wait longer, and the node hands out nothing that it has in memory.
func TestNodeThatGivesNoSignHandsNothingOutFromMemory(t *testing.T) {
	a, b := nodesOf(t, nil)
	fill(t, b, "x")
	b.nodes.self.Stop()
	pauseOn(t, a, "x", true)
	nothingOn(t, b, "x")
	pauseOn(t, a, "x", false)
	for range 8 {
		deliverOn(t, a, takeOn(t, a, "x"))
	}
}

// A node that is taken for dead stores nothing: a switch that its caller has to obey may
// have been turned without it.
func TestNodeThatGivesNoSignStoresNothing(t *testing.T) {
	a, b := nodesOf(t, nil)
	b.nodes.self.Stop()
	if _, err := a.Change(nodePatience(t), queue.Change{Switch: &queue.Switch{Kind: queue.SwitchAll, Off: true}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(nodePatience(t), []queue.Entry{{Event: &event.Event{ID: uuid.Must(uuid.NewV7()).String(), Source: "pbx", Name: "call", Received: time.Now()}}}); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("Put gave %v, want that it cannot store", err)
	}
	putOn(t, a, "x", "", 1)
}

// What a node stores after it lost its name to another is told of the name that it has
// by then.
func TestNodeThatLostItsNameStoresUnderItsNewOne(t *testing.T) {
	first, second := nodesOf(t, func(o *Options) { o.Node = "a" })
	if first.Node() != "a" || second.Node() != "a-2" {
		t.Fatalf("the nodes are called %s and %s", first.Node(), second.Node())
	}
	if _, err := second.pool.Exec(nodePatience(t), "UPDATE sessions SET name = 'a' WHERE id = $1", second.nodes.session); err != nil {
		t.Fatal(err)
	}
	for first.Node() == "a" {
		if nodePatience(t).Err() != nil {
			t.Fatal("it keeps its name")
		}
		time.Sleep(time.Millisecond)
	}
	putOn(t, first, "x", "", 1)
	page, err := second.Page(nodePatience(t), queue.Filter{}, queue.NewestFirst, "", 10)
	if err != nil || len(page.Events) != 1 || page.Events[0].Node != "a-2" {
		t.Errorf("the history has %+v, %v", page, err)
	}
}

// The clock of a node may be wrong by an hour, in either direction.
func TestClockOfANodeThatIsWrong(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			a, b := nodesOf(t, func(o *Options) { o.limits.clock = func() time.Time { return time.Now().Add(wrong) } })
			for db, ahead := range map[*DB]time.Duration{a: 0, b: wrong} {
				if got := db.Ahead(); (got - ahead).Abs() > time.Minute {
					t.Errorf("the clock is %v ahead of that of the database, want %v", got, ahead)
				}
			}
			ids := putOn(t, b, "x", "k", 1)
			ids = append(ids, putOn(t, a, "x", "k", 1)...)
			ids = append(ids, putOn(t, b, "x", "k", 1)...)
			for i, db := range []*DB{a, b, a} {
				lease := takeOn(t, db, "x")
				if lease.Delivery.ID != ids[i] {
					t.Fatalf("delivery %s is taken, want number %d", lease.Delivery.ID, i)
				}
				if err := db.Extend(nodePatience(t), lease.Token, 5*time.Second); err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					// It waits for a time, on the other node too.
					if err := db.Settle(lease.Token, queue.Settlement{State: queue.Pending, Again: db.now().Add(time.Second), Attempt: &queue.Attempt{Began: time.Now(), Status: 503}}); err != nil {
						t.Fatal(err)
					}
					if lease = takeOn(t, a, "x"); lease.Delivery.ID != ids[i] {
						t.Fatalf("delivery %s is taken, want number %d again", lease.Delivery.ID, i)
					}
					db = a
				}
				deliverOn(t, db, lease)
			}
			pauseOn(t, b, "x", true)
			putOn(t, a, "x", "", 1)
			nothingOn(t, a, "x")
			nothingOn(t, b, "x")
			pauseOn(t, a, "x", false)
			takeOn(t, b, "x")
			nodes, err := b.Nodes(nodePatience(t))
			if err != nil || len(nodes) != 2 || !nodes[0].Lives || !nodes[1].Lives {
				t.Errorf("the nodes are %+v, %v", nodes, err)
			}
		})
	}
}
