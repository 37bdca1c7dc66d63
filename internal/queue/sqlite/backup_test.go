package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// verified checks a queue as an administrator does.
func verified(t *testing.T, db *DB) {
	t.Helper()
	if found, err := db.Verify(context.Background()); err != nil || len(found) > 0 {
		t.Errorf("Verify found %q and gave %v", found, err)
	}
}

func entriesIn(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// A backup of a queue that is at work has all that was stored before it began,
// is consistent, and lets the write-ahead log begin anew.
func TestBackupOfABusyQueue(t *testing.T) {
	const walLimit = 1 << 20
	db := benchOpen(t, Options{MinFree: -1, limits: limits{walIdle: 64 << 10, walBusy: 256 << 10, walLimit: walLimit}})
	fill(t, db, 20000, "waiting")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var settled, put atomic.Int64
	var work sync.WaitGroup
	work.Go(func() { settler(ctx, db, "x", &settled) })
	for range 4 {
		work.Go(func() {
			for ctx.Err() == nil {
				if _, err := db.Put(context.Background(), []queue.Entry{benchEntry("x")}); err != nil {
					t.Error(err)
				}
				put.Add(1)
			}
		})
	}
	work.Go(func() {
		for ctx.Err() == nil {
			if _, err := db.Prune(ctx, time.Now().Add(-time.Hour), 4<<20); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	before := benchEntry("kept")
	mustPut(t, db, before)
	stored := put.Load()
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := db.Backup(ctx, file); err != nil {
		t.Fatal(err)
	}
	if during := put.Load() - stored; during == 0 {
		t.Error("nothing was put meanwhile")
	}
	cancel()
	work.Wait()
	if info, err := os.Stat(db.file + "-wal"); err != nil || info.Size() > 16*walLimit {
		t.Errorf("the write-ahead log has %d bytes, %v", info.Size(), err)
	}
	verified(t, db)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if names := entriesIn(t, filepath.Dir(file)); names != "backup.db" {
		t.Errorf("there are %s", names)
	}

	dir := filepath.Join(t.TempDir(), "new", "queue")
	if err := Restore(file, dir); err != nil {
		t.Fatal(err)
	}
	restored := benchOpen(t, Options{Dir: dir, MinFree: -1})
	verified(t, restored)
	if _, err := restored.Find(context.Background(), before.Event.ID); err != nil {
		t.Error(err)
	}
	takeN(t, restored, "kept", 1)
	takeN(t, restored, "waiting", 500)
	mustPut(t, restored, benchEntry("x"))
}

func TestBackupThatFails(t *testing.T) {
	ctx := context.Background()
	db := benchOpen(t, Options{MinFree: -1})
	fill(t, db, 5000, "x")
	dir := t.TempDir()
	file := filepath.Join(dir, "backup.db")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(ctx, file); !errors.Is(err, os.ErrExist) {
		t.Errorf("onto a file: %v", err)
	}
	if content, _ := os.ReadFile(file); string(content) != "precious" {
		t.Error("the file is replaced")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(ctx, filepath.Join(dir, "none", "backup.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into no directory: %v", err)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := db.Backup(ended, file); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
	// In the middle: something waits between the pieces until the context ends.
	ended, cancel = context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- db.Backup(ended, file) }()
	for under := false; !under; {
		if err := db.between(func(*sqlite.Conn) error {
			if under = db.backup != nil; under {
				cancel()
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if under {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("it ended before: %v", err)
		default:
		}
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ends: %v", err)
	}
	// The connection is lost in the middle.
	go func() { done <- db.Backup(ctx, file) }()
	for under := false; !under; {
		if err := db.between(func(*sqlite.Conn) error {
			if under = db.backup != nil; under {
				db.disconnect(errors.New("input/output error"))
			}
			return nil
		}); err != nil && !errors.Is(err, errNoConnection) {
			t.Fatal(err)
		}
	}
	if err := <-done; err == nil {
		t.Error("it ended well without a connection")
	}
	mustPutSoon(t, db)
	if names := entriesIn(t, dir); names != "" {
		t.Errorf("there are %s", names)
	}
	// The queue closes in the middle.
	go func() { done <- db.Backup(ctx, file) }()
	for under := false; !under; {
		if err := db.between(func(*sqlite.Conn) error {
			under = db.backup != nil
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, queue.ErrClosed) {
		t.Errorf("when the queue closes: %v", err)
	}
	if names := entriesIn(t, dir); names != "" {
		t.Errorf("there are %s", names)
	}
	if err := db.Backup(ctx, file); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("after closing: %v", err)
	}
}

// mustPutSoon puts an event once the writer is connected again.
func mustPutSoon(t *testing.T, db *DB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := db.Put(context.Background(), []queue.Entry{benchEntry("")})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// backupOf returns a backup of a queue with some events.
func backupOf(t *testing.T, db *DB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := db.Backup(context.Background(), file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRestoreRefuses(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	fill(t, db, 1000, "x")
	backup := backupOf(t, db)
	content, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) string {
		file := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	changed := func(sql string) string {
		file := write(content)
		if err := database.WithFile(file, func(conn *sqlite.Conn) error { return database.Execute(conn, sql) }); err != nil {
			t.Fatal(err)
		}
		return file
	}
	torn := append([]byte(nil), content...)
	for i := 20 * database.PageSize; i < 40*database.PageSize; i++ {
		torn[i] = 0xff
	}
	for name, c := range map[string]struct{ file, want string }{
		"no file":              {filepath.Join(t.TempDir(), "none"), "no such file"},
		"an empty file":        {write(nil), "empty"},
		"a directory":          {t.TempDir(), "not a file"},
		"no database":          {write([]byte(strings.Repeat("nonsense", 1000))), "no database"},
		"half a database":      {write(content[:len(content)/2]), "damaged"},
		"a damaged database":   {write(torn), "damaged"},
		"another program's":    {changed("PRAGMA application_id = 7"), "not a database of Event Relay"},
		"a newer one":          {changed("PRAGMA user_version = 99"), "newer"},
		"a database in use":    {db.file, "in use"},
		"one without a schema": {changed("PRAGMA user_version = 0"), "version 0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := Restore(c.file, dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it gave %v, want %q", err, c.want)
			}
			if names := entriesIn(t, dir); names != "" && names != database.LockName {
				t.Errorf("there are %s", names)
			}
		})
	}
	if err := Restore(backup, db.options.Dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("to where a relay runs: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(db.file)
	if err := Restore(backup, db.options.Dir); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("over a database: %v", err)
	}
	if after, _ := os.ReadFile(db.file); string(after) != string(before) {
		t.Error("the database is changed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, database.FileName+".restoring"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Restore(backup, dir); err != nil {
		t.Errorf("after one that was broken off: %v", err)
	}
}

func TestVerifyFinds(t *testing.T) {
	for what, sql := range map[string]string{
		"an action's number of waiting deliveries is wrong":    "UPDATE actions SET waiting = 7",
		"a waiting delivery has no event":                      "DELETE FROM events WHERE id = (SELECT min(id) FROM events)",
		"a waiting delivery has no action":                     "UPDATE actions SET id = id + 5",
		"an order key has not one head":                        "UPDATE waiting SET due = 4611686018427387904, order_key = 'k'",
		"an action is paused without a switch, or the reverse": "UPDATE actions SET paused = 1",
		"an added delivery has no event":                       "INSERT INTO additions (uuid, event) VALUES ('x', 5)",
		"an event has no kind":                                 "UPDATE events SET kind = 99",
		"an event cannot be read":                              "UPDATE events SET verdict = '{'",
		"a delivery neither waits nor has ended, or both":      "DELETE FROM waiting",
		"an event is outside its block":                        "UPDATE events SET received = 5",
		"there are":                                            "DELETE FROM blocks",
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			db := benchOpen(t, Options{Dir: dir, MinFree: -1})
			fill(t, db, 100, "x")
			verified(t, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := database.WithFile(db.file, func(conn *sqlite.Conn) error { return database.Execute(conn, sql) }); err != nil {
				t.Fatal(err)
			}
			db = benchOpen(t, Options{Dir: dir, MinFree: -1})
			found, err := db.Verify(context.Background())
			if err != nil || !strings.Contains(strings.Join(found, "\n"), what) {
				t.Errorf("Verify found %q and gave %v", found, err)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{free: func(string) (int64, error) { return 12345, nil }}})
	before := db.Usage()
	fill(t, db, 2000, "x")
	after := db.Usage()
	if after.Bytes < before.Bytes+1<<20 || after.Free != 12345 || after.Dir != db.options.Dir {
		t.Errorf("it is %+v and was %+v", after, before)
	}
}
