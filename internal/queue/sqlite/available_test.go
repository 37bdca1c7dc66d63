package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// A database that cannot be opened right now is opened as soon as it can be. What
// needs it says why it cannot meanwhile, and what waits in it is handed out then.
func TestOpenIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		// spoil makes a directory that holds a database unusable, and returns what
		// makes it usable again.
		spoil func(t *testing.T, dir string) (mend func())
		want  []string
	}{
		"in use by another process": {func(t *testing.T, dir string) func() {
			lock, err := database.LockDirectory(dir)
			if err != nil {
				t.Fatal(err)
			}
			return func() { lock.Close() }
		}, []string{"in use by this process", "queue sqlite DIR"}},
		"damaged, and restored": {func(t *testing.T, dir string) func() {
			file := filepath.Join(dir, database.FileName)
			if err := os.Rename(file, file+".good"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(strings.Repeat("garbage ", 5000)), 0o600); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Rename(file+".good", file); err != nil {
					t.Error(err)
				}
			}
		}, []string{"damaged or no database", "restore a backup"}},
		"mounted later": {func(t *testing.T, dir string) func() {
			// A name that leads nowhere stands for a mount that is not there yet.
			if err := os.Rename(dir, dir+".real"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(dir+".missing", dir); err != nil {
				t.Skip("links cannot be made here: ", err)
			}
			return func() {
				// In one step: between two, the next attempt would make a directory.
				if err := errors.Join(os.Symlink(dir+".real", dir+".link"), os.Rename(dir+".link", dir)); err != nil {
					t.Error(err)
				}
			}
		}, []string{"queue directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "queue")
			db := benchOpen(t, Options{Dir: dir, MinFree: -1})
			e := benchEntry("x")
			mustPut(t, db, e)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			mend := test.spoil(t, dir)
			if db, err := Open(Options{Dir: dir, MinFree: -1}); err == nil || errors.Is(err, queue.ErrMisconfigured) {
				t.Fatalf("without KeepTrying Open gave %v and %v", db, err)
			}
			db = benchOpen(t, Options{Dir: dir, MinFree: -1, KeepTrying: true, limits: limits{retryOpening: time.Millisecond}})
			checkUnavailable(t, db, test.want...)
			taken := make(chan string, 1)
			go func() {
				defer close(taken)
				if leases, err := db.Take(t.Context(), "x", 1); err == nil {
					taken <- leases[0].Delivery.ID
				}
			}()
			mend()
			select {
			case <-db.Ready():
			case <-time.After(20 * time.Second):
				t.Fatalf("it is not opened: %+v", db.Troubles())
			}
			if id := <-taken; id != e.Deliveries[0].ID {
				t.Errorf("handed out is %s, want %s", id, e.Deliveries[0].ID)
			}
			mustPut(t, db, benchEntry("x"))
			if troubles := db.Troubles(); len(troubles) > 0 {
				t.Errorf("there still is %+v", troubles)
			}
		})
	}
}

// checkUnavailable checks that all that needs the database says why it cannot.
func checkUnavailable(t *testing.T, db *DB, want ...string) {
	t.Helper()
	ctx := context.Background()
	calls := map[string]func() error{
		"Put": func() error {
			_, err := db.Put(ctx, []queue.Entry{benchEntry("x")})
			return err
		},
		"Amend":   func() error { return db.Amend(ctx, []queue.Amendment{{Event: newUUID()}}) },
		"Change":  func() error { _, err := db.Change(ctx, queue.Change{CancelAction: "x"}); return err },
		"Note":    func() error { return db.Note(ctx, queue.Note{Kind: queue.NoteConfiguration}) },
		"Page":    func() error { _, err := db.Page(ctx, queue.Filter{}, queue.NewestFirst, "", 1); return err },
		"Find":    func() error { _, err := db.Find(ctx, newUUID()); return err },
		"Backlog": func() error { _, err := db.Backlog(ctx); return err },
		"Series":  func() error { _, err := db.Series(ctx, time.Now().Add(-time.Hour), time.Now(), 1); return err },
		"Sample":  func() error { return db.Sample(ctx) },
		"Prune":   func() error { _, err := db.Prune(ctx, time.Now(), 1); return err },
		"Verify":  func() error { _, err := db.Verify(ctx); return err },
		"Backup":  func() error { return db.Backup(ctx, filepath.Join(t.TempDir(), "copy")) },
	}
	for name, call := range calls {
		err := call()
		// What changes storage all at once may also come to the end of a list of
		// nothing; none does.
		if !errors.Is(err, queue.ErrUnavailable) || !strings.Contains(err.Error(), "queue unavailable: ") {
			t.Errorf("%s gave %v, want that the queue is unavailable", name, err)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s gave %v, which lacks %q", name, err, part)
			}
		}
	}
	troubles := db.Troubles()
	if len(troubles) != 1 || troubles[0].Kind != queue.TroubleUnavailable || !troubles[0].Refusing || !strings.Contains(troubles[0].Message, want[0]) {
		t.Errorf("the troubles are %+v", troubles)
	}
}

