package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/rules"
)

// importedThings are what the configuration of the old relay had.
var importedThings = []queue.Thing{
	{Kind: queue.EventThing, Name: "icfm:job_saved", Place: "Caddyfile:3"}, {Kind: queue.RuleThing, Name: "r"},
	{Kind: queue.ActionThing, Name: "plain"}, {Kind: queue.ActionThing, Name: "keyed"}, {Kind: queue.ActionThing, Name: "gone"},
}

// oldQueue is a queue that SQLite's engine made, in which everything occurs.
type oldQueue struct {
	dir string
	mu  sync.Mutex
	now time.Time
	ids []string // of its events
}

func importedID() string { return uuid.Must(uuid.NewV7()).String() }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (q *oldQueue) clock() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.now
}

// open opens the queue with the engine that made it.
func (q *oldQueue) open(t testing.TB) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(sqlite.Options{Dir: q.dir, MinFree: -1, Clock: q.clock})
	must(t, err)
	return db
}

func (q *oldQueue) entry(i int) queue.Entry {
	name := []string{"", "plain", "keyed", "paused", "plain"}[i%5]
	e := queue.Entry{
		Event: &event.Event{
			ID: importedID(), Source: "icfm", Name: "job_saved", Received: q.now, Method: "POST", Path: "/listen.php", IP: "203.0.113.9", Subject: fmt.Sprint("Project ", i),
			Headers: map[string][]string{"Content-Type": {"application/json"}}, RawBody: fmt.Appendf(nil, `{"event":"job_saved","number":%d,"text":"a\u0000b %s"}`, i, "\xff"), BodyIsRaw: true,
			Test: i%40 == 7,
		},
		Verdict: rules.Verdict{Decision: rules.Ignored, Reason: "nothing to do", Rule: "Caddyfile:31"},
	}
	if i%3 == 0 {
		e.Event.Parameters[event.Tenant] = "T1"
	}
	if name != "" {
		e.Verdict = rules.Verdict{Decision: rules.Act, Rule: "Caddyfile:12", Held: []string{"r"}, Actions: []rules.ActionCall{{Action: name, Rule: "Caddyfile:12"}}}
		e.Deliveries = []queue.Delivery{{ID: importedID(), Action: name}}
	}
	if name == "keyed" {
		e.Deliveries[0].OrderKey = "key" + strconv.Itoa(i%15)
	}
	if i%20 == 4 {
		e.Deliveries[0].Due, e.Deliveries[0].Expires = q.now.Add(time.Hour), q.now.Add(48*time.Hour)
	}
	if i%50 == 1 {
		e.DedupeKey, e.DedupeWindow = fmt.Sprint("once", i%100), 24*time.Hour
	}
	return e
}

