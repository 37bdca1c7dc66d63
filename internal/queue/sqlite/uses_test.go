package sqlite

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/rules"
)

// benchThings are what benchEntry uses.
var benchThings = []queue.Thing{
	{Kind: queue.EventThing, Name: "icfm:project_status_change"}, {Kind: queue.RuleThing, Name: "r"}, {Kind: queue.ActionThing, Name: "x"},
}

// usedEntry is an event for which the rule r held.
func usedEntry(action string) queue.Entry {
	e := benchEntry(action)
	e.Verdict.Held = []string{"r"}
	return e
}

func usesByName(t testing.TB, db *DB) map[string]queue.Use {
	t.Helper()
	list, err := db.Uses(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]queue.Use)
	for _, use := range list {
		all[use.Name] = use
	}
	return all
}

func wantUses(t testing.TB, db *DB, event, rule, action int64) {
	t.Helper()
	all := usesByName(t, db)
	for name, want := range map[string]int64{"icfm:project_status_change": event, "r": rule, "x": action} {
		if got := all[name]; got.Count != want {
			t.Errorf("%s was used %d times, want %d", name, got.Count, want)
		}
	}
}

// checkUses holds what was counted against the tables of an open queue from which
// nothing was ever removed.
func checkUses(t testing.TB, db *DB) {
	t.Helper()
	all := usesByName(t, db)
	ends := func(state int64) string {
		return fmt.Sprintf("SELECT count(*) FROM attempts t CROSS JOIN events e ON e.id = t.id >> 23 WHERE t.state = %d AND e.test IS NULL", state)
	}
	for sql, got := range map[string]int64{
		"SELECT count(*) FROM events WHERE test IS NULL AND duplicate_of IS NULL":                                     all["icfm:project_status_change"].Count,
		"SELECT count(*) FROM events WHERE test IS NULL AND duplicate_of IS NULL AND verdict -> '$.held' = '[\"r\"]'": all["r"].Count,
		"SELECT count(*) FROM events e CROSS JOIN json_each(e.deliveries) WHERE test IS NULL":                         all["x"].Count,
		ends(layout.Delivered): all["x"].Delivered, ends(layout.Failed): all["x"].Failed, ends(layout.Expired): all["x"].Expired,
	} {
		if want := number(t, db, sql); got != want {
			t.Errorf("%d are counted, want %d: %s", got, want, sql)
		}
	}
}

