package sqlite

import (
	"context"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// However many ask for a check at once, deliveries can be read meanwhile.
func TestChecksLeaveReadersToOthers(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	db.readers.Bar(time.Second) // readers wait
	var checks sync.WaitGroup
	for range 2 * database.ReadersAtOnce {
		checks.Go(func() {
			if _, err := db.Verify(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "a check begins", func() bool { return db.readers.InUse() > 0 })
	for deadline := time.Now().Add(30 * time.Millisecond); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if n := db.readers.InUse(); n > 1 {
			t.Errorf("the checks hold %d of %d places", n, database.ReadersAtOnce)
			break
		}
	}
	db.readers.Unbar()
	checks.Wait()
}

// While events are stored, delivered and pruned, a check finds nothing wrong with
// a database that is whole.
func TestCheckUnderLoadFindsNothing(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{blockEvents: 8}})
	ctx, end := context.WithCancel(context.Background())
	var load sync.WaitGroup
	defer func() { // also when a wait below ends the test
		end()
		load.Wait()
	}()
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := db.Put(context.Background(), []queue.Entry{benchEntry("x")}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	load.Go(func() {
		for {
			leases, err := db.Take(ctx, "x", 16)
			if err != nil {
				return
			}
			for _, l := range leases {
				_ = db.Settle(l.Token, queue.Settlement{State: queue.Delivered})
			}
		}
	})
	load.Go(func() {
		for ctx.Err() == nil {
			if _, err := db.Prune(ctx, time.Now().Add(-time.Second), 0); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	stored := func() (n int64) {
		if err := db.readers.Read(context.Background(), func(conn *sqlite.Conn) (err error) {
			n, err = database.QueryInt(conn, "SELECT max(id) FROM events")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "many blocks are stored", func() bool { return stored() > layout.FirstEvent+1000 })
	// On a busy machine three checks may end before the load had its turn.
	checks, before := 0, stored()
	eventually(t, "three checks end, and new blocks are begun meanwhile", func() bool {
		found, err := db.Verify(context.Background())
		if err != nil || len(found) > 0 {
			t.Errorf("check %d found %q and gave %v", checks, found, err)
			return true
		}
		checks++
		return checks >= 3 && stored() >= before+16
	})
}