// alter runs a statement on a closed database.
func alter(t *testing.T, file, sql string) {
	t.Helper()
	conn, err := sqlite.OpenConn(file)
	if err == nil {
		err = errors.Join(database.Execute(conn, sql), conn.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What trying again does not mend is an error at once.
func TestMistakesAreNotTriedAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := t.TempDir()
	alter(t, filepath.Join(theirs, database.FileName), "CREATE TABLE theirs (x)")
	newer := benchOpen(t, Options{MinFree: -1})
	if err := newer.Close(); err != nil {
		t.Fatal(err)
	}
	alter(t, newer.file, "PRAGMA user_version = 1000")
	for name, dir := range map[string]string{
		"no directory": "", "a file": file, "below a file": filepath.Join(file, "sub"), "another program's": theirs, "a newer schema": newer.options.Dir,
	} {
		db, err := Open(Options{Dir: dir, KeepTrying: true})
		if !errors.Is(err, queue.ErrMisconfigured) {
			t.Errorf("%s: Open gave %v and %v, want a mistake of the configuration", name, db, err)
		}
	}
}

func TestCloseOfWhatWasNeverOpened(t *testing.T) {
	dir := t.TempDir()
	lock, err := database.LockDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	db := benchOpen(t, Options{Dir: dir, KeepTrying: true})
	waited := make(chan error, 1)
	go func() {
		_, err := db.Take(context.Background(), "x", 1)
		waited <- err
	}()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waited; !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Take gave %v, want ErrClosed", err)
	}
}

// Why events are refused can be asked at any time, and it ends with its cause,
// also when no event comes to show it.
func TestTroublesBeginAndEnd(t *testing.T) {
	ctx := context.Background()
	only := func(t *testing.T, db *DB, kind queue.TroubleKind, want string) {
		t.Helper()
		eventually(t, "the trouble "+string(kind)+" is told", func() bool {
			troubles := db.Troubles()
			return len(troubles) == 1 && troubles[0].Kind == kind && troubles[0].Refusing && strings.Contains(troubles[0].Message, want)
		})
	}
	none := func(t *testing.T, db *DB) {
		t.Helper()
		eventually(t, "no trouble is left", func() bool { return len(db.Troubles()) == 0 })
	}
	t.Run("max_pending", func(t *testing.T) {
		db := benchOpen(t, Options{MinFree: -1, MaxPending: 2})
		mustPut(t, db, benchEntry("x"))
		none(t, db)
		two := benchEntry("x")
		two.Deliveries = append(two.Deliveries, benchEntry("y").Deliveries...)
		if _, err := db.Put(ctx, []queue.Entry{two}); !errors.Is(err, queue.ErrFull) {
			t.Fatalf("Put gave %v, want ErrFull", err)
		}
		only(t, db, queue.TroublePending, "max_pending is 2")
		if err := db.Settle(takeN(t, db, "x", 1)[0].Token, queue.Settlement{State: queue.Delivered}); err != nil {
			t.Fatal(err)
		}
		none(t, db)
		mustPut(t, db, two)
		only(t, db, queue.TroublePending, "2 deliveries are unfinished")
		db.Limit(3, -1)
		none(t, db)
	})
	t.Run("min_free", func(t *testing.T) {
		free := make(chan int64, 1)
		free <- 1000
		db := benchOpen(t, Options{MinFree: 500, limits: limits{freeEvery: time.Nanosecond, free: func(string) (int64, error) {
			n := <-free
			free <- n
			return n, nil
		}}})
		none(t, db)
		<-free
		free <- 499
		only(t, db, queue.TroubleSpace, "make room")
		<-free
		free <- 500
		none(t, db)
	})
	t.Run("a disk that fails", func(t *testing.T) {
		db := benchOpen(t, Options{MinFree: -1})
		if err := os.Rename(db.file, db.file+".away"); err != nil {
			t.Fatal(err)
		}
		batch(db, &failing{code: sqlite.ResultIOErrWrite})
		only(t, db, queue.TroubleUnwritable, "cannot be written")
		if _, err := db.Put(ctx, []queue.Entry{benchEntry("x")}); !errors.Is(err, queue.ErrUnavailable) {
			t.Errorf("Put gave %v, want that the queue is unavailable", err)
		}
		if err := os.Rename(db.file+".away", db.file); err != nil {
			t.Fatal(err)
		}
		none(t, db) // although nothing is written
	})
}