func number(t testing.TB, db *DB, sql string) (n int64) {
	t.Helper()
	if err := db.readers.Read(context.Background(), func(conn *sqlite.Conn) (err error) {
		n, err = database.QueryInt(conn, sql)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// crash opens what is on the disk of an open queue as if its process had been
// killed.
func crash(t testing.TB, db *DB) *DB {
	t.Helper()
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		from, err := os.Open(db.file + suffix)
		if err != nil {
			t.Fatal(err)
		}
		to, err := os.Create(filepath.Join(dir, database.FileName+suffix))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(to, from); err != nil {
			t.Fatal(err)
		}
		from.Close()
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
	}
	options := db.options
	options.Dir = dir
	return benchOpen(t, options)
}

// TestUsesAfterACrash: whatever happens between two writings of the uses, a crash
// changes none.
func TestUsesAfterACrash(t *testing.T) {
	ctx := context.Background()
	h := newHarness(t, limits{countEvents: 1000, blockEvents: 10})
	h.Open(t)
	db := h.db
	exist := func(things ...queue.Thing) {
		t.Helper()
		if err := db.Exist(ctx, things); err != nil {
			t.Fatal(err)
		}
	}
	exist(benchThings...)
	event, rule, action := int64(0), int64(0), int64(0)
	check := func() {
		t.Helper()
		wantUses(t, db, event, rule, action)
		after := crash(t, db)
		wantUses(t, after, event, rule, action)
		// Once more, before it wrote anything.
		wantUses(t, crash(t, after), event, rule, action)
		// And what comes after a crash counts.
		mustPut(t, after, usedEntry("x"))
		wantUses(t, crash(t, after), event+1, rule+1, action+1)
	}
	check()

	e := usedEntry("x")
	mustPut(t, db, e, benchEntry("x"), benchEntry(""))
	event, rule, action = event+3, rule+1, action+2
	check()

	if err := db.Amend(ctx, []queue.Amendment{{Event: e.Event.ID, Verdict: &rules.Verdict{Decision: rules.Ignored}}}); err != nil {
		t.Fatal(err)
	}
	check() // the row does not tell any more that the rule held
	if err := db.Amend(ctx, []queue.Amendment{{Event: e.Event.ID, Verdict: &e.Verdict, Deliveries: []queue.Delivery{{ID: newUUID(), Action: "x"}}}}); err != nil {
		t.Fatal(err)
	}
	rule, action = rule+1, action+1
	check()

	// All events go, and the ids of what is not counted yet with them.
	mustPut(t, db, usedEntry(""), usedEntry(""))
	event, rule = event+2, rule+2
	if _, err := db.Change(ctx, queue.Change{CancelAction: "x"}); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Prune(ctx, time.Now().Add(time.Hour), 0); err != nil || n != 5 {
		t.Fatalf("Prune removed %d and gave %v", n, err)
	}
	check()
	mustPut(t, db, usedEntry("x"))
	event, rule, action = event+1, rule+1, action+1
	check()

	// A minute is over.
	h.set(time.Minute)
	mustPut(t, db, usedEntry("x"))
	event, rule, action = event+1, rule+1, action+1
	if n := number(t, db, "SELECT count FROM uses WHERE name = 'r'"); n != rule {
		t.Errorf("the table has %d uses of the rule after a minute, want %d", n, rule)
	}
	mustPut(t, db, usedEntry("x"))
	event, rule, action = event+1, rule+1, action+1
	check()

	// A configuration without the rule, and with it again.
	exist()
	mustPut(t, db, usedEntry("x"))
	exist(benchThings...)
	event, rule, action = event+1, rule+1, action+1
	check()
}

// TestUsesAreWritten after so many events, so that not more are counted again.
func TestUsesAreWritten(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{countEvents: 10}})
	if err := db.Exist(context.Background(), benchThings); err != nil {
		t.Fatal(err)
	}
	for n := range int64(35) {
		mustPut(t, db, usedEntry(""))
		written := number(t, db, "SELECT count FROM uses WHERE name = 'r'")
		if written > n+1 || n+1-written >= 10 {
			t.Fatalf("after %d uses the table has %d", n+1, written)
		}
	}
}

