package sqlite

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// TestEarlierSchemasAreOpened opens what earlier programs wrote, not what this one
// makes of their schema: five events, of which one was ignored, one delivered, one
// failed, one is tried again, and one was not attempted. An upgrade loses none of it.
// A schema that is released gets its file here before the next step is added.
func TestEarlierSchemasAreOpened(t *testing.T) {
	files, err := filepath.Glob("testdata/schema*.db.gz")
	if err != nil || len(files) != int(database.Version())-1 {
		t.Fatalf("there are %v, %v; want one of each schema before %d", files, err, database.Version())
	}
	for i := range files {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			ctx := context.Background()
			dir := t.TempDir()
			unpack(t, fmt.Sprintf("testdata/schema%d.db.gz", i+1), filepath.Join(dir, database.FileName))
			if conn, err := database.ConnectWriter(filepath.Join(dir, database.FileName), 0); err != nil {
				t.Fatal(err)
			} else if version, err := database.QueryInt(conn, "PRAGMA user_version"); err != nil || version != int64(i+1) || conn.Close() != nil {
				t.Fatalf("the file has schema %d, %v", version, err)
			}
			check := func(db *DB) {
				t.Helper()
				page, err := db.Page(ctx, queue.Filter{}, queue.NewestFirst, "", 9)
				if err != nil {
					t.Fatal(err)
				}
				var states []string
				for _, event := range page.Events {
					detail, err := db.Find(ctx, event.ID)
					if err != nil || !strings.Contains(string(detail.Event.RawBody), "project") {
						t.Errorf("the event %s is %+v, %v", event.ID, detail.Event, err)
					}
					for _, delivery := range event.Deliveries {
						states = append(states, string(delivery.State))
					}
				}
				if got := fmt.Sprint(len(page.Events), states); got != "5 [pending pending failed delivered]" {
					t.Errorf("the history has %s", got)
				}
				if problems, err := db.Verify(ctx); err != nil || len(problems) > 0 {
					t.Errorf("the database has %v, %v", problems, err)
				}
			}
			db := benchOpen(t, Options{Dir: dir, MinFree: -1})
			check(db)
			leases, err := db.Take(ctx, "create_project_folder", 9)
			if err != nil || len(leases) != 2 || leases[0].Delivery.Attempts+leases[1].Delivery.Attempts != 1 {
				t.Errorf("what waits is %+v, %v; want one delivery that was attempted once and one that was not", leases, err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = benchOpen(t, Options{Dir: dir, MinFree: -1})
			check(db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// unpack writes what a compressed file holds to a new file.
func unpack(t *testing.T, from, to string) {
	t.Helper()
	packed, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	reader, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
