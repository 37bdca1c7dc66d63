package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// holdTallies keeps all nodes from adding tallies until the test calls what it returns.
// Puts and those who read go on.
func holdTallies(t *testing.T, db *DB) (release func()) {
	t.Helper()
	ctx := nodePatience(t)
	tx, err := db.pool.Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, "SELECT FROM nodes FOR UPDATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
	t.Cleanup(release)
	return release
}

// tallyOn adds all tallies of all nodes.
func tallyOn(t *testing.T, db *DB) {
	t.Helper()
	ctx := nodePatience(t)
	nodes, err := numbers[int32](ctx, db.pool, "SELECT id FROM nodes")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		if err := addTo(ctx, db.pool, node, lateBy); err != nil {
			t.Fatal(err)
		}
	}
	holdsOn(t, db, "SELECT count(*) = 0 FROM tallies")
}

// counted is all that a node finds counted, one line for each number.
func counted(t *testing.T, db *DB) []string {
	t.Helper()
	var lines []string
	for _, sql := range []string{
		`SELECT concat_ws(' ', 'count', at, name, sum(n)) FROM ` + allCounts + ` AS c GROUP BY at, name`,
		`SELECT concat_ws(' ', 'use', thing, sum(count), min(first), max(last)) FROM ` + allUses + ` AS u GROUP BY thing`,
		`SELECT concat_ws(' ', 'size', block, part, sum(bytes), min(oldest), max(newest)) FROM ` + allSizes + ` AS s GROUP BY block, part`,
		`SELECT concat_ws(' ', 'action', action, sum(waiting), sum(made), min(first), max(last), sum(delivered), sum(failed), sum(expired)) FROM ` + allActionCounts + ` AS a GROUP BY action`,
	} {
		rows, err := db.pool.Query(nodePatience(t), sql)
		if err != nil {
			t.Fatal(err)
		}
		some, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, some...)
	}
	slices.Sort(lines)
	return lines
}

// countsOn stores six events at once: two are ignored, three have two deliveries each and
// one of these is a test, and one is a duplicate.
func countsOn(t *testing.T, db *DB) {
	t.Helper()
	id := func() string { return uuid.Must(uuid.NewV7()).String() }
	received := time.Now()
	entry := func(change func(*queue.Entry)) queue.Entry {
		received = received.Add(time.Millisecond)
		e := queue.Entry{
			Event:   &event.Event{ID: id(), Source: "pbx", Name: "call", Received: received, RawBody: []byte(strings.Repeat("x", 100))},
			Verdict: rules.Verdict{Decision: rules.Ignored, Held: []string{"r"}},
		}
		change(&e)
		return e
	}
	act := func(e *queue.Entry) {
		e.Verdict.Decision = rules.Act
		e.Deliveries = []queue.Delivery{{ID: id(), Action: "x"}, {ID: id(), Action: "y"}}
	}
	key := id()
	repeated := func(e *queue.Entry) { e.DedupeKey, e.DedupeWindow = key, time.Hour }
	entries := []queue.Entry{
		entry(func(*queue.Entry) {}), entry(act), entry(func(e *queue.Entry) { e.Event.Test = true; act(e) }), entry(repeated), entry(repeated), entry(act),
	}
	if _, err := db.Put(nodePatience(t), entries); err != nil {
		t.Fatal(err)
	}
}

