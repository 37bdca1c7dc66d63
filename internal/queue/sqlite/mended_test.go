package sqlite

import (
	"context"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// mendedHistory makes a queue in which n failures are mended and one is not, and
// returns the event of that.
func mendedHistory(t *testing.T, n int) (h *harness, left string) {
	t.Helper()
	h = newHarness(t, limits{})
	h.Open(t)
	var amendments []queue.Amendment
	for i := range n + 1 {
		e := benchEntry("x")
		e.Event.Received = h.Now()
		mustPut(t, h.db, e)
		l := takeN(t, h.db, "x", 1)[0]
		if err := h.db.Settle(l.Token, queue.Settlement{State: []queue.State{queue.Failed, queue.Expired}[i%2], Attempt: &queue.Attempt{Began: h.Now(), Status: 500, Error: "why"}}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			left = e.Event.ID
			continue
		}
		amendments = append(amendments, queue.Amendment{Event: e.Event.ID, Deliveries: []queue.Delivery{{ID: newUUID(), Action: "x", Of: l.Delivery.ID}}})
	}
	h.set(time.Hour)
	if err := h.db.Amend(context.Background(), amendments); err != nil {
		t.Fatal(err)
	}
	for _, l := range takeN(t, h.db, "x", n) {
		if err := h.db.Settle(l.Token, queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: h.Now(), Status: 200}}); err != nil {
			t.Fatal(err)
		}
	}
	return h, left
}

// wantMended checks what the filters find in a history, and that the index of
// failures holds no more than those that are not mended.
func wantMended(t *testing.T, db *DB, n int, left string) {
	t.Helper()
	if got := pageAll(t, db, queue.Filter{States: []queue.State{queue.Failed, queue.Expired, queue.Cancelled}}); len(got) != 1 || got[0] != left {
		t.Errorf("%d events have a failure that is not mended, want 1", len(got))
	}
	if got := pageAll(t, db, queue.Filter{States: []queue.State{queue.Mended}, Action: "x"}); len(got) != n {
		t.Errorf("%d events have one that is mended, want %d", len(got), n)
	}
	if err := db.readers.Read(context.Background(), func(conn *sqlite.Conn) error {
		failures, err := database.QueryInt(conn, "SELECT count(*) FROM attempts WHERE state BETWEEN 2 AND 4")
		if failures != 1 {
			t.Errorf("a page of failures goes through %d, want 1", failures)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestMendedInABackupAndMerged(t *testing.T) {
	t.Parallel()
	const n = 20
	h, left := mendedHistory(t, n)
	file := backupOf(t, h.db)
	wantMended(t, h.db, n, left)
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	checkCounts(t, h.options.Dir)
	for _, c := range []struct {
		name   string
		change []string // of the file, from then on
	}{
		{"as it is", nil},
		{"of a version that did not mark it", []string{"UPDATE attempts SET state = state - 3 WHERE state > 4", "UPDATE counts SET failed = failed + mended",
			"ALTER TABLE counts DROP COLUMN mended", "PRAGMA user_version = 3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, sql := range c.change {
				alter(t, file, sql)
			}
			to := newHarness(t, limits{})
			to.set(48 * time.Hour)
			to.Open(t)
			if added, err := to.db.Merge(context.Background(), file, nil); err != nil || added != n+1 {
				t.Fatalf("merging added %d events and gave %v", added, err)
			}
			wantMended(t, to.db, n, left)
			if err := to.db.Close(); err != nil {
				t.Fatal(err)
			}
			if c.change == nil {
				checkCounts(t, to.options.Dir)
			}
		})
	}
}