// newOldQueue makes a queue with n events. Some deliveries ended, some wait.
func newOldQueue(t testing.TB, n int) *oldQueue {
	t.Helper()
	ctx := context.Background()
	q := &oldQueue{dir: t.TempDir(), now: time.Now().Add(-time.Hour).Truncate(time.Microsecond)}
	db := q.open(t)
	must(t, db.Exist(ctx, importedThings))
	must(t, db.Note(ctx, queue.Note{Kind: queue.NoteConfiguration, Name: "digest", Text: "what it said"}))
	_, err := db.Change(ctx, queue.Change{Switch: &queue.Switch{Kind: queue.SwitchAction, Name: "paused", Off: true, Reason: "moving"}})
	must(t, err)
	step := 45 * time.Minute / time.Duration(n)
	settle := func(action string, count int, state queue.State) {
		for count > 0 {
			leases, err := db.Take(ctx, action, min(count, 500))
			must(t, err)
			for i, l := range leases {
				s := queue.Settlement{State: state, Attempt: &queue.Attempt{Began: q.now, Took: time.Millisecond, Status: 200 + i%3, Request: "POST /x HTTP/1.1\r\n\r\n\xff\x00", Response: "an answer"}}
				if state != queue.Delivered {
					s.Attempt.Status, s.Attempt.Error, s.Attempt.Empty = 500, "the target answered 500 \x00\xfe", []string{"tag"}
				}
				if state == queue.Pending {
					s.Again = q.now.Add(time.Duration(i+1) * time.Minute)
				}
				must(t, db.Settle(l.Token, s))
			}
			count -= len(leases)
		}
	}
	for first := 0; first < n; first += 100 {
		var entries []queue.Entry
		for i := first; i < min(first+100, n); i++ {
			e := q.entry(i)
			entries, q.ids = append(entries, e), append(q.ids, e.Event.ID)
			q.mu.Lock()
			q.now = q.now.Add(step)
			q.mu.Unlock()
		}
		_, err := db.Put(ctx, entries)
		must(t, err)
		settle("plain", len(entries)/5, queue.Delivered)
		if first%300 == 0 {
			settle("keyed", 2, queue.Delivered)
			settle("plain", 2, queue.Failed)
			settle("plain", 1, queue.Pending)
			must(t, db.Sample(ctx))
		}
	}
	// A newer delivery of a key that can be taken waits, and then an older event gets
	// one behind it. One that failed is sent again and arrives.
	settle("keyed", 1, queue.Pending)
	must(t, db.Amend(ctx, []queue.Amendment{{Event: q.ids[0], Deliveries: []queue.Delivery{
		{ID: importedID(), Action: "keyed", OrderKey: "key2"}, {ID: importedID(), Action: "keyed", OrderKey: "of its own"}, {ID: importedID(), Action: "y"}}}}))
	_, err = db.Change(ctx, queue.Change{Move: &queue.Move{From: "y", To: "z"}})
	must(t, err)
	failed, err := db.Page(ctx, queue.Filter{States: []queue.State{queue.Failed}}, queue.NewestFirst, "", 1)
	must(t, err)
	of := failed.Events[0].Deliveries[0]
	must(t, db.Amend(ctx, []queue.Amendment{{Event: failed.Events[0].ID, Deliveries: []queue.Delivery{{ID: importedID(), Action: "mending", Of: of.ID}}}}))
	settle("mending", 1, queue.Delivered)
	must(t, db.Exist(ctx, importedThings[:len(importedThings)-1]))
	must(t, db.Close())
	return q
}

func (q *oldQueue) archive(t testing.TB) *sqlite.Archive {
	t.Helper()
	a, err := sqlite.OpenArchive(context.Background(), q.dir)
	must(t, err)
	return a
}

func openImporter(t testing.TB, store Store) queue.Importer {
	t.Helper()
	im, err := store.OpenImporter(context.Background())
	must(t, err)
	t.Cleanup(func() { must(t, im.Close()) })
	return im
}

// imports imports a queue, and says what was stored.
func (q *oldQueue) imports(t testing.TB, ctx context.Context, store Store, progress func(read int64, stored queue.Imported)) (queue.Imported, error) {
	t.Helper()
	a := q.archive(t)
	defer a.Close()
	im := openImporter(t, store)
	if progress == nil {
		progress = func(int64, queue.Imported) {}
	}
	return queue.Import(ctx, a, im, progress)
}

// pages returns all events of a history, newest first.
func pages(t testing.TB, h queue.History, filter queue.Filter) (all []queue.Summary) {
	t.Helper()
	for after := queue.Cursor(""); ; {
		page, err := h.Page(context.Background(), filter, queue.NewestFirst, after, 500)
		must(t, err)
		all = append(all, page.Events...)
		if after = page.Next; after == "" {
			return all
		}
	}
}

