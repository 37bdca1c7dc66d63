package postgres

import (
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// A node that is told to receive only, by a reload, keeps nothing for takers: neither
// what it had leased for them, nor what it stores from then on.
func TestNodeThatOnlyReceivesFromNowOnKeepsNoLease(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	open := func(name string) *DB {
		// Nothing is taken over because its lease has run out.
		db, err := Open(Options{DSN: dsn, Schema: schema, Node: name, Lease: time.Hour, Logger: zaptest.NewLogger(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	a, b := open("a"), open("b")
	fill(t, a, "x")
	store := Store{DSN: dsn, Schema: schema, Lease: time.Hour}
	adjust := func(receiveOnly bool) {
		t.Helper()
		store.ReceiveOnly = receiveOnly
		if later := a.Adjust(store); len(later) > 0 {
			t.Fatalf("%v count only later", later)
		}
	}
	adjust(true)
	putOn(t, a, "x", "", 8)
	for range 16 {
		deliverOn(t, b, takeOn(t, b, "x"))
	}
	nothingOn(t, a, "x")
	adjust(false)
	putOn(t, a, "x", "", 1)
	deliverOn(t, a, takeOn(t, a, "x"))
}
