package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// oldRelay makes a history in which everything occurs, and returns a backup of
// it and its events, newest first.
func oldRelay(t *testing.T, n int) (file string, uuids []string, states map[string]queue.State) {
	t.Helper()
	ctx := context.Background()
	h := newHarness(t, limits{})
	h.Open(t)
	states = make(map[string]queue.State)
	for i := range n {
		e := benchEntry([]string{"", "old", "both"}[i%3])
		e.Event.Received = h.Now()
		e.Event.Parameters[event.Tenant] = "T1"
		e.Event.Subject = "of before"
		if i%3 == 1 && i%2 == 0 {
			e.Deliveries[0].OrderKey = "k"
		}
		mustPut(t, h.db, e)
		uuids = append(uuids, e.Event.ID)
		for _, d := range e.Deliveries {
			states[d.ID] = queue.Cancelled // unless it ends
		}
		h.set(time.Second)
	}
	for _, l := range takeN(t, h.db, "both", n/6) {
		s := queue.Settlement{State: []queue.State{queue.Delivered, queue.Failed, queue.Expired, queue.Pending}[len(l.Delivery.ID+l.Event.ID)%2], Attempt: &queue.Attempt{Began: h.Now(), Status: 500, Error: "why"}}
		if l.Event.ID[35] < '8' {
			s.State = queue.Pending
			s.Again = h.Now().Add(time.Hour)
		} else {
			states[l.Delivery.ID] = s.State
		}
		if err := h.db.Settle(l.Token, s); err != nil {
			t.Fatal(err)
		}
	}
	added := queue.Delivery{ID: newUUID(), Action: "old"}
	states[added.ID] = queue.Cancelled
	if err := h.db.Amend(ctx, []queue.Amendment{{Event: uuids[0], Deliveries: []queue.Delivery{added}}}); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Note(ctx, queue.Note{Kind: queue.NoteConfiguration, Name: "old", Text: "what it said"}); err != nil {
		t.Fatal(err)
	}
	file = backupOf(t, h.db)
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(uuids)
	return file, uuids, states
}

func pageAll(t *testing.T, db *DB, filter queue.Filter) (uuids []string) {
	t.Helper()
	for after := queue.Cursor(""); ; {
		page, err := db.Page(context.Background(), filter, queue.NewestFirst, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			uuids = append(uuids, e.ID)
		}
		if after = page.Next; after == "" {
			return uuids
		}
	}
}

