package sqlite

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/rules"
)

// recording is an Importer that keeps what it gets in memory.
type recording struct {
	t     *testing.T
	place queue.Place
	state string
	known map[string]bool
	all   queue.Part
	// waiting is set once WaitingIn came, and late counts unfinished deliveries that
	// came afterwards.
	waiting bool
	late    int
	fail    int // the number of the part that cannot be stored
}

var errRecording = errors.New("the storage is away")

func (r *recording) Close() error { return nil }

func (r *recording) Imported(_ context.Context, origin queue.Origin) (queue.Place, error) {
	if r.state != "" && r.state != origin.State {
		return "", queue.ErrUsedSince
	}
	return r.place, nil
}

func (r *recording) BeginImport(ctx context.Context, origin queue.Origin) (queue.Place, error) {
	place, err := r.Imported(ctx, origin)
	r.state = origin.State
	return place, err
}

func (r *recording) Import(_ context.Context, origin queue.Origin, after queue.Place, part queue.Part) (stored queue.Imported, err error) {
	if after != r.place || part.Reached == after {
		r.t.Errorf("a part after %q comes at %q", after, r.place)
	}
	if r.fail--; r.fail == 0 {
		return stored, errRecording
	}
	r.place, r.waiting = part.Reached, r.waiting || part.WaitingIn
	for _, e := range part.Events {
		if e.Number < origin.First || e.Number > origin.Last {
			r.t.Errorf("event %d is outside %d to %d", e.Number, origin.First, origin.Last)
		}
		if r.known[e.Summary.ID] {
			continue
		}
		r.known[e.Summary.ID] = true
		stored.Events++
		r.all.Events = append(r.all.Events, e)
		for _, d := range e.Deliveries {
			if d.State == queue.Pending {
				stored.Unfinished++
				if r.waiting {
					r.late++
				}
			}
		}
	}
	r.all.Switches = append(r.all.Switches, part.Switches...)
	r.all.Marks = append(r.all.Marks, part.Marks...)
	r.all.Notes = append(r.all.Notes, part.Notes...)
	r.all.Minutes = append(r.all.Minutes, part.Minutes...)
	r.all.Uses = append(r.all.Uses, part.Uses...)
	return stored, nil
}

