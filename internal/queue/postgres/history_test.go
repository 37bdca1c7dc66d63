package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// storage is a schema that several nodes open, with a connection beside them.
type storage struct {
	*testing.T
	dsn, schema string
	conn        *pgx.Conn
}

func newStorage(t *testing.T) *storage {
	t.Helper()
	dsn, schema := pgtest.Schema(t)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(ctx) })
	if err := migrate(ctx, conn, schema); err != nil {
		t.Fatal(err)
	}
	s := &storage{T: t, dsn: dsn, schema: schema, conn: conn}
	s.exec("SET search_path = " + schema)
	return s
}

func (s *storage) exec(sql string, args ...any) {
	s.Helper()
	if _, err := s.conn.Exec(context.Background(), sql, args...); err != nil {
		s.Fatalf("%s: %v", sql, err)
	}
}

// number returns what a statement finds.
func (s *storage) number(sql string, args ...any) (n int64) {
	s.Helper()
	if err := s.conn.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		s.Fatalf("%s: %v", sql, err)
	}
	return n
}

// at lets the clock of the storage stand still.
func (s *storage) at(t time.Time) {
	s.Helper()
	s.exec(fmt.Sprintf("CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT %d::bigint'", t.UnixMicro()))
}

// node opens the storage. It is closed when the test ends.
func (s *storage) node(name string) *DB {
	s.Helper()
	db, err := Open(Options{DSN: s.dsn, Schema: s.schema, Node: name, Connections: MinConnections})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { db.Close() })
	return db
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// storedNow is an event with a delivery of each action.
func storedNow(actions ...string) queue.Entry {
	e := queue.Entry{
		Event:   &event.Event{ID: newID(), Source: "erp", Name: "saved", Received: time.Now(), Parameters: event.Parameters{}, RawBody: []byte(`{"id":1}`), BodyIsRaw: true},
		Verdict: rules.Verdict{Decision: rules.Ignored, Reason: "no rule for it"},
	}
	for _, action := range actions {
		e.Verdict.Decision = rules.Act
		e.Deliveries = append(e.Deliveries, queue.Delivery{ID: newID(), Action: action})
	}
	return e
}

func (s *storage) put(db *DB, entries ...queue.Entry) {
	s.Helper()
	if _, err := db.Put(context.Background(), entries); err != nil {
		s.Fatal(err)
	}
}