// What is counted is the same before tallies are added and after it, for all nodes. Sizes
// are those of the events, also of a batch that begins in one block and ends in another.
func TestTalliesCountBeforeTheyAreAdded(t *testing.T) {
	a, b := nodesOf(t, nil)
	ctx := nodePatience(t)
	things := []queue.Thing{{Kind: queue.EventThing, Name: "pbx:call"}, {Kind: queue.RuleThing, Name: "r"}, {Kind: queue.ActionThing, Name: "x"}}
	if err := a.Exist(ctx, things); err != nil {
		t.Fatal(err)
	}
	countsOn(t, a)
	tallyOn(t, a) // what is added to is there
	release := holdTallies(t, a)
	countsOn(t, a)
	countsOn(t, b)
	execOn(t, a, "SELECT setval('event_ids', (nextval('event_ids') >> 12 << 12) + 4096 - 3)")
	countsOn(t, b)
	holdsOn(t, a, "SELECT count(*) >= 3 FROM tallies")
	holdsOn(t, a, "SELECT count(DISTINCT id >> 12) = 2 FROM events")

	before := counted(t, a)
	if other := counted(t, b); !slices.Equal(before, other) {
		t.Errorf("node a finds\n%q\nand b\n%q", before, other)
	}
	uses, err := b.Uses(ctx)
	if err != nil || len(uses) != 3 {
		t.Fatalf("used are %+v, %v", uses, err)
	}
	for _, u := range uses {
		// Of 6 events of a put one is a test, and one a duplicate.
		if want := map[queue.ThingKind]int64{queue.EventThing: 16, queue.RuleThing: 16, queue.ActionThing: 8}[u.Kind]; u.Count != want {
			t.Errorf("%s %s was used %d times, want %d", u.Kind, u.Name, u.Count, want)
		}
	}
	backlog, err := b.Backlog(ctx)
	if err != nil || len(backlog) != 2 || backlog[0].Count != 12 || backlog[1].Count != 12 {
		t.Errorf("the backlog is %+v, %v", backlog, err)
	}
	var pending int64
	if err := b.pool.QueryRow(ctx, countPending).Scan(&pending); err != nil || pending != 24 {
		t.Errorf("%d deliveries are unfinished, %v; want 24", pending, err)
	}
	sizesFit := func(when string) {
		t.Helper()
		const fit = `SELECT coalesce(bool_and(e.block IS NOT NULL AND s.block IS NOT NULL AND e.bytes = s.bytes AND e.oldest = s.oldest AND e.newest = s.newest), false)
			FROM (SELECT e.id >> 12 AS block, sum(` + sizeOfEvent + `) AS bytes, min(received) AS oldest, max(received) AS newest FROM events e GROUP BY 1) AS e
			FULL JOIN (SELECT block, sum(bytes) AS bytes, min(oldest) AS oldest, max(newest) AS newest FROM ` + allSizes + ` AS a WHERE part = 0 GROUP BY 1) AS s ON s.block = e.block`
		fits := false
		if err := a.pool.QueryRow(ctx, fit).Scan(&fits); err != nil || !fits {
			t.Errorf("%s the sizes are not those of the events, %v", when, err)
		}
	}
	sizesFit("before")
	series, err := b.Series(ctx, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), 2)
	if err != nil {
		t.Fatal(err)
	}
	events := make(map[rules.Decision]int)
	for _, point := range series.Points {
		for decision, n := range point.Events {
			events[decision] += n
		}
	}
	if want := map[rules.Decision]int{rules.Ignored: 8, rules.Act: 12, queue.DuplicateEvents: 4}; !maps.Equal(events, want) {
		t.Errorf("over time came %v, want %v", events, want)
	}

	release()
	tallyOn(t, b)
	if after := counted(t, a); !slices.Equal(before, after) {
		t.Errorf("after it\n%q\nwant\n%q", after, before)
	}
	sizesFit("afterwards")
	if found, err := a.Verify(ctx); err != nil || len(found) > 0 {
		t.Errorf("the tables do not fit: %v, %v", found, err)
	}
}

// putTally stores a tally of five ignored events of a node, as of some seconds ago.
const putTally = `INSERT INTO tallies (node, at, names, numbers, kinds, things, uses, first_uses, last_uses, ids, bytes, oldest, newest)
	SELECT $1, now_us() - $2::bigint * 1000000, '{ignored}', '{5}', '{}', '{}', '{}', '{}', '{}', '{4096}', '{100}', '{1}', '{2}'`

const ignoredAre = `SELECT sum(n) = $1 FROM counts WHERE name = 'ignored'`

// A node that vanished has left tallies, and one can be committed after later ones were
// added. All nodes add them.
func TestTalliesThatAreLeftAreAdded(t *testing.T) {
	a, b := nodesOf(t, nil)
	ctx := nodePatience(t)
	gone := b.nodes.id()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	execOn(t, a, putTally, gone, 0)
	execOn(t, a, putTally, gone, 40)

	late, err := a.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Rollback(context.Background()) }()
	if _, err := late.Exec(ctx, putTally, a.nodes.id(), 0); err != nil {
		t.Fatal(err)
	}
	countsOn(t, a)
	if err := addTo(ctx, a.pool, a.nodes.id(), 0); err != nil {
		t.Fatal(err)
	}
	holdsOn(t, a, "SELECT tallied > 0 FROM nodes WHERE id = $1", a.nodes.id())
	holdsOn(t, a, ignoredAre, 2)
	if err := late.Commit(ctx); err != nil {
		t.Fatal(err)
	}

	if err := a.connected(ctx, func(conn *pgxpool.Conn) error { return a.tallyLeft(ctx, conn) }); err != nil {
		t.Fatal(err)
	}
	holdsOn(t, a, "SELECT count(*) = 0 FROM tallies")
	holdsOn(t, a, ignoredAre, 2+3*5)
}