// same holds what is imported against what the engine says that it is of.
func (q *oldQueue) same(t *testing.T, got *DB) {
	t.Helper()
	ctx := context.Background()
	// The queue is not to be used: what is asked is a copy.
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(q.dir)))
	want := (&oldQueue{dir: dir, now: q.now}).open(t)
	defer want.Close()

	events, was := pages(t, got, queue.Filter{}), pages(t, want, queue.Filter{})
	if len(events) != len(q.ids) || len(was) != len(events) {
		t.Fatalf("there are %d events, want %d", len(events), len(q.ids))
	}
	for i := range events {
		equal(t, "event "+was[i].ID, events[i], was[i])
	}
	for i := 0; i < len(events); i += 7 {
		detail, err := got.Find(ctx, events[i].ID)
		must(t, err)
		before, err := want.Find(ctx, events[i].ID)
		must(t, err)
		equal(t, "the whole of event "+events[i].ID, detail, before)
		for _, d := range events[i].Deliveries {
			if found, err := got.Find(ctx, d.ID); err != nil || found.Summary.ID != events[i].ID {
				t.Errorf("delivery %s is found as %+v, %v", d.ID, found.Summary, err)
			}
		}
	}
	for _, filter := range []queue.Filter{
		{States: []queue.State{queue.Failed}}, {States: []queue.State{queue.Mended}}, {States: []queue.State{queue.Pending}, Action: "keyed"},
		{Tenant: "T1"}, {Decision: rules.Ignored}, {Action: "z"}, {Since: was[len(was)/2].Received},
	} {
		found, all := pages(t, got, filter), pages(t, want, filter)
		if len(found) != len(all) || len(all) == 0 {
			t.Errorf("%+v finds %d events, want %d", filter, len(found), len(all))
		}
	}
	backlog, err := got.Backlog(ctx)
	must(t, err)
	waited, err := want.Backlog(ctx)
	must(t, err)
	equal(t, "the backlog", backlog, waited)
	for _, n := range []int{12, 3} {
		series, err := got.Series(ctx, q.now.Add(-2*time.Hour), q.now.Add(time.Hour), n)
		must(t, err)
		counted, err := want.Series(ctx, q.now.Add(-2*time.Hour), q.now.Add(time.Hour), n)
		must(t, err)
		equal(t, "what happened over time", series, counted)
	}
	uses, err := got.Uses(ctx)
	must(t, err)
	used, err := want.Uses(ctx)
	must(t, err)
	for _, list := range [][]queue.Use{uses, used} {
		slices.SortFunc(list, func(a, b queue.Use) int { return strings.Compare(a.Name, b.Name) })
	}
	equal(t, "the uses", uses, used)
	switches, err := got.Switches(ctx)
	must(t, err)
	off, err := want.Switches(ctx)
	must(t, err)
	equal(t, "the switches", switches, off)
	note, err := got.FindNote(ctx, queue.NoteConfiguration, "digest")
	if err != nil || note.Text != "what it said" || note.Node != "" {
		t.Errorf("the note on the configuration is %+v, %v", note, err)
	}
	found, err := got.Verify(ctx)
	must(t, err)
	if len(found) > 0 {
		t.Errorf("Verify found %q", found)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is\n%+v, want\n%+v", what, got, want)
	}
}

// order is what can be taken of some actions, one after another, until nothing is left:
// the deliveries with what they carry. Of what has an order key, that is the order of
// each key; else it is sorted.
func order(t *testing.T, q queue.Queue, now time.Time, counts map[string]int) (taken map[string][]queue.Delivery) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	taken = make(map[string][]queue.Delivery)
	for action, n := range counts {
		_, err := q.Change(ctx, queue.Change{TryAction: action})
		must(t, err)
		for got := 0; got < n; {
			leases, err := q.Take(ctx, action, 100)
			if err != nil {
				t.Fatalf("%d of %d deliveries of %s were taken: %v", got, n, action, err)
			}
			got += len(leases)
			for _, l := range leases {
				d := l.Delivery
				key := action + " " + d.OrderKey
				d.Due = time.Time{} // TryAction changed it
				taken[key] = append(taken[key], d)
				must(t, q.Settle(l.Token, queue.Settlement{State: queue.Cancelled}))
			}
		}
	}
	for key, list := range taken {
		if strings.HasSuffix(key, " ") {
			slices.SortFunc(list, func(a, b queue.Delivery) int { return strings.Compare(a.ID, b.ID) })
		}
	}
	return taken
}

// What a process is to import, and where.
const (
	importChildDir    = "EVENT_RELAY_IMPORT_DIR"
	importChildDSN    = "EVENT_RELAY_IMPORT_DSN"
	importChildSchema = "EVENT_RELAY_IMPORT_SCHEMA"
)

