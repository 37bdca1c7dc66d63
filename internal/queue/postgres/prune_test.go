package postgres

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// pruneOn prunes on one node, also if another leads: on a busy machine that changes.
func pruneOn(t *testing.T, db *DB) {
	t.Helper()
	if _, err := db.prune(nodePatience(t), time.Now().Add(time.Hour), 0); err != nil {
		t.Fatal(err)
	}
}

func execOn(t *testing.T, db *DB, sql string, args ...any) {
	t.Helper()
	if _, err := db.pool.Exec(nodePatience(t), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// holdsOn fails unless a query of one truth gives true.
func holdsOn(t *testing.T, db *DB, sql string, args ...any) {
	t.Helper()
	var holds bool
	if err := db.pool.QueryRow(nodePatience(t), sql, args...).Scan(&holds); err != nil || !holds {
		t.Errorf("%s: %v, %v", sql, holds, err)
	}
}

// Of a node that is gone nothing stays but what it counted. In containers each start has
// another name.
func TestPruneKeepsTheCountsOfNodesThatAreGoneAndNoRowOfThem(t *testing.T) {
	a, b := nodesOf(t, nil)
	ctx := nodePatience(t)
	if err := a.Exist(ctx, []queue.Thing{{Kind: queue.ActionThing, Name: "x"}, {Kind: queue.EventThing, Name: "pbx:call"}, {Kind: queue.RuleThing, Name: "r"}}); err != nil {
		t.Fatal(err)
	}
	for _, db := range []*DB{a, b} {
		for range 2 {
			putOn(t, db, "x", "", 1)
			deliverOn(t, db, takeOn(t, db, "x"))
			id := uuid.Must(uuid.NewV7()).String()
			if _, err := db.Put(ctx, []queue.Entry{{
				Event:   &event.Event{ID: id, Source: "pbx", Name: "call", Received: time.Now()},
				Verdict: rules.Verdict{Decision: rules.Act, Held: []string{"r"}},
			}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	waiting := putOn(t, b, "x", "", 1)
	before, err := a.Uses(ctx)
	if err != nil || !slices.ContainsFunc(before, func(u queue.Use) bool { return u.Kind == queue.RuleThing && u.Count == 4 }) {
		t.Fatalf("used are %+v, %v", before, err)
	}
	gone := b.nodes.id()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	pruneOn(t, a)
	holdsOn(t, a, "SELECT count(*) > 0 FROM action_counts WHERE node = $1", gone) // it may come back
	execOn(t, a, "DELETE FROM sessions WHERE name = 'b'")
	pruneOn(t, a)
	holdsOn(t, a, "SELECT count(*) = 1 FROM nodes WHERE name = 'b'") // an event names it
	deliver := takeOn(t, a, "x")
	if deliver.Delivery.ID != waiting[0] {
		t.Errorf("delivery %s waits", deliver.Delivery.ID)
	}
	after, err := a.Uses(ctx)
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("used are\n%+v\nwant\n%+v, %v", after, before, err)
	}
	if found, err := a.Verify(ctx); err != nil || len(found) > 0 {
		t.Errorf("the tables do not fit: %v, %v", found, err)
	}
	deliverOn(t, a, deliver)
	if err := a.flush(ctx); err != nil {
		t.Fatal(err)
	}
	// In another block of numbers, so that what b wrote is not being written any more.
	execOn(t, a, "SELECT setval('event_ids', (nextval('event_ids') >> 12 << 12) + 4096)")
	putOn(t, a, "x", "", 1)
	pruneOn(t, a)
	for _, table := range []string{"action_counts", "uses"} {
		holdsOn(t, a, "SELECT coalesce(bool_and(node IN (0, $1)), true) FROM "+table, a.nodes.id())
	}
	pruneOn(t, a) // the sizes of the block of b went with the last
	holdsOn(t, a, "SELECT count(*) = 0 FROM nodes WHERE name = 'b'")
	holdsOn(t, a, "SELECT count(*) = 0 FROM notes WHERE node = 'b'")
	holdsOn(t, a, "SELECT count(*) > 0 FROM notes WHERE node = 'a'")
}

// putIgnored stores an event that leads to nothing.
func putIgnored(t *testing.T, db *DB, name string, received time.Time) (id string) {
	t.Helper()
	id = uuid.Must(uuid.NewV7()).String()
	if _, err := db.Put(nodePatience(t), []queue.Entry{{Event: &event.Event{ID: id, Source: "pbx", Name: name, Received: received}, Verdict: rules.Verdict{Decision: rules.Ignored}}}); err != nil {
		t.Fatal(err)
	}
	return id
}

// Kinds that no event has are removed after a while, because senders may invent names,
// and not one that an event has or that a node may be about to use.
func TestPruneRemovesKindsThatNoEventHas(t *testing.T) {
	a, b := nodesOf(t, nil)
	prune := func() {
		t.Helper()
		a.kindsPruned.Store(math.MinInt64 / 2)
		pruneOn(t, a)
	}
	const (
		kinds = `SELECT array_agg(event || ' ' || (unused IS NULL) ORDER BY event) = $1 FROM kinds`
		age   = `UPDATE kinds SET unused = unused - $1`
	)
	put := func(db *DB, name string) string { return putIgnored(t, db, name, time.Now()) }
	for _, name := range []string{"again", "gone", "held"} {
		put(a, name)
	}
	lease := putOn(t, a, "x", "", 1) // of the kind call, and unfinished
	prune()
	prune()
	holdsOn(t, a, kinds, []string{"again false", "call true", "gone false", "held false"})
	execOn(t, a, age, (kindsKeptFor - 2*kindsKnownFor).Microseconds())
	prune()
	holdsOn(t, a, kinds, []string{"again false", "call true", "gone false", "held false"})
	// Who reads it, uses it.
	put(b, "again")
	// What a node knows it may use, and forgets in time.
	put(a, "held")
	execOn(t, a, age, (3 * kindsKnownFor).Microseconds())
	a.kindsPruned.Store(math.MinInt64 / 2)
	if err := a.pruneKinds(nodePatience(t)); err != nil {
		t.Fatal(err)
	}
	holdsOn(t, a, kinds, []string{"again true", "call true", "held true"})
	a.kindsSince = a.now().Add(-kindsKnownFor - time.Minute)
	id := put(a, "gone")
	if detail, err := b.Find(nodePatience(t), id); err != nil || detail.Summary.Event != "gone" {
		t.Errorf("the event of a kind that was removed is %+v, %v", detail, err)
	}
	if taken := takeOn(t, b, "x"); taken.Delivery.ID != lease[0] || taken.Event == nil || taken.Event.Name != "call" {
		t.Errorf("taken is %+v", taken)
	}
	if found, err := a.Verify(nodePatience(t)); err != nil || len(found) > 0 {
		t.Errorf("the tables do not fit: %v, %v", found, err)
	}
}

// What was imported has smaller ids than what came before, and may be newer.
func TestPruneBySizeRemovesTheOldestFirst(t *testing.T) {
	a, _ := nodesOf(t, nil)
	ctx := nodePatience(t)
	put := func(received time.Time) string {
		id := putIgnored(t, a, "call", received)
		execOn(t, a, "SELECT setval('event_ids', (nextval('event_ids') >> 12 << 12) + 4096)")
		return id
	}
	newer, older := put(time.Now().Add(-time.Minute)), put(time.Now().Add(-24*time.Hour))
	var size int64
	if err := a.pool.QueryRow(ctx, sumSizes).Scan(&size); err != nil {
		t.Fatal(err)
	}
	if removed, err := a.prune(ctx, time.Time{}, size-1); err != nil || removed != 1 {
		t.Errorf("%d events were removed, %v; want one", removed, err)
	}
	holdsOn(t, a, "SELECT count(*) = 1 FROM events WHERE uuid = $1", newer)
	holdsOn(t, a, "SELECT count(*) = 0 FROM events WHERE uuid = $1", older)
}
