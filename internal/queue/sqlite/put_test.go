package sqlite

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Puts use the memory of earlier ones again, also while many run at once and some of
// their callers leave: each row must hold the texts of its own event.
func TestRowsHoldTheirOwnTexts(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	const puts = 2000
	err := callers(32, puts, func() error {
		entries := make([]queue.Entry, 1+rand.IntN(3))
		for i := range entries {
			e := benchEntry("")
			e.Event.Path = "/" + e.Event.ID + "/" + strings.Repeat("x", rand.IntN(3000))
			e.Verdict.Reason = e.Event.ID
			entries[i] = e
		}
		ctx := context.Background()
		if rand.IntN(10) == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
			defer cancel()
		}
		_, err := db.Put(ctx, entries)
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := database.ConnectReader(db.file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows := 0
	err = database.Query(conn, "SELECT uuid, verdict, record FROM events", func(row *sqlite.Stmt) error {
		rows++
		id := row.ColumnText(0)
		if verdict := row.ColumnText(1); !strings.Contains(verdict, `"reason":"`+id+`"`) {
			t.Errorf("event %s has the verdict %s", id, verdict)
		}
		if record := row.ColumnText(2); !strings.Contains(record, `"path":"/`+id+`/`) || !strings.HasSuffix(record, "}") {
			t.Errorf("event %s has the record %s", id, record)
		}
		return nil
	})
	if err != nil || rows < puts*3/4 {
		t.Fatalf("%d rows: %v", rows, err)
	}
}