// importInto imports an archive, and tells how it ended.
func importInto(t *testing.T, path string, into queue.Importer) (queue.Imported, error) {
	t.Helper()
	a, err := OpenArchive(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	return queue.Import(context.Background(), a, into, func(int64, queue.Imported) {})
}

// archived makes a queue in which everything occurs, and returns its directory, its
// harness and the ids of its events in their order. The engine is closed.
func archived(t *testing.T, n int) (*harness, []string) {
	t.Helper()
	ctx := context.Background()
	h := newHarness(t, limits{})
	h.set(time.Since(h.Now())) // the windows of dedupe keys are not over
	h.Open(t)
	if err := h.db.Exist(ctx, benchThings); err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Change(ctx, queue.Change{Switch: &queue.Switch{Kind: queue.SwitchAction, Name: "paused", Off: true, Reason: "moving"}}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	var entries []queue.Entry
	for i := range n {
		e := usedEntry([]string{"", "x", "keyed", "paused"}[i%4])
		e.Event.Received, e.Event.Subject, e.Event.Test = h.Now(), "of before", i%16 == 5
		e.Event.Parameters[event.Tenant] = "T1"
		if i%4 == 2 {
			e.Deliveries[0].OrderKey = fmt.Sprint("key", i%3)
		}
		if i%8 == 3 {
			e.Deliveries[0].Due, e.Deliveries[0].Expires = h.Now().Add(time.Hour), h.Now().Add(2*time.Hour)
		}
		if i%10 == 0 {
			e.DedupeKey, e.DedupeWindow = fmt.Sprint("once", i%20), 24*time.Hour
		}
		ids = append(ids, e.Event.ID)
		if entries = append(entries, e); len(entries) == 20 || i == n-1 {
			mustPut(t, h.db, entries...)
			entries = nil
		}
		h.set(time.Second)
	}
	for i, l := range append(takeN(t, h.db, "x", n/8), takeN(t, h.db, "keyed", 3)...) {
		s := queue.Settlement{State: []queue.State{queue.Delivered, queue.Failed, queue.Pending}[i%3], Attempt: &queue.Attempt{
			Began: h.Now(), Took: time.Second, Status: 500 + i, Error: "why", Request: "POST /", Response: "no", Empty: []string{"tag"},
		}}
		if s.State == queue.Pending {
			s.Again = h.Now().Add(time.Minute)
		}
		if err := h.db.Settle(l.Token, s); err != nil {
			t.Fatal(err)
		}
	}
	// An older event gets a delivery behind that of a newer one.
	if err := h.db.Amend(ctx, []queue.Amendment{{Event: ids[0], Deliveries: []queue.Delivery{{ID: newUUID(), Action: "keyed", OrderKey: "key2"}, {ID: newUUID(), Action: "y"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.db.Change(ctx, queue.Change{Move: &queue.Move{From: "y", To: "z"}}); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Note(ctx, queue.Note{Kind: queue.NoteConfiguration, Name: "digest", Text: "what it said"}); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Sample(ctx); err != nil {
		t.Fatal(err)
	}
	return h, ids
}

// wantArchived holds what was imported against what the engine says.
func wantArchived(t *testing.T, h *harness, ids []string, got *recording) {
	t.Helper()
	ctx := context.Background()
	h.Open(t)
	defer h.db.Close()
	all := slices.Clone(got.all.Events)
	slices.SortFunc(all, func(a, b queue.ArchivedEvent) int { return int(a.Number - b.Number) })
	if len(all) != len(ids) || got.late != 0 || !got.waiting {
		t.Fatalf("%d events were imported, want %d; %d deliveries late", len(all), len(ids), got.late)
	}
	for i, e := range all {
		if e.Summary.ID != ids[i] {
			t.Fatalf("event %d is %s, want %s", i, e.Summary.ID, ids[i])
		}
		want, err := h.db.Find(ctx, ids[i])
		if err != nil {
			t.Fatal(err)
		}
		states, behind := want.Summary.Deliveries, map[string]bool{}
		want.Summary.Deliveries = nil
		if !reflect.DeepEqual(e.Summary, want.Summary) {
			t.Errorf("event %d is %+v, want %+v", i, e.Summary, want.Summary)
		}
		if decoded, err := event.DecodeRecord(e.Record, e.Body); err != nil || decoded.Method != want.Event.Method || string(decoded.RawBody) != string(want.Event.RawBody) {
			t.Errorf("event %d has the record %s, %v", i, e.Record, err)
		}
		if len(e.Deliveries) != len(states) {
			t.Fatalf("event %d has %d deliveries, want %d", i, len(e.Deliveries), len(states))
		}
		for j, d := range e.Deliveries {
			state := states[j]
			if behind[d.ID] = d.Behind; d.Behind != (want.Behind[d.ID] != "") {
				t.Errorf("delivery %s is behind: %v, want %v", d.ID, d.Behind, want.Behind[d.ID])
			}
			if d.ID != state.ID || d.Action != state.Action || d.Of != state.Of || d.State != state.State || d.State == queue.Pending && d.Attempts != state.Attempts {
				t.Errorf("a delivery is %+v, want %+v", d, state)
			}
			if d.State == queue.Pending && state.Attempts > 0 && !d.Due.Equal(state.Due) {
				t.Errorf("delivery %s is due at %s, want %s", d.ID, d.Due, state.Due)
			}
			var attempts []queue.Attempt
			for _, s := range d.Steps {
				if s.Attempt != nil {
					attempts = append(attempts, *s.Attempt)
				}
			}
			if !reflect.DeepEqual(attempts, want.Attempts[d.ID]) {
				t.Errorf("delivery %s has the attempts %+v, want %+v", d.ID, attempts, want.Attempts[d.ID])
			}
		}
	}
	uses := usesByName(t, h.db)
	if len(got.all.Uses) != len(uses) {
		t.Errorf("the uses are %+v, want %+v", got.all.Uses, uses)
	}
	for _, use := range got.all.Uses {
		if use != uses[use.Name] {
			t.Errorf("the use is %+v, want %+v", use, uses[use.Name])
		}
	}
	events := int64(0)
	for _, m := range got.all.Minutes {
		for _, n := range m.Events {
			events += n
		}
	}
	if want := countedEvents(t, h.db); events != want || want != int64(len(ids)) {
		t.Errorf("%d events are counted, want %d", events, want)
	}
	if switches, err := h.db.Switches(ctx); err != nil || !reflect.DeepEqual(got.all.Switches, switches) || len(switches) != 1 {
		t.Errorf("the switches are %+v, want %+v, %v", got.all.Switches, switches, err)
	}
	if !slices.ContainsFunc(got.all.Notes, func(n queue.Note) bool { return n.Kind == queue.NoteConfiguration && n.Text == "what it said" }) {
		t.Errorf("the notes are %+v", got.all.Notes)
	}
	sum := sha256.Sum256([]byte("once10"))
	if !slices.ContainsFunc(got.all.Marks, func(m queue.DedupeMark) bool {
		return string(m.Key[:]) == string(sum[:16]) && m.Event == ids[10] && m.Expires.Sub(m.Stored) == 24*time.Hour
	}) || len(got.all.Marks) != 2 {
		t.Errorf("the marks are %+v", got.all.Marks)
	}
}

func newRecording(t *testing.T, fail int) *recording {
	return &recording{t: t, known: map[string]bool{}, fail: fail}
}

// contents are the names and checksums of what is in a directory, but for the lock.
func contents(t *testing.T, dir string) (all []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() == database.LockName || strings.HasSuffix(f.Name(), "-shm") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %x", f.Name(), sha256.Sum256(text)))
	}
	return all
}

func TestArchive(t *testing.T) {
	t.Parallel()
	h, ids := archived(t, 900)
	backup := backupOf(t, h.db)
	killed := filepath.Join(t.TempDir(), "killed") // with a log, as a crash leaves it
	if err := os.CopyFS(killed, os.DirFS(h.options.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	if fileSize(t, filepath.Join(killed, database.FileName+"-wal")) == 0 {
		t.Fatal("the copy has no log")
	}
	for name, path := range map[string]string{"a directory": h.options.Dir, "a backup": backup, "of a killed relay": killed, "a database": filepath.Join(h.options.Dir, database.FileName)} {
		t.Run(name, func(t *testing.T) {
			dir := path
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				dir = filepath.Dir(path)
			}
			before := contents(t, dir)
			whole := newRecording(t, 0)
			stored, err := importInto(t, path, whole)
			if err != nil || stored.Events != int64(len(ids)) || stored.Known != 0 || stored.Damaged != 0 {
				t.Fatalf("imported %+v, %v", stored, err)
			}
			if after := contents(t, dir); !slices.Equal(before, after) {
				t.Errorf("the archive was changed:\n%s\n%s", before, after)
			}
			wantArchived(t, &harness{clock: h.clock, options: h.options}, ids, whole)
		})
	}
	// Broken off at each part, and begun again. The engine has been open since.
	for fail := 1; ; fail++ {
		broken := newRecording(t, fail)
		first, err := importInto(t, backup, broken)
		if err == nil {
			if fail < 8 {
				t.Errorf("there are only %d parts", fail-1)
			}
			break
		}
		if !errors.Is(err, errRecording) {
			t.Fatal(err)
		}
		second, err := importInto(t, backup, broken)
		if err != nil || first.Events+second.Events != int64(len(ids)) || second.Known != 0 {
			t.Errorf("broken off at part %d: %+v, then %+v, %v", fail, first, second, err)
		}
		again, err := importInto(t, backup, broken)
		if err != nil || again != (queue.Imported{}) {
			t.Errorf("once more: %+v, %v", again, err)
		}
	}
	// The state is another one by now.
	used := newRecording(t, 0)
	if _, err := importInto(t, backup, used); err != nil {
		t.Fatal(err)
	}
	if _, err := importInto(t, h.options.Dir, used); !errors.Is(err, queue.ErrUsedSince) {
		t.Errorf("used since: %v", err)
	}
}

func TestArchiveContents(t *testing.T) {
	t.Parallel()
	h, ids := archived(t, 80)
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(context.Background(), h.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c, err := a.Contents(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var waiting []string
	for _, b := range c.Unfinished {
		waiting = append(waiting, fmt.Sprint(b.Action, b.Count, b.Paused))
	}
	if c.Events != int64(len(ids)) || c.Attempts != 13 || c.Marks != 2 || c.Uses != 3 || len(c.Switches) != 1 || c.Waiting() != 50 ||
		!slices.Equal(waiting, []string{"keyed16 false", "paused20 true", "x13 false", "z1 false"}) {
		t.Errorf("the contents are %+v", c)
	}
	// A relay cannot be started meanwhile.
	if _, err := Open(h.options); err == nil || !strings.Contains(err.Error(), "in use by this process") {
		t.Errorf("a relay was started: %v", err)
	}
}

// A million deliveries of one action must not hide those of another.
func TestArchiveOfManyWaiting(t *testing.T) {
	t.Parallel()
	h := newHarness(t, limits{})
	h.Open(t)
	var ids []string
	var entries []queue.Entry
	for i := range 3 * partEvents {
		e := benchEntry("many")
		if i%700 == 0 {
			e.Deliveries = append(e.Deliveries, queue.Delivery{ID: newUUID(), Action: "few"})
		}
		entries, ids = append(entries, e), append(ids, e.Event.ID)
	}
	mustPut(t, h.db, entries...)
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	got := newRecording(t, 0)
	if _, err := importInto(t, h.options.Dir, got); err != nil {
		t.Fatal(err)
	}
	var imported []string
	for _, e := range got.all.Events {
		imported = append(imported, e.Summary.ID)
	}
	if !slices.Equal(imported, ids) {
		t.Errorf("%d events were imported, want %d in their order", len(imported), len(ids))
	}
}

func TestArchiveOfDamagedEvents(t *testing.T) {
	t.Parallel()
	db := benchOpen(t, Options{MinFree: -1})
	for range 4 {
		mustPut(t, db, benchEntry("x"))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for i, sql := range []string{
		"UPDATE events SET body = x'00' WHERE id = %d",
		"UPDATE events SET deliveries = '[' WHERE id = %d",
		"UPDATE events SET verdict = '[' WHERE id = %d",
		"DELETE FROM waiting WHERE delivery >> 11 = %d",
	} {
		alter(t, db.file, fmt.Sprintf(sql, layout.FirstEvent+i))
	}
	got := newRecording(t, 0)
	stored, err := importInto(t, db.options.Dir, got)
	if err != nil || stored.Events != 4 || stored.Damaged != 2 || stored.Unfinished != 2 {
		t.Fatalf("imported %+v, %v", stored, err)
	}
	for _, e := range got.all.Events {
		switch e.Number - layout.FirstEvent {
		case 0:
			if !e.Damaged || e.Record != nil || e.Deliveries[0].State != queue.Pending {
				t.Errorf("of a damaged body: %+v", e)
			}
		case 1:
			if !e.Damaged || e.Record == nil || e.Deliveries != nil {
				t.Errorf("of damaged deliveries: %+v", e)
			}
		case 2:
			if e.Summary.Verdict.Decision != rules.Act || !strings.Contains(e.Summary.Verdict.Reason, "cannot be read") {
				t.Errorf("of a damaged verdict: %+v", e)
			}
		case 3:
			if e.Deliveries[0].State != queue.Cancelled || len(e.Deliveries[0].Steps) != 1 {
				t.Errorf("of a lost delivery: %+v", e)
			}
		}
	}
}

func TestOpenArchiveRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	running := benchOpen(t, Options{MinFree: -1})
	old := filepath.Join(t.TempDir(), database.FileName)
	if err := database.MakeFile(old); err != nil {
		t.Fatal(err)
	}
	conn, err := database.ConnectWriter(old, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(database.MigrateTo(conn, old, 1), conn.Close()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                                  "name the directory that holds events.db",
		filepath.Join(dir, "none"):           "no such file",
		text:                                 "no database",
		running.options.Dir:                  "stop the relay first",
		running.file:                         "stop the relay first",
		filepath.Dir(old):                    "start a relay with it once",
		filepath.Join(filepath.Dir(old), ""): "start a relay with it once",
	} {
		if _, err := OpenArchive(context.Background(), path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "opening "+path) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

// Backups of before there were subjects and uses are read, too.
func TestArchiveOfThirdSchema(t *testing.T) {
	t.Parallel()
	dir, uuid := ofThirdSchema(t, "job_saved", `{"decision":"ignored"}`)
	got := newRecording(t, 0)
	stored, err := importInto(t, dir, got)
	if err != nil || stored.Events != 1 || got.all.Events[0].Summary.ID != uuid || got.all.Events[0].Summary.Event != "job_saved" {
		t.Errorf("imported %+v, %v: %+v", stored, err, got.all.Events)
	}
}
