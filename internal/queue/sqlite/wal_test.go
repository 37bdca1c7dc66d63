package sqlite

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Readers that overlap all the time, each of them slow, keep the WAL from
// beginning anew. The writer interrupts them; what they read begins anew
// instead, and comes to its end when there is time.
func TestReadersDoNotLetTheWALGrow(t *testing.T) {
	t.Parallel()
	const limit = 512 << 10
	db := benchOpen(t, Options{MinFree: -1, limits: limits{walIdle: 64 << 10, walBusy: 64 << 10, walLimit: limit}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var readers sync.WaitGroup
	interrupted := make(chan struct{}, 1)
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				begun := 0
				err := db.readers.Read(ctx, func(conn *sqlite.Conn) error {
					if begun++; begun > 1 {
						select {
						case interrupted <- struct{}{}:
						default:
						}
					}
					// A snapshot, and then work without end.
					return database.Query(conn, `WITH RECURSIVE n(i) AS (SELECT (SELECT count(*) FROM events) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`,
						func(*sqlite.Stmt) error { return nil })
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("the reader ended with %v", err)
				}
			}
		})
	}
	largest := int64(0)
	body := []byte(strings.Repeat("x", 8000))
	for range 300 { // some 3 MiB
		e := benchEntry("")
		e.Event.RawBody, e.Event.BodyIsRaw = body, false
		mustPut(t, db, e)
		largest = max(largest, fileSize(t, db.file+"-wal"))
	}
	<-interrupted
	cancel()
	readers.Wait()
	if largest > 2*limit {
		t.Errorf("the WAL grew to %d bytes, with a limit of %d", largest, limit)
	}
	mustPut(t, db, benchEntry("x"))
	if _, err := db.Page(context.Background(), queue.Filter{}, queue.NewestFirst, "", 10); err != nil {
		t.Errorf("reading after all that: %v", err)
	}
}

// Another program that reads the database cannot be interrupted. The WAL grows
// while it reads, and nothing else suffers.
func TestForeignReader(t *testing.T) {
	t.Parallel()
	db := benchOpen(t, Options{MinFree: -1, limits: limits{walIdle: 64 << 10, walBusy: 64 << 10, walLimit: 256 << 10}})
	mustPut(t, db, benchEntry("x"))
	foreign, err := sqlite.OpenConn(db.file, sqlite.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	for _, sql := range []string{"BEGIN", "SELECT count(*) FROM events"} {
		if err := database.Execute(foreign, sql); err != nil {
			t.Fatal(err)
		}
	}
	for range 300 {
		mustPut(t, db, benchEntry("x"))
	}
	if err := database.Execute(foreign, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		mustPut(t, db, benchEntry("x"))
	}
	eventually(t, "the WAL is emptied once it has gone", func() bool {
		mustPut(t, db, benchEntry(""))
		return fileSize(t, db.file+"-wal") <= 512<<10
	})
	takeN(t, db, "x", 401)
}

// The file shrinks when most of it is pruned.
func TestPruningShrinksTheFile(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	body := []byte(strings.Repeat("x", 20_000))
	var last queue.Entry
	for range 60 {
		var entries []queue.Entry
		for range 10 {
			last = benchEntry("")
			last.Event.RawBody, last.Event.BodyIsRaw = body, false
			entries = append(entries, last)
		}
		mustPut(t, db, entries...)
	}
	before, _, err := db.size(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if before < 12_000_000 {
		t.Fatalf("the database has %d bytes: this shows nothing", before)
	}
	if _, err := db.Prune(context.Background(), last.Event.Received, 0); err != nil {
		t.Fatal(err)
	}
	after, free, err := db.size(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if after > before/10 || free > after/slack {
		t.Errorf("the database went from %d to %d bytes, %d of them free", before, after, free)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if size := fileSize(t, db.file); size != after {
		t.Errorf("the file has %d bytes, the database %d", size, after)
	}
	checkConsistency(t, db.options.Dir)
}