// pages reads all pages.
func (s *storage) pages(db *DB, filter queue.Filter, order queue.Order, n int) (ids []string) {
	s.Helper()
	for after := queue.Cursor(""); ; {
		page, err := db.Page(context.Background(), filter, order, after, n)
		if err != nil {
			s.Fatal(err)
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if after = page.Next; after == "" {
			return ids
		}
	}
}

// A large history has more kinds than are looked up one by one, tenants that are rare,
// times that do not go with the ids, and deliveries in all states. Each filter must find
// what going through all events finds.
func TestSearchOfALargeHistory(t *testing.T) {
	s := newStorage(t)
	ctx := context.Background()
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.exec(`INSERT INTO nodes (name) VALUES ('first')`)
	s.exec(`INSERT INTO actions (name) VALUES ('a0'), ('a1'), ('a2')`)
	s.exec(`INSERT INTO kinds (digest, source, event, decision, actions)
		SELECT ('\x' || lpad(to_hex(n), 8, '0'))::bytea, 's' || n % 2, 'e' || n, CASE n % 3 WHEN 0 THEN 'action' ELSE 'ignored' END, CASE n % 3 WHEN 0 THEN '["a' || n / 3 % 3 || '"]' ELSE '' END
		FROM generate_series(0, 599) AS n`)
	// One in a thousand was received long before or after its neighbours.
	s.exec(`INSERT INTO events (id, kind, node, received, uuid, test, tenant, verdict, deliveries, record)
		SELECT n, k.id, 1, $1::bigint + (n + CASE n % 1000 WHEN 7 THEN 9000 WHEN 8 THEN -9000 ELSE n % 5 END) * 1000000::bigint,
			('01890000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, false, CASE n % 5000 WHEN 17 THEN 'rare' WHEN 18 THEN 'other' END, '{}',
			CASE WHEN k.actions <> '' THEN '[{"id":"01890000-0000-7000-9000-' || lpad(to_hex(n), 12, '0') || '","action":' || substr(k.actions, 2) END, '{}'
		FROM generate_series(1, 20000) AS n JOIN kinds k ON k.id = 1 + n * 7 % 600`, layout.Micros(begin))
	s.exec(`INSERT INTO sizes (block, node, part, bytes, oldest, newest) SELECT id >> 12, 1, 0, 1, min(received), max(received) FROM events GROUP BY 1`)
	// State 0 still waits; 5 is a failure that is mended by nothing that is stored, so it stays a candidate that does not pass.
	s.exec(`INSERT INTO attempts (id, action, state, at, began) SELECT e.id << 23, a.id, CASE e.id % 50 WHEN 1 THEN 2 WHEN 2 THEN 3 WHEN 3 THEN 4 ELSE 1 END, e.received, e.received
		FROM events e JOIN kinds k ON k.id = e.kind JOIN actions a ON k.actions = '["' || a.name || '"]' WHERE e.id % 50 <> 4`)
	s.exec(`INSERT INTO waiting (action, delivery, place) SELECT a.id, e.id << 11, e.received
		FROM events e JOIN kinds k ON k.id = e.kind JOIN actions a ON k.actions = '["' || a.name || '"]' WHERE e.id % 50 = 4`)
	s.exec(`ANALYZE`)
	db := s.node("reader")

	all := make(map[string]queue.Summary)
	var order []string
	for after := queue.Cursor(""); ; {
		page, err := db.Page(ctx, queue.Filter{}, queue.OldestFirst, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			all[e.ID] = e
			order = append(order, e.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(all) != 20000 || len(order) != 20000 {
		t.Fatalf("%d events are listed, %d different ones", len(order), len(all))
	}
	if e := all[order[0]]; e.Node != "first" || !e.Received.Equal(begin.Add(2*time.Second)) {
		t.Errorf("the first event is %+v", e)
	}
	for _, filter := range []queue.Filter{
		{Source: "s1", Since: begin.Add(4000 * time.Second), Until: begin.Add(4050 * time.Second)},
		{Event: "e21"}, {Event: "none"}, {Decision: rules.Act, Since: begin.Add(19000 * time.Second)},
		{Tenant: "rare"}, {Tenant: "rare", Source: "s1"}, {Tenant: "none"}, {Tenant: "other", Action: "a1"},
		{Since: begin.Add(5000 * time.Second), Until: begin.Add(5020 * time.Second)},
		{Until: begin}, {Since: begin.Add(29000 * time.Second)}, {Until: begin.Add(-time.Hour * 9)},
		{States: []queue.State{queue.Pending}}, {Action: "a2", States: []queue.State{queue.Pending, queue.Failed}},
		{Action: "a1", States: []queue.State{queue.Failed, queue.Expired, queue.Cancelled}, Until: begin.Add(7000 * time.Second)},
		{States: []queue.State{queue.Delivered}, Since: begin.Add(10000 * time.Second), Until: begin.Add(10500 * time.Second)},
		{States: []queue.State{queue.Mended}}, {Action: "none"}, {Action: "a0", Tenant: "rare"},
		{Text: "7000-9000-000000000030"}, {Text: "no such text", Since: begin.Add(18000 * time.Second)},
	} {
		var want []string
		for _, id := range order {
			e := all[id]
			if filter.Passes(&e) && (filter.Text == "" || strings.Contains(fmt.Sprintf("%+v", e), filter.Text)) {
				want = append(want, id)
			}
		}
		n := 100
		if len(want) < 100 {
			n = 7
		}
		if got := s.pages(db, filter, queue.OldestFirst, n); !slices.Equal(got, want) {
			t.Errorf("%+v, oldest first: found %d events, want %d", filter, len(got), len(want))
		}
		slices.Reverse(want)
		if got := s.pages(db, filter, queue.NewestFirst, n); !slices.Equal(got, want) {
			t.Errorf("%+v: found %d events, want %d", filter, len(got), len(want))
		}
	}
}

// A page is whole that is filled by few events on a busy machine. It ends early where a
// filter lets it search on and on.
func TestPageSearchesSomeEventsWhateverTheTime(t *testing.T) {
	t.Cleanup(func() { searchTime = activity.SearchTime })
	searchTime = func(*queue.Filter) time.Duration { return 0 }
	s := newStorage(t)
	db := s.node("n")
	entries := make([]queue.Entry, 600)
	for i := range entries {
		entries[i] = storedNow()
	}
	s.put(db, entries...)
	for _, filter := range []queue.Filter{{}, {Text: "id"}} {
		if page, err := db.Page(context.Background(), filter, queue.NewestFirst, "", 50); err != nil || len(page.Events) != 50 || page.Early {
			t.Errorf("%+v: the page has %d events, early %v, error %v; want 50", filter, len(page.Events), page.Early, err)
		}
	}
	page, err := db.Page(context.Background(), queue.Filter{Text: "elsewhere"}, queue.NewestFirst, "", 50)
	if err != nil || !page.Early || page.Next == "" || page.Reached.IsZero() {
		t.Errorf("a search that finds nothing ended with %+v and %v, want it to end early", page, err)
	}
}

func TestPageOfEventsEndsWithLargeBodies(t *testing.T) {
	s := newStorage(t)
	db := s.node("n")
	var want, got []string
	for i := range 7 {
		e := storedNow()
		size := 600 << 10
		if i == 3 {
			size = 5 << 20 // alone is more than one statement reads of several
		}
		e.Event.RawBody = []byte(`"` + strings.Repeat("y", size) + `"`)
		want = append(want, e.Event.ID)
		s.put(db, e)
	}
	slices.Reverse(want)
	for after := queue.Cursor(""); ; {
		page, err := db.Events(context.Background(), queue.Filter{}, queue.NewestFirst, after, 100)
		if err != nil || len(page.Events) > 2 {
			t.Fatalf("the page has %d events and %v, want at most 2", len(page.Events), err)
		}
		for _, e := range page.Events {
			got = append(got, e.Summary.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have %q, want %q", got, want)
	}
	// A text at the end of the last of many bodies is found.
	e := storedNow()
	e.Event.RawBody = []byte(`"` + strings.Repeat("z", 3<<20) + `needle"`)
	s.put(db, e)
	for _, order := range []queue.Order{queue.NewestFirst, queue.OldestFirst} {
		if found := s.pages(db, queue.Filter{Text: "NEEDLE"}, order, 10); len(found) != 1 || found[0] != e.Event.ID {
			t.Errorf("found %v", found)
		}
	}
}

// What is added to an event after it was found to be finished must not be removed with
// it.
func TestPruneLeavesWhatWasAddedMeanwhile(t *testing.T) {
	s := newStorage(t)
	db := s.node("n")
	ctx := context.Background()
	old, other := storedNow(), storedNow()
	s.put(db, old, other)
	found, err := numbers[int64](ctx, s.conn, "SELECT id FROM events")
	if err != nil || len(found) != 2 {
		t.Fatalf("%d events and %v", len(found), err)
	}
	added := queue.Delivery{ID: newID(), Action: "x"}
	if err := db.Amend(ctx, []queue.Amendment{{Event: old.Event.ID, Deliveries: []queue.Delivery{added}}}); err != nil {
		t.Fatal(err)
	}
	removed := 0
	if err := db.write(ctx, func(tx pgx.Tx) (err error) {
		removed, err = db.remove(ctx, tx, found)
		return err
	}); err != nil || removed != 1 {
		t.Fatalf("%d events were removed, %v; want 1", removed, err)
	}
	leases, err := db.Take(ctx, "x", 1)
	if err != nil || len(leases) != 1 || leases[0].Delivery.ID != added.ID || leases[0].Event == nil {
		t.Errorf("the leases are %+v, %v", leases, err)
	}
}

// Nodes that prune at once remove each event once, and what is left of the sizes is that
// of what is left.
func TestNodesPruneAtOnce(t *testing.T) {
	s := newStorage(t)
	nodes := []*DB{s.node("a"), s.node("b"), s.node("c")}
	const number = 600
	entries := make([]queue.Entry, number)
	for i := range entries {
		entries[i] = storedNow()
		entries[i].Event.RawBody = []byte(strings.Repeat("x", 1000))
	}
	s.put(nodes[0], entries[:number/2]...)
	s.put(nodes[1], entries[number/2:]...)
	young := storedNow()
	young.Event.Received = time.Now().Add(2 * time.Hour)
	s.put(nodes[2], young)
	var wait sync.WaitGroup
	counts := make([]int, len(nodes))
	for i, db := range nodes {
		wait.Go(func() {
			n, err := db.Prune(context.Background(), time.Now().Add(time.Hour), 0)
			if err != nil {
				t.Error(err)
			}
			counts[i] = n
		})
	}
	wait.Wait()
	if counts[0]+counts[1]+counts[2] != number {
		t.Errorf("the nodes removed %v events, want %d together", counts, number)
	}
	if left := s.pages(nodes[0], queue.Filter{}, queue.NewestFirst, 10); len(left) != 1 || left[0] != young.Event.ID {
		t.Errorf("%v are left", left)
	}
	if bytes := s.number(sumSizes); bytes < 256 || bytes > 2000 {
		t.Errorf("one event takes %d bytes", bytes)
	}
}

// Uses are counted once, on whichever node, also of a node that ends without Close.
func TestUsesOfNodesThatEnd(t *testing.T) {
	s := newStorage(t)
	ctx := context.Background()
	things := []queue.Thing{{Kind: queue.EventThing, Name: "erp:saved"}, {Kind: queue.RuleThing, Name: "r"}, {Kind: queue.ActionThing, Name: "x"}}
	for i, name := range []string{"a", "b", "a"} {
		db := s.node(name)
		if err := db.Exist(ctx, things); err != nil {
			t.Fatal(err)
		}
		for range 2 + i {
			e := storedNow("x")
			e.Verdict.Held = []string{"r"}
			s.put(db, e)
		}
		// The next of the same name begins as if this one were gone.
	}
	uses, err := s.node("d").Uses(ctx)
	if err != nil || len(uses) != len(things) {
		t.Fatalf("the uses are %+v, %v", uses, err)
	}
	for _, use := range uses {
		if use.Count != 2+3+4 || use.First.IsZero() || use.Last.Before(use.First) {
			t.Errorf("%s %s was used %d times from %v to %v", use.Kind, use.Name, use.Count, use.First, use.Last)
		}
	}
}

// A note takes the place of the one before also when two nodes make it at once.
func TestNodesReplaceANoteAtOnce(t *testing.T) {
	s := newStorage(t)
	nodes := []*DB{s.node("a"), s.node("b")}
	var wait sync.WaitGroup
	for _, db := range nodes {
		wait.Go(func() {
			for i := range 10 {
				if err := db.Note(context.Background(), queue.Note{Kind: "k", Name: "n", Text: fmt.Sprint(db.Node(), i), Replace: true}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if n := s.number("SELECT count(*) FROM notes WHERE kind = 'k'"); n != 1 {
		t.Errorf("there are %d notes, want 1", n)
	}
}

// A chart says the same before and after its counts were added up, whatever node did.
func TestCountsAreAddedUpOnce(t *testing.T) {
	s := newStorage(t)
	ctx := context.Background()
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	s.at(begin)
	nodes := []*DB{s.node("a"), s.node("b")}
	total := 0
	for i := range 6 * 4 {
		s.at(begin.Add(time.Duration(i) * 15 * time.Minute))
		for range 1 + i%2 {
			s.put(nodes[i%2], storedNow())
			total++
		}
	}
	// Of an import.
	for _, minutes := range []int64{1, 10, 60} {
		s.exec("INSERT INTO counts (minutes, at, name, node, n) VALUES ($1, $2, 'ignored', 0, 100)", minutes, layout.Micros(begin))
	}
	total += 100
	check := func(when string) {
		t.Helper()
		for _, n := range []int{1, 3, 12, 400} {
			series, err := nodes[0].Series(ctx, begin, begin.Add(7*time.Hour), n)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0
			for _, p := range series.Points {
				sum += p.Events[rules.Ignored]
			}
			if sum != total {
				t.Errorf("%s: %d events are counted in %d steps, want %d", when, sum, n, total)
			}
		}
	}
	check("before")
	var wait sync.WaitGroup
	for range 3 {
		for _, db := range nodes {
			wait.Go(func() {
				if err := db.Sample(ctx); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	check("after")
	if n := s.number("SELECT count(*) FROM counts WHERE minutes = 60 AND node = 0"); n < 3 {
		t.Errorf("%d hours were added up", n)
	}
	// A count of before the end of the hours is found behind it.
	s.put(nodes[1], storedNow())
	total++
	check("later")
	s.at(begin.Add(10 * time.Hour))
	if err := nodes[1].Sample(ctx); err != nil {
		t.Fatal(err)
	}
	check("added up again")
}