func countedEvents(t *testing.T, db *DB) (n int64) {
	t.Helper()
	if err := db.readers.Read(context.Background(), func(conn *sqlite.Conn) (err error) {
		n, err = database.QueryInt(conn, "SELECT sum(action + ignored + rule_error + disabled + duplicate) FROM counts WHERE minutes IN (0, 60)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMerge(t *testing.T) {
	t.Parallel()
	const n = 1500
	ctx := context.Background()
	file, old, states := oldRelay(t, n)
	for name, own := range map[string]int{"into an empty database": 0, "into one that is at work": 700} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, limits{})
			h.set(30 * 24 * time.Hour)
			h.Open(t)
			var want []string
			for range own {
				e := benchEntry("x")
				e.Event.Received = h.Now()
				mustPut(t, h.db, e)
				want = append(want, e.Event.ID)
			}
			slices.Reverse(want)
			want = append(want, old...)
			takeN(t, h.db, "x", own/2)

			// Broken off, begun again, and once more when all is there.
			broken, cancel := context.WithCancel(ctx)
			var reached int64
			first, err := h.db.Merge(broken, file, func(done, total int64) {
				if reached = done; total != n {
					t.Errorf("the total is %d", total)
				}
				if done > n/2 {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) || first == 0 || first >= n {
				t.Errorf("broken off after %d: %d added and %v", reached, first, err)
			}
			if err := h.db.Close(); err != nil {
				t.Fatal(err)
			}
			h.Open(t)
			second, err := h.db.Merge(ctx, file, func(done, _ int64) { reached = done })
			if err != nil || second == 0 || reached != n {
				t.Errorf("the second time %d were added, %d looked at, and %v", second, reached, err)
			}
			mustPut(t, h.db)
			if again, err := h.db.Merge(ctx, file, nil); again != 0 || err != nil {
				t.Errorf("the third time %d were added and %v", again, err)
			}
			if first+second < n || first+second > n+mergeAtOnce { // what was committed when it was broken off may not be told
				t.Errorf("%d and %d were added", first, second)
			}
			if got := pageAll(t, h.db, queue.Filter{}); !slices.Equal(got, want) {
				t.Errorf("there are %d events, want %d in their order", len(got), len(want))
			}
			if got := countedEvents(t, h.db); got != int64(own+n) {
				t.Errorf("%d events are counted, want %d", got, own+n)
			}
			verified(t, h.db)
			for id, state := range states {
				history, err := h.db.Find(ctx, id)
				if err != nil {
					t.Fatal(err)
				}
				if history.Summary.Subject != "of before" {
					t.Fatalf("the subject of event %s is %q", history.Summary.ID, history.Summary.Subject)
				}
				for _, d := range history.Summary.Deliveries {
					if d.ID == id && d.State != state {
						t.Errorf("delivery %s is %s, want %s", id, d.State, state)
					}
				}
			}
			if got := pageAll(t, h.db, queue.Filter{Action: "both", States: []queue.State{queue.Cancelled}, Tenant: "T1"}); len(got) < n/6 {
				t.Errorf("only %d deliveries were cancelled", len(got))
			}
			if notes, err := h.db.Notes(ctx, queue.NoteConfiguration, time.Time{}, time.Time{}, 10, true); err != nil || len(notes) != 1 || notes[0].Text != "what it said" {
				t.Errorf("the notes are %+v and %v", notes, err)
			}
			nothingToTake(t, h.db, "old")

			// Life goes on.
			if err := h.db.Close(); err != nil {
				t.Fatal(err)
			}
			h.Open(t)
			e := benchEntry("old")
			e.Event.Received = h.Now()
			mustPut(t, h.db, e)
			takeN(t, h.db, "old", 1)
			if got := pageAll(t, h.db, queue.Filter{}); got[0] != e.Event.ID || len(got) != own+n+1 {
				t.Errorf("a new event is not the newest")
			}
			if removed, err := h.db.Prune(ctx, h.Now().Add(-24*time.Hour), 0); removed != n || err != nil {
				t.Errorf("Prune removed %d and gave %v", removed, err)
			}
			verified(t, h.db)
		})
	}
}

// A backup of this database itself adds what was removed since, and counts
// nothing twice.
func TestMergeOfOneself(t *testing.T) {
	ctx := context.Background()
	db := benchOpen(t, Options{MinFree: -1})
	fill(t, db, 1000, "")
	file := backupOf(t, db)
	fill(t, db, 100, "")
	counted := countedEvents(t, db)
	if added, err := db.Merge(ctx, file, nil); added != 0 || err != nil {
		t.Errorf("%d were added and %v", added, err)
	}
	if _, err := db.Prune(ctx, time.Now().Add(time.Hour), 0); err != nil {
		t.Fatal(err)
	}
	if added, err := db.Merge(ctx, file, nil); added != 1000 || err != nil {
		t.Errorf("%d were added and %v", added, err)
	}
	if now := countedEvents(t, db); now > counted {
		t.Errorf("%d are counted, and %d were before", now, counted)
	}
	verified(t, db)
}

// ofThirdSchema makes the database of a version before subjects and uses, with one
// event of a name, and returns its directory and the event's id.
func ofThirdSchema(t *testing.T, event, verdict string) (dir, uuid string) {
	t.Helper()
	dir, uuid = t.TempDir(), newUUID()
	file := filepath.Join(dir, database.FileName)
	if err := database.MakeFile(file); err != nil {
		t.Fatal(err)
	}
	conn, err := database.ConnectWriter(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := database.MigrateTo(conn, file, 3); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"INSERT INTO kinds VALUES (1, 'icfm', '" + event + "', 'ignored', '')",
		"INSERT INTO events (id, kind, received, uuid, verdict, record) VALUES (5000, 1, 1700000000000000, '" + uuid + "', '" + verdict + `', '{"method":"POST"}')`,
		"INSERT INTO blocks VALUES (5000, 0, 9000000000000000)",
	} {
		if err := database.Execute(conn, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, uuid
}

// Databases of before there were subjects are opened, and their backups are added.
func TestMergeOfThirdSchema(t *testing.T) {
	ctx := context.Background()
	dir, uuid := ofThirdSchema(t, "job_saved", `{"decision":"ignored"}`)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := database.CopyFile(filepath.Join(dir, database.FileName), backup); err != nil {
		t.Fatal(err)
	}
	check := func(db *DB) {
		t.Helper()
		page, err := db.Page(ctx, queue.Filter{Text: "job_saved"}, queue.NewestFirst, "", 9)
		if err != nil || len(page.Events) != 1 || page.Events[0].ID != uuid || page.Events[0].Subject != "" {
			t.Errorf("the page is %+v, %v", page, err)
		}
		verified(t, db)
	}
	check(benchOpen(t, Options{MinFree: -1, Dir: dir}))
	fresh := benchOpen(t, Options{MinFree: -1})
	if added, err := fresh.Merge(ctx, backup, nil); added != 1 || err != nil {
		t.Errorf("%d were added and %v", added, err)
	}
	check(fresh)
}

func TestMergeRefuses(t *testing.T) {
	ctx := context.Background()
	file, _, _ := oldRelay(t, 30)
	// A database from before there was room.
	db := benchOpen(t, Options{MinFree: -1})
	if err := db.between(func(*sqlite.Conn) error {
		db.lastEvent = 0
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustPut(t, db, benchEntry(""))
	if added, err := db.Merge(ctx, file, nil); added != 0 || err == nil || !strings.Contains(err.Error(), "no room for older events") {
		t.Errorf("%d were added and %v", added, err)
	}
	if _, err := db.Merge(ctx, db.file, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("itself: %v", err)
	}
	if _, err := db.Merge(ctx, "none", nil); err == nil {
		t.Error("no file was taken")
	}
	if err := database.WithFile(file, func(conn *sqlite.Conn) error { return database.Execute(conn, "PRAGMA application_id = 1") }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Merge(ctx, file, nil); err == nil || !strings.Contains(err.Error(), "not a database of Event Relay") {
		t.Errorf("another program's: %v", err)
	}
	verified(t, db)
}

// A machine is lost, a backup of it is restored elsewhere, and a later one turns up:
// what came in between is added with its counts.
func TestMergeOfTheLaterBackup(t *testing.T) {
	ctx := context.Background()
	lost := newHarness(t, limits{})
	lost.Open(t)
	if err := lost.db.Exist(ctx, benchThings); err != nil {
		t.Fatal(err)
	}
	put := func(db *DB, n int) {
		t.Helper()
		for range n {
			e := usedEntry("x")
			e.Event.Received = lost.Now()
			mustPut(t, db, e)
		}
	}
	put(lost.db, 10)
	early := backupOf(t, lost.db)
	lost.set(2 * time.Minute)
	put(lost.db, 15)
	late := backupOf(t, lost.db)

	dir := t.TempDir()
	if err := Restore(early, dir); err != nil {
		t.Fatal(err)
	}
	lost.set(2 * time.Minute)
	db := benchOpen(t, Options{MinFree: -1, Dir: dir, Clock: lost.Now})
	put(db, 4)
	wantUses(t, db, 14, 14, 14)
	for _, step := range []struct {
		file  string
		added int
		want  int64
	}{{early, 0, 14}, {late, 15, 29}, {late, 0, 29}, {early, 0, 29}} {
		if added, err := db.Merge(ctx, step.file, nil); added != step.added || err != nil {
			t.Errorf("%d were added and %v, want %d", added, err, step.added)
		}
		wantUses(t, db, step.want, step.want, step.want)
		if counted := countedEvents(t, db); counted != step.want {
			t.Errorf("%d events are counted, want %d", counted, step.want)
		}
	}
	verified(t, db)
}
