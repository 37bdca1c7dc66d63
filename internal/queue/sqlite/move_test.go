package sqlite

import (
	"context"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// To move a delivery writes its event's row anew. Large ones must not make a
// transaction for which all others wait.
func TestMoveOfLargeEventsIsDoneInParts(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	const n = 12
	for range n {
		e := benchEntry("x")
		e.Event.RawBody = make([]byte, 1<<20)
		mustPut(t, db, e)
	}
	db.mu.Lock()
	m := &move{from: db.action("x"), to: db.action("y")}
	db.mu.Unlock()
	if err := db.do(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	if moved := len(m.moved); moved == 0 || moved > 5 || !m.more {
		t.Fatalf("one transaction moved %d MiB, and more to come is %t", moved, m.more)
	}
	changed, err := db.Change(context.Background(), queue.Change{Move: &queue.Move{From: "x", To: "y"}})
	if err != nil || changed.Deliveries != n-len(m.moved) {
		t.Errorf("the rest is %d and %v", changed.Deliveries, err)
	}
	takeN(t, db, "y", n)
	nothingToTake(t, db, "x")
}