// TestUsesOfATransactionThatFails: what is undone is not counted.
func TestUsesOfATransactionThatFails(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{countEvents: 2}})
	ctx := context.Background()
	if err := db.Exist(ctx, benchThings); err != nil {
		t.Fatal(err)
	}
	mustPut(t, db, usedEntry("x"))
	if err := db.between(func(conn *sqlite.Conn) error {
		return database.Execute(conn, "CREATE TEMP TRIGGER broken BEFORE UPDATE ON facts BEGIN SELECT raise(ABORT, 'broken'); END")
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Put(ctx, []queue.Entry{usedEntry("x"), usedEntry("x")}); err == nil {
		t.Fatal("Put succeeds")
	}
	wantUses(t, db, 1, 1, 1)
	if err := db.between(func(conn *sqlite.Conn) error { return database.Execute(conn, "DROP TRIGGER broken") }); err != nil {
		t.Fatal(err)
	}
	mustPut(t, db, usedEntry("x"))
	wantUses(t, db, 2, 2, 2)
	checkUses(t, db)
	checkUses(t, crash(t, db))

	// The same for what exists.
	if err := db.between(func(conn *sqlite.Conn) error {
		return database.Execute(conn, "CREATE TEMP TRIGGER broken BEFORE INSERT ON uses WHEN new.name = 'last' BEGIN SELECT raise(ABORT, 'broken'); END")
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Exist(ctx, []queue.Thing{{Kind: queue.RuleThing, Name: "new"}, {Kind: queue.RuleThing, Name: "last"}}); err == nil {
		t.Fatal("Exist succeeds")
	}
	if all := usesByName(t, db); len(all) != len(benchThings) || !all["r"].Gone.IsZero() {
		t.Errorf("after it failed there are %+v", all)
	}
	if err := db.between(func(conn *sqlite.Conn) error { return database.Execute(conn, "DROP TRIGGER broken") }); err != nil {
		t.Fatal(err)
	}
	if err := db.Exist(ctx, []queue.Thing{{Kind: queue.RuleThing, Name: "new"}}); err != nil {
		t.Fatal(err)
	}
	if all := usesByName(t, db); len(all) != len(benchThings)+1 || all["r"].Gone.IsZero() {
		t.Errorf("after it succeeded there are %+v", all)
	}
}

// TestUsesBeforeTheyWereCounted: the events of an older version are not counted at
// the start, however many there are, and the ids go on behind them.
func TestUsesBeforeTheyWereCounted(t *testing.T) {
	dir, _ := ofThirdSchema(t, "project_status_change", `{"decision":"ignored","held":["r"]}`)
	db := benchOpen(t, Options{MinFree: -1, Dir: dir})
	if err := db.Exist(context.Background(), benchThings); err != nil {
		t.Fatal(err)
	}
	wantUses(t, db, 0, 0, 0)
	mustPut(t, db, usedEntry("x"))
	wantUses(t, db, 1, 1, 1)
	wantUses(t, crash(t, db), 1, 1, 1)
}

// TestMergedUses: what another database counted is added once, however often and
// from whichever backup of it, and a crash does not add it again.
func TestMergedUses(t *testing.T) {
	ctx := context.Background()
	old := newHarness(t, limits{})
	old.Open(t)
	if err := old.db.Exist(ctx, append([]queue.Thing{{Kind: queue.RuleThing, Name: "gone"}}, benchThings...)); err != nil {
		t.Fatal(err)
	}
	began := old.Now()
	put := func(db *DB, n int) {
		t.Helper()
		for range n {
			e := usedEntry("x")
			e.Event.Received = old.Now()
			mustPut(t, db, e)
			if err := db.Settle(takeN(t, db, "x", 1)[0].Token, queue.Settlement{State: queue.Failed, Attempt: &queue.Attempt{Began: old.Now()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(old.db, 7)
	if _, err := old.db.Prune(ctx, old.Now().Add(time.Second), 0); err != nil { // what was removed was counted too
		t.Fatal(err)
	}
	put(old.db, 3)
	first := backupOf(t, old.db)
	put(old.db, 2)
	second := backupOf(t, old.db)

	old.set(time.Hour)
	db := benchOpen(t, Options{MinFree: -1, Clock: old.Now})
	if err := db.Exist(ctx, benchThings); err != nil {
		t.Fatal(err)
	}
	wantUses(t, db, 0, 0, 0)
	// Events that were added before it was broken off are not counted by a crash.
	broken, cancel := context.WithCancel(ctx)
	if _, err := db.Merge(broken, first, func(int64, int64) { cancel() }); err == nil || number(t, db, "SELECT count(*) FROM events") == 0 {
		t.Fatalf("a merge that was broken off gave %v", err)
	}
	wantUses(t, crash(t, db), 0, 0, 0)
	for _, step := range []struct {
		file string
		want int64
	}{{first, 10}, {first, 10}, {second, 12}, {first, 12}, {second, 12}} {
		if _, err := db.Merge(ctx, step.file, nil); err != nil {
			t.Fatal(err)
		}
		wantUses(t, db, step.want, step.want, step.want)
		wantUses(t, crash(t, db), step.want, step.want, step.want)
	}
	put(db, 1)
	wantUses(t, db, 13, 13, 13)
	eventually(t, "the ends are counted", func() bool { return usesByName(t, db)["x"].Failed == 13 })
	all := usesByName(t, db)
	if r := all["r"]; !r.Since.Equal(began) || !r.First.Equal(began) || !r.Last.Equal(old.Now()) || !r.Gone.IsZero() {
		t.Errorf("the rule is %+v, and began at %v", r, began)
	}
	if gone, known := all["gone"]; !known || gone.Gone.IsZero() {
		t.Errorf("what only the other database had is %+v", gone)
	}
}