func TestMain(m *testing.M) {
	if os.Getenv(importChildDir) == "" {
		os.Exit(m.Run())
	}
	if err := importChild(context.Background()); err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

// importChild is what the process does that TestImport kills. It says "part" for each
// part that is stored, and "end".
func importChild(ctx context.Context) error {
	a, err := sqlite.OpenArchive(ctx, os.Getenv(importChildDir))
	if err != nil {
		return err
	}
	defer a.Close()
	im, err := Store{DSN: os.Getenv(importChildDSN), Schema: os.Getenv(importChildSchema)}.OpenImporter(ctx)
	if err != nil {
		return err
	}
	defer im.Close()
	stored, err := queue.Import(ctx, a, im, func(int64, queue.Imported) { fmt.Println("part") })
	if err == nil {
		fmt.Println("end", stored.Events, stored.Known)
	}
	return err
}

// importAndKill imports in a process that is killed once it has stored some parts. It
// reports whether the import ended before.
func (q *oldQueue) importAndKill(t *testing.T, store Store, parts int) (ended bool) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), importChildDir+"="+q.dir, importChildDSN+"="+store.DSN, importChildSchema+"="+store.Schema)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "part" {
			if parts--; parts == 0 {
				must(t, child.Process.Kill())
			}
		}
		ended = ended || strings.HasPrefix(lines.Text(), "end ")
		if strings.HasPrefix(lines.Text(), "failed ") {
			t.Fatal(lines.Text())
		}
	}
	_ = child.Wait() // it was killed
	return ended
}

// An import that is killed goes on when it is repeated, and repeating it once more
// changes nothing. What is there then is what was there before.
func TestImport(t *testing.T) {
	ctx := context.Background()
	dsn, schema := pgtest.Schema(t)
	store := Store{DSN: dsn, Schema: schema, Node: "a"}
	q := newOldQueue(t, 1600)
	killed := 0
	for parts := 1; !q.importAndKill(t, store, parts); parts++ {
		if killed++; killed == 3 {
			break
		}
	}
	if killed != 3 {
		t.Errorf("it ended after it had been killed %d times: this shows nothing", killed)
	}
	total, err := q.imports(t, ctx, store, nil)
	if err != nil || total.Known != 0 || total.Events == 0 || total.Events > int64(len(q.ids)) {
		t.Errorf("the last import gave %+v, %v", total, err)
	}
	again, err := q.imports(t, ctx, store, nil)
	if err != nil || again != (queue.Imported{}) {
		t.Errorf("once more: %+v, %v", again, err)
	}
	engine, err := store.Open(true, zaptest.NewLogger(t))
	must(t, err)
	defer engine.Close()
	q.same(t, engine.(*DB))
	if t.Failed() {
		return
	}

	// What waits is handed out as SQLite's engine does.
	counts := make(map[string]int)
	backlog, err := engine.Backlog(ctx)
	must(t, err)
	for _, b := range backlog {
		if !b.Paused {
			counts[b.Action] = b.Count
		} else if b.Action != "paused" {
			t.Errorf("%s is paused", b.Action)
		}
	}
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(q.dir)))
	old := (&oldQueue{dir: dir, now: q.now}).open(t)
	defer old.Close()
	want, got := order(t, old, q.now, counts), order(t, engine, q.now, counts)
	if len(want) < 5 {
		t.Errorf("only %d keys are waited for: this shows nothing", len(want))
	}
	for key := range want {
		equal(t, "the order of "+key, got[key], want[key])
	}
	// A repetition of before is known as one.
	e := q.entry(1)
	e.Event.ID = importedID()
	receipts, err := engine.Put(ctx, []queue.Entry{e})
	if err != nil || receipts[0].DuplicateOf != q.ids[1] {
		t.Errorf("a repetition of event %s is stored as one of %+v, %v", q.ids[1], receipts, err)
	}
}

