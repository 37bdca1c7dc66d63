package sqlite

import (
	"context"
	"errors"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// earlyLoad is a command that has the table read, as a loader does that gets the
// lock between the commit of a batch and the moment in which the batch is made
// known in memory. It must be the first of its batch.
type earlyLoad struct {
	waiter
	action *action
	read   int // deliveries with a time of their own
}

func (*earlyLoad) needsRoom() bool            { return false }
func (r *earlyLoad) prepare(*DB)              {}
func (r *earlyLoad) write(*transaction) error { return nil }
func (r *earlyLoad) apply(db *DB) {
	order := scheduler.Order{Now: layout.Micros(db.now()), Timed: 100, Fresh: 100, Held: map[int64]struct{}{}}
	read, err := db.load(r.action.Name, r.action.id, order)
	if err != nil {
		panic(err)
	}
	r.read = len(read.Timed) + len(read.Fresh)
	db.scheduler.Loaded(&r.action.Action, order, read, nil)
}

// A loader can read a delivery from the table after the commit that stored it and
// before the writer hands it over. It is in memory then, and must not come to be
// there twice: it would be handed out twice at the same time.
func TestLoadedBetweenCommitAndHandOver(t *testing.T) {
	for name, due := range map[string]time.Duration{"no time of its own": 0, "a time that has come": -time.Second} {
		t.Run(name, func(t *testing.T) {
			db := benchOpen(t, Options{MinFree: -1})
			// The action must have its row, or a loader could not ask for it.
			mustPut(t, db, benchEntry("x"))
			if err := db.Settle(takeN(t, db, "x", 1)[0].Token, queue.Settlement{State: queue.Delivered}); err != nil {
				t.Fatal(err)
			}
			e := benchEntry("x")
			if due != 0 {
				e.Deliveries[0].Due = time.Now().Add(due)
			}
			db.mu.Lock()
			r := &earlyLoad{action: db.action("x")}
			db.mu.Unlock()
			for _, err := range batch(db, r, newPut(t, e)) {
				if err != nil {
					t.Fatal(err)
				}
			}
			if r.read != 1 {
				t.Fatalf("the loader read %d deliveries, want 1", r.read)
			}
			if l := takeN(t, db, "x", 1)[0]; l.Delivery.ID != e.Deliveries[0].ID {
				t.Errorf("handed out is %s, want %s", l.Delivery.ID, e.Deliveries[0].ID)
			}
			nothingToTake(t, db, "x")
		})
	}
}

// stood has a command's work committed and the commit report an error all the
// same, as when its success never reached the writer.
func stood(t *testing.T, db *DB, c command) {
	t.Helper()
	errs := batch(db, &interlude{do: func(tx *transaction) error {
		c.prepare(db)
		shadow := transaction{db: db, conn: tx.conn, statements: tx.statements, now: tx.now, lastEvent: tx.lastEvent, block: tx.block, pending: tx.pending}
		if err := c.write(&shadow); err != nil {
			return err
		}
		if err := shadow.writeTotals(); err != nil {
			return err
		}
		for _, a := range shadow.touched {
			a.delta = 0
		}
		for _, a := range shadow.stored {
			a.row = 0
		}
		if err := database.Step(tx.statements.commit); err != nil {
			return err
		}
		return sqlite.ResultIOErrFsync.ToError()
	}})
	if errs[0] == nil {
		t.Fatal("the transaction gave no error")
	}
}

// writable waits until the queue can be written again after an error.
func writable(t *testing.T, db *DB) {
	t.Helper()
	eventually(t, "the queue can be written again", func() bool {
		_, err := db.Put(context.Background(), []queue.Entry{benchEntry("")})
		return err == nil
	})
}

// After a commit that reported an error and stood all the same, memory may hold
// what the table does not have any more. What was cancelled or moved in it must
// neither be sent nor go on being sent.
func TestMemoryLearnsOfAnUnknownCommit(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(db *DB) command
		state   queue.State
		goesOn  string // the action that has the deliveries now
		unasked int    // deliveries of x that stay
	}{
		"all of an action cancelled": {func(db *DB) command { return &cancel{action: db.action("x"), more: true} }, queue.Cancelled, "", 0},
		"one delivery cancelled": {func(db *DB) command {
			return &cancel{action: db.action("x"), one: layout.DeliveryID(layout.FirstEvent, 0)}
		}, queue.Cancelled, "", 1},
		"moved to another action": {func(db *DB) command { return &move{from: db.action("x"), to: db.action("y")} }, queue.Pending, "y", 0},
	} {
		t.Run(name, func(t *testing.T) {
			db := benchOpen(t, Options{MinFree: -1})
			first := benchEntry("x")
			mustPut(t, db, first)
			mustPut(t, db, benchEntry("x"))
			leased := takeN(t, db, "x", 1)[0] // the other is in memory, too, ready to be handed out
			db.mu.Lock()
			change := test.change(db)
			db.mu.Unlock()
			stood(t, db, change)
			writable(t, db)
			for _, l := range takeN(t, db, "x", test.unasked) {
				if l.Delivery.ID == first.Deliveries[0].ID {
					t.Error("what was cancelled is handed out")
				}
			}
			nothingToTake(t, db, "x")
			if err := db.Extend(context.Background(), leased.Token, time.Minute); !errors.Is(err, queue.ErrLeaseLost) {
				t.Errorf("Extend gave %v, want that the lease is lost", err)
			}
			if test.goesOn != "" {
				takeN(t, db, test.goesOn, 2)
				nothingToTake(t, db, test.goesOn)
			}
			if h, err := db.Find(context.Background(), first.Event.ID); err != nil || h.Summary.Deliveries[0].State != test.state {
				t.Errorf("the delivery is %+v and %v, want it %s", h.Summary.Deliveries, err, test.state)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			checkConsistency(t, db.options.Dir)
		})
	}
}
