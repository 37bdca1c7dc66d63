package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/rules"
)

// largePart is how many events of a large history are put; the rest are copies
// of them at other times, because to put five million takes too long.
const (
	largePart = 100_000
	partTime  = 15 * time.Hour
)

// uuidAt returns a UUID of version 7 of a time.
func uuidAt(t time.Time) string {
	id := uuid.Must(uuid.NewV7())
	for i, ms := 5, t.UnixMilli(); i >= 0; i, ms = i-1, ms>>8 {
		id[i] = byte(ms)
	}
	return id.String()
}

// largeHistory makes a queue with a history of n events: three sources, thirty
// names, a fifth with a delivery, of which some failed and few wait, and
// tenants. Some events are rare.
func largeHistory(t *testing.T, n int) (dir string, end time.Time) {
	t.Helper()
	dir = t.TempDir()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	db, err := Open(Options{Dir: dir, MinFree: -1, MaxPending: n, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	things := []queue.Thing{{Kind: queue.RuleThing, Name: "r"}}
	for i := range 30 {
		things = append(things, queue.Thing{Kind: queue.EventThing, Name: []string{"icfm", "pbx", "erp"}[i%3] + ":event_" + strconv.Itoa(i)})
	}
	for i := range 1000 {
		things = append(things, queue.Thing{Kind: queue.RuleThing, Name: "r" + strconv.Itoa(i)}, queue.Thing{Kind: queue.ActionThing, Name: "action_" + strconv.Itoa(i)})
	}
	if err := db.Exist(context.Background(), things); err != nil {
		t.Fatal(err)
	}
	const atOnce = 500
	for i := 0; i < largePart; i += atOnce {
		entries := make([]queue.Entry, atOnce)
		for j := range entries {
			action := ""
			if j%5 == 0 {
				action = "action_" + strconv.Itoa(j/5%4)
			}
			e := benchEntry(action)
			e.Event.ID, e.Event.Received = uuidAt(now), now
			e.Verdict.Held = []string{"r", "r" + strconv.Itoa(j)}
			e.Event.Source = []string{"icfm", "pbx", "erp"}[j%3]
			e.Event.Name = "event_" + strconv.Itoa(j%30)
			if j%7 == 0 {
				e.Event.Parameters[event.Tenant] = "T" + strconv.Itoa(j%11)
			}
			for k := range e.Deliveries {
				e.Deliveries[k].ID = uuidAt(now)
			}
			entries[j] = e
			now = now.Add(partTime / largePart)
		}
		mustPut(t, db, entries...)
		for a := range 4 {
			for k, l := range takeN(t, db, "action_"+strconv.Itoa(a), atOnce/5/4) {
				s := queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: now, Took: 3 * time.Millisecond, Status: 200, Request: "POST /folders\n\n{}", Response: "created"}}
				switch {
				case k == 3:
					s.State, s.Attempt = queue.Failed, &queue.Attempt{Began: now, Status: 422, Error: "the target answered 422 Unprocessable Entity", Request: "POST /folders\n\n{}"}
				case k == 5 && i%50_000 == 0:
					s.State, s.Again = queue.Pending, now.Add(1000*time.Hour)
				}
				if err := db.Settle(l.Token, s); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := db.Sample(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := database.ConnectWriter(filepath.Join(dir, database.FileName), 0)
	if err != nil {
		t.Fatal(err)
	}
	run := func(sql string, args ...any) {
		t.Helper()
		if err := database.Query(conn, sql, func(*sqlite.Stmt) error { return nil }, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	run("PRAGMA synchronous = OFF")
	run("PRAGMA wal_autocheckpoint = 10000")
	run("PRAGMA cache_size = -262144")
	// What the present minute holds goes where the others are.
	run("UPDATE OR REPLACE counts SET minutes = 1 WHERE minutes = 0")
	parts := n / largePart
	for part := 1; part < parts; part++ {
		ids, by := int64(part)*largePart, (time.Duration(part) * partTime).Microseconds()
		run("BEGIN")
		run(`INSERT INTO events (id, kind, received, uuid, test, tenant, parse_error, duplicate_of, verdict, deliveries, record, body, checksum, subject) SELECT id + ?1, kind, received + ?2, uuid_of || substr(uuid, 14), test, tenant, parse_error, duplicate_of, verdict,
				substr(deliveries, 1, 8) || uuid_of || substr(deliveries, 22), record, body, checksum, subject
			FROM (SELECT *, format('%08x-%04x', (received + ?2) / 1000 >> 16, (received + ?2) / 1000 & 65535) AS uuid_of FROM events WHERE id < ?3)`,
			ids, by, int64(layout.FirstEvent+largePart))
		run(`INSERT INTO attempts SELECT id + (?1 << 23), action, state, at + ?2, began + ?2, took, status, error, request, response, empty FROM attempts WHERE id < ?3 << 23`,
			ids, by, int64(layout.FirstEvent+largePart))
		run(`INSERT INTO waiting SELECT action, delivery + (?1 << 11), due + ?2, attempts, first_attempt, order_key, since FROM waiting WHERE delivery < ?3 << 11`,
			ids, by, int64(layout.FirstEvent+largePart))
		run(`INSERT INTO blocks SELECT first + ?1, oldest + ?2, newest + ?2 FROM blocks WHERE first < ?3`, ids, by, int64(layout.FirstEvent+largePart))
		run(`INSERT INTO counts (minutes, at, action, ignored, rule_error, disabled, duplicate, delivered, failed, expired, cancelled, retries, latencies, backlog) SELECT minutes, at + ?1, action, ignored, rule_error, disabled, duplicate, delivered, failed, expired, cancelled, retries, latencies, backlog
			FROM counts WHERE at < ?2`, by, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(partTime).UnixMicro())
		run("COMMIT")
	}
	run("UPDATE facts SET text = (SELECT max(id) FROM events) WHERE name = 'counted'")
	run("UPDATE actions SET waiting = (SELECT count(*) FROM waiting WHERE action = actions.id)")
	for i := range 20 {
		id := int64(layout.FirstEvent + (2*i+1)*n/40)
		run("INSERT OR IGNORE INTO kinds (source, event, decision, actions) VALUES ('icfm', 'rare', 'rule_error', '')")
		run("UPDATE events SET kind = (SELECT id FROM kinds WHERE event = 'rare'), tenant = 'rare', deliveries = NULL, body = CAST('Needle' AS BLOB), verdict = json_set(verdict, '$.decision', 'rule_error') WHERE id = ? AND deliveries IS NULL", id+1)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, now.Add(time.Duration(parts-1) * partTime)
}

// TestLargeHistory reads what the console reads, of a large history.
func TestLargeHistory(t *testing.T) {
	n := max(large(t)/largePart, 1) * largePart
	began := time.Now()
	dir, now := largeHistory(t, n)
	t.Logf("%d events made in %v", n, time.Since(began).Round(time.Second))
	began = time.Now()
	db, err := Open(Options{Dir: dir, MinFree: -1, MaxPending: n, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	info, err := os.Stat(db.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opened in %v; %d MiB, %d bytes an event", time.Since(began).Round(time.Millisecond), info.Size()>>20, info.Size()/int64(n))
	ctx := context.Background()

	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	day := 24 * time.Hour
	for _, c := range []struct {
		what   string
		filter queue.Filter
	}{
		{"none", queue.Filter{}},
		{"the last day", queue.Filter{Since: ago(day)}},
		{"a day two weeks ago", queue.Filter{Since: ago(15 * day), Until: ago(14 * day)}},
		{"source", queue.Filter{Source: "pbx"}},
		{"event", queue.Filter{Event: "event_7"}},
		{"decision", queue.Filter{Decision: rules.Act}},
		{"action", queue.Filter{Action: "action_1"}},
		{"delivered", queue.Filter{States: []queue.State{queue.Delivered}}},
		{"failed", queue.Filter{States: []queue.State{queue.Failed}}},
		{"pending", queue.Filter{States: []queue.State{queue.Pending}}},
		{"action and failed", queue.Filter{Action: "action_2", States: []queue.State{queue.Failed}}},
		{"source, action, failed", queue.Filter{Source: "erp", Action: "action_2", States: []queue.State{queue.Failed}}},
		{"event and failed, a day", queue.Filter{Event: "event_15", States: []queue.State{queue.Failed}, Since: ago(15 * day), Until: ago(14 * day)}},
		{"tenant", queue.Filter{Tenant: "T3"}},
		{"rare tenant", queue.Filter{Tenant: "rare"}},
		{"rare event", queue.Filter{Event: "rare"}},
		{"rare decision", queue.Filter{Decision: rules.RuleError}},
		{"source that is not", queue.Filter{Source: "none"}},
		{"delivered and rare event", queue.Filter{Event: "rare", States: []queue.State{queue.Delivered}}},
		{"expired, of which there are none", queue.Filter{States: []queue.State{queue.Expired}}},
		{"text that is everywhere", queue.Filter{Text: "riverside"}},
		{"text of failed ones", queue.Filter{Text: "unprocessable"}},
		{"rare text", queue.Filter{Text: "needle"}},
		{"text and source that nothing has", queue.Filter{Text: "nothing has this", Source: "pbx"}},
		{"rare text, a day", queue.Filter{Text: "needle", Since: ago(2 * day)}},
	} {
		var first, worst time.Duration
		pages, events, early := 0, 0, 0
		var reached time.Time
		for after := queue.Cursor(""); pages < 20; {
			began := time.Now()
			page, err := db.Page(ctx, c.filter, queue.NewestFirst, after, 50)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			if pages == 0 {
				first = took
			}
			worst = max(worst, took)
			pages++
			events += len(page.Events)
			if page.Early {
				early++
				reached = page.Reached
			}
			if after = page.Next; after == "" {
				break
			}
		}
		text := ""
		if early > 0 {
			text = fmt.Sprintf(", %d ended early, the last after %v", early, now.Sub(reached).Round(time.Hour))
		}
		t.Logf("page: %-34s first %6.1f ms, slowest of %2d %6.1f ms, %4d events%s", c.what, ms(first), pages, ms(worst), events, text)
	}
	deep := queue.Cursor(strconv.FormatInt(layout.FirstEvent+int64(n)/10, 10))
	measure := func(what string, f func() error) {
		began := time.Now()
		err := f()
		t.Logf("%-40s %6.1f ms %v", what, ms(time.Since(began)), err)
	}
	for _, f := range []queue.Filter{{}, {Event: "event_7"}, {States: []queue.State{queue.Failed}}, {Source: "pbx", Decision: rules.Act}} {
		measure(fmt.Sprintf("page at nine tenths of all %+v", f), func() error {
			_, err := db.Page(ctx, f, queue.NewestFirst, deep, 50)
			return err
		})
	}
	var ids, deliveries []string
	step := max(n/200, 1)
	if err := db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		for i := range 200 {
			if err := database.Query(conn, "SELECT uuid FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
				ids = append(ids, row.ColumnText(0))
				return nil
			}, int64(layout.FirstEvent+i*step)); err != nil {
				return err
			}
		}
		return database.Query(conn, "SELECT deliveries ->> '$[0].id' FROM events WHERE id >= ? AND deliveries IS NOT NULL LIMIT 1", func(row *sqlite.Stmt) error {
			deliveries = append(deliveries, row.ColumnText(0))
			return nil
		}, int64(layout.FirstEvent+n/2))
	}); err != nil {
		t.Fatal(err)
	}
	find := func(id string) func() error {
		return func() error {
			_, err := db.Find(ctx, id)
			return err
		}
	}
	measure("how often 2031 things were used", func() error {
		_, err := db.Uses(ctx)
		return err
	})
	measure("find an event", find(ids[100]))
	measure("find a delivery", find(deliveries[0]))
	measure("find by a beginning", find(ids[50][:13]))
	measure("find nothing", find(newUUID()))
	page, err := db.Page(ctx, queue.Filter{}, queue.NewestFirst, "", 200)
	if err != nil {
		t.Fatal(err)
	}
	newest := make([]string, len(page.Events))
	for i, e := range page.Events {
		newest[i] = e.ID
	}
	for what, ids := range map[string][]string{"200 summaries of new events": newest, "200 summaries from everywhere": ids} {
		measure(what, func() error {
			s, err := db.Summaries(ctx, ids)
			if err == nil && len(s) != 200 {
				err = fmt.Errorf("%d were found", len(s))
			}
			return err
		})
	}
	for _, c := range []struct {
		what  string
		since time.Duration
	}{{"hour", time.Hour}, {"day", day}, {"week", 7 * day}, {"month", 31 * day}} {
		for _, n := range []int{120, 720} {
			measure(fmt.Sprintf("series of a %s in %d steps", c.what, n), func() error {
				_, err := db.Series(ctx, ago(c.since), now, n)
				return err
			})
		}
	}
	measure("backlog", func() error {
		_, err := db.Backlog(ctx)
		return err
	})
	measure("switches", func() error {
		_, err := db.Switches(ctx)
		return err
	})
	measure("sample", func() error { return db.Sample(ctx) })
	began = time.Now()
	err = db.Backup(ctx, filepath.Join(t.TempDir(), "backup.db"))
	t.Logf("backup in %v %v", time.Since(began).Round(time.Millisecond), err)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