// Nodes are at work while a queue is imported: nothing is delivered twice, of the
// archive each order key is delivered in its order, and what was paused stays so.
func TestImportWhileNodesWork(t *testing.T) {
	dsn, schema := pgtest.Schema(t)
	store := Store{DSN: dsn, Schema: schema, Node: "a"}
	engine, err := store.Open(true, zaptest.NewLogger(t))
	must(t, err)
	defer engine.Close()
	q := newOldQueue(t, 1200)
	a := q.archive(t)
	contents, err := a.Contents(t.Context())
	must(t, err)
	must(t, a.Close())

	// The node has an event of its own, which is the newest, and a delivery of a key
	// of the archive.
	own := q.entry(2)
	own.Event.Received = time.Now()
	_, err = engine.Put(t.Context(), []queue.Entry{own})
	must(t, err)

	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	delivered := make(chan queue.Lease, 10000)
	var takers sync.WaitGroup
	want := 1
	for _, b := range contents.Unfinished {
		takers.Go(func() {
			for {
				leases, err := engine.Take(ctx, b.Action, 20)
				if err != nil {
					return
				}
				for _, l := range leases {
					delivered <- l
					if err := engine.Settle(l.Token, queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: time.Now(), Status: 200}}); err != nil {
						t.Errorf("settling delivery %s: %v", l.Delivery.ID, err)
					}
				}
			}
		})
		if !b.Paused {
			want += b.Count
		}
	}
	stored, err := q.imports(t, t.Context(), store, nil)
	if err != nil || stored.Events != int64(len(q.ids)) {
		t.Fatalf("imported %+v, %v", stored, err)
	}
	for _, b := range contents.Unfinished {
		_, err := engine.Change(t.Context(), queue.Change{TryAction: b.Action})
		must(t, err)
	}
	seen, last := make(map[string]bool), make(map[string]time.Time)
	for len(seen) < want {
		select {
		case l := <-delivered:
			if seen[l.Delivery.ID] {
				t.Errorf("delivery %s was handed out twice", l.Delivery.ID)
			}
			seen[l.Delivery.ID] = true
			if l.Delivery.Action == "paused" {
				t.Errorf("delivery %s was handed out though its action is paused", l.Delivery.ID)
			}
			if key := l.Delivery.OrderKey; key != "" && l.Event.ID != own.Event.ID && l.Event.ID != q.ids[0] {
				if l.Event.Received.Before(last[key]) {
					t.Errorf("of key %s, an event of %s came after one of %s", key, l.Event.Received, last[key])
				}
				last[key] = l.Event.Received
			}
		case <-ctx.Done():
			t.Fatalf("%d of %d deliveries were handed out", len(seen), want)
		}
	}
	stop()
	takers.Wait()
	events := pages(t, engine, queue.Filter{})
	if len(events) != len(q.ids)+1 || events[0].ID != own.Event.ID || events[0].Node != "a" || events[1].ID != q.ids[len(q.ids)-1] {
		t.Errorf("there are %d events, the newest %+v", len(events), events[0])
	}
	if found, err := engine.(queue.Verifier).Verify(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("Verify found %q, %v", found, err)
	}
}

// Two queues are imported one after the other, and what both have is stored once.
func TestImportOfTwo(t *testing.T) {
	ctx := context.Background()
	dsn, schema := pgtest.Schema(t)
	store := Store{DSN: dsn, Schema: schema}
	one, other := newOldQueue(t, 300), newOldQueue(t, 300)
	// The second also has what a copy of the first has, under another identity.
	restored := &oldQueue{dir: t.TempDir(), now: one.now}
	db, backup := one.open(t), filepath.Join(t.TempDir(), "backup")
	must(t, db.Backup(ctx, backup))
	must(t, db.Close())
	must(t, sqlite.Restore(backup, restored.dir))

	im := openImporter(t, store)
	a := one.archive(t)
	origin := a.Origin()
	must(t, a.Close())
	if place, err := im.Imported(ctx, origin); place != "" || err != nil {
		t.Errorf("before it begins, %q is in, %v", place, err)
	}
	for i, c := range []struct {
		q    *oldQueue
		want queue.Imported
	}{{one, queue.Imported{Events: 300}}, {other, queue.Imported{Events: 300}}, {restored, queue.Imported{Known: 300}}, {one, queue.Imported{}}} {
		stored, err := c.q.imports(t, ctx, store, nil)
		if stored.Unfinished = 0; err != nil || stored != c.want {
			t.Errorf("import %d gave %+v, %v; want %+v", i, stored, err, c.want)
		}
	}
	// A relay uses the first again.
	db = one.open(t)
	must(t, db.Close())
	if _, err := one.imports(t, ctx, store, nil); !errors.Is(err, queue.ErrUsedSince) {
		t.Errorf("after it was used: %v", err)
	}
	engine, err := store.Open(true, zaptest.NewLogger(t))
	must(t, err)
	defer engine.Close()
	events := pages(t, engine, queue.Filter{})
	want := slices.Concat(other.ids, one.ids)
	slices.Reverse(want)
	if len(events) != len(want) {
		t.Fatalf("there are %d events, want %d", len(events), len(want))
	}
	for i, e := range events {
		if e.ID != want[i] {
			t.Fatalf("event %d is %s, want %s", i, e.ID, want[i])
		}
	}
	if found, err := engine.(queue.Verifier).Verify(ctx); err != nil || len(found) > 0 {
		t.Errorf("Verify found %q, %v", found, err)
	}
}