// Several goroutines add the tallies of two nodes at once while both nodes store events.
// Each tally is added exactly once. A node that closes adds its own.
func TestTalliesAreAddedOnce(t *testing.T) {
	a, b := nodesOf(t, nil)
	ctx := nodePatience(t)
	const puts = 50
	var working, adding sync.WaitGroup
	for _, db := range []*DB{a, b} {
		working.Go(func() {
			for range puts {
				countsOn(t, db)
			}
		})
	}
	done := make(chan struct{})
	for i := range 4 {
		adding.Go(func() {
			for {
				for _, db := range []*DB{a, b} {
					if err := addTo(ctx, a.pool, db.nodes.id(), int64(i%2)*lateBy); err != nil {
						t.Error(err)
						return
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	working.Wait()
	close(done)
	adding.Wait()
	countsOn(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	holdsOn(t, a, "SELECT count(*) = 0 FROM tallies WHERE node = $1", b.nodes.id())
	tallyOn(t, a)
	holdsOn(t, a, ignoredAre, 2*(2*puts+1))
	if found, err := a.Verify(ctx); err != nil || len(found) > 0 {
		t.Errorf("the tables do not fit: %v, %v", found, err)
	}
}

// firstVersion makes the tables of the first version, and returns a connection to them.
func firstVersion(t *testing.T) (dsn, schema string, conn *pgx.Conn) {
	t.Helper()
	dsn, schema = pgtest.Schema(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.PgConn().Exec(t.Context(), "CREATE SCHEMA "+schema+"; SET search_path = "+schema+";"+steps[0]+"INSERT INTO facts VALUES ('version', '1')").ReadAll(); err != nil {
		t.Fatal(err)
	}
	return dsn, schema, conn
}

// The tables of the first version are brought up to date, and what they count goes on.
func TestTalliesAddToTheTablesOfTheFirstVersion(t *testing.T) {
	dsn, schema, conn := firstVersion(t)
	if _, err := conn.PgConn().Exec(t.Context(), `INSERT INTO nodes (name) VALUES ('old');
		INSERT INTO counts VALUES (1, now_us() - now_us() % 60000000, 'ignored', 1, 7)`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	db := opened(t, Store{DSN: dsn, Schema: schema, Node: "old"})
	countsOn(t, db)
	tallyOn(t, db)
	holdsOn(t, db, ignoredAre, 2+7)
	holdsOn(t, db, "SELECT text = '2' FROM facts WHERE name = 'version'")
}

// While something keeps tallies from being added, all else goes on, and a node closes as
// it should. However many there are then, they are added in portions.
func TestTalliesThatCannotBeAddedStopNothing(t *testing.T) {
	a, b := nodesOf(t, nil)
	ctx := nodePatience(t)
	release := holdTallies(t, a)
	countsOn(t, b)
	b.addUp(true)
	countsOn(t, b)
	if troubles := b.Troubles(); len(troubles) > 0 {
		t.Errorf("the node has the troubles %+v", troubles)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	holdsOn(t, a, "SELECT closed FROM sessions WHERE name = 'b'")
	holdsOn(t, a, "SELECT count(*) = 2 FROM tallies")
	const more = 2*talliesAtOnce + 1
	execOn(t, a, putTally+" FROM generate_series(1, $3)", b.nodes.id(), 0, more)
	release()
	if err := addTo(ctx, a.pool, b.nodes.id(), 0); err != nil {
		t.Fatal(err)
	}
	holdsOn(t, a, "SELECT count(*) = 0 FROM tallies")
	holdsOn(t, a, ignoredAre, 2*2+5*more)
}

// A table that must be changed may be in use for hours, by a dump. Nothing waits for it.
func TestMigratingWaitsForNoTransactionOfOthers(t *testing.T) {
	dsn, schema, dump := firstVersion(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	tx, err := dump.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM "+schema+".nodes"); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), conn, schema); err == nil || !strings.Contains(err.Error(), "such as that of a dump: end it, or wait") {
		t.Errorf("migrating gave %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), conn, schema); err != nil {
		t.Error(err)
	}
}
