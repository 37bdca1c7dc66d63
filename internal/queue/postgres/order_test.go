package postgres

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// A settlement locks the order key before the event, as all do that lock both: else it
// could hold what an amendment waits for while it waits for the amendment.
func TestSettlementLocksTheKeyBeforeTheEvent(t *testing.T) {
	a, _ := nodesOf(t, nil)
	ctx := nodePatience(t)
	ids := putOn(t, a, "x", "k", 1)
	lease := takeOn(t, a, "x")
	event := lease.Event.ID
	// A delivery that repeats another makes the event one of which something may be mended.
	if err := a.Amend(ctx, []queue.Amendment{{Event: event, Deliveries: []queue.Delivery{{ID: uuid.Must(uuid.NewV7()).String(), Action: "x", Of: ids[0], OrderKey: "k"}}}}); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, pgtest.Shared(t).DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", slotOf(hashOf("k"))); err != nil {
		t.Fatal(err)
	}
	if err := a.Settle(lease.Token, queue.Settlement{State: queue.Failed, Attempt: &queue.Attempt{Began: time.Now(), Status: 500}}); err != nil {
		t.Fatal(err)
	}
	waits := `SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_stat_activity s USING (pid) WHERE l.locktype = 'advisory' AND NOT l.granted AND s.application_name = 'event-relay a'
		AND pg_backend_pid() = ANY(pg_blocking_pids(l.pid)))`
	for waiting := false; !waiting; {
		if err := tx.QueryRow(ctx, waits).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tx.Exec(ctx, "SELECT 1 FROM "+a.options.Schema+".events WHERE uuid = $1 FOR NO KEY UPDATE NOWAIT", event); err != nil {
		t.Errorf("the event is locked while the settlement waits for the key: %v", err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if next := takeOn(t, a, "x"); next.Delivery.Of != ids[0] {
		t.Errorf("delivery %s is next", next.Delivery.ID)
	}
}
