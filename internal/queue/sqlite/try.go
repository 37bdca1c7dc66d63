package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// tryAtOnce is how many deliveries one transaction makes due, so that events need
// not wait for a backlog to be tried.
const tryAtOnce = 256

// firstOfAll is a due time ahead of all others.
const firstOfAll = 1

// listLater lists deliveries whose times are in a range.
const listLater = `SELECT delivery FROM waiting INDEXED BY waiting_due WHERE action = ? AND due > ? AND due < ? ORDER BY due LIMIT ?`

// try makes deliveries due.
type try struct {
	waiter
	action *action
	one    int64 // this delivery; 0: all whose time is to come
	now    int64 // when it began: those of a later time are to come
	due    int64
	tried  []int64
	heads  []int64             // those of them that are not behind another
	read   *scheduler.Delivery // the one, so that it need not wait for room in memory
	uuids  []string            // of their events, if there is a watcher
	leased int
	more   bool
}

// needsRoom: nothing gets lost when it is refused.
func (*try) needsRoom() bool { return true }
func (c *try) prepare(*DB)   {}

func (c *try) write(tx *transaction) error {
	c.tried, c.heads, c.leased, c.more = c.tried[:0], c.heads[:0], 0, false
	c.read = nil
	if c.now == 0 {
		c.now = tx.now
	}
	if c.due = c.now; c.one != 0 {
		c.due = firstOfAll
	}
	if err := c.list(tx); err != nil {
		return err
	}
	for _, id := range c.tried {
		w, err := tx.waitingRow(c.action, id)
		if err != nil {
			return err
		}
		due := c.due
		if w.due >= layout.Behind {
			due += layout.Behind
		} else {
			c.heads = append(c.heads, id)
		}
		release := tx.statements.release
		release.BindInt64(1, due)
		release.BindInt64(2, c.action.row)
		release.BindInt64(3, id)
		if err := database.Step(release); err != nil {
			return err
		}
		if w.attempts > layout.LastAttempt {
			continue // its row is that of the last attempt
		}
		if err := tx.putAttempt(&settlement{Settlement: scheduler.Settlement{Number: int(w.attempts), At: tx.now}, action: c.action, state: layout.Pending}, id); err != nil {
			return err
		}
	}
	if c.one != 0 && len(c.heads) > 0 {
		if err := database.Query(tx.conn, loadTimed, func(row *sqlite.Stmt) error {
			c.read = tx.db.decode(c.action.Name, readDelivery(row))
			return nil
		}, c.action.row, c.one); err != nil {
			return err
		}
	}
	var err error
	c.uuids, err = tx.uuidsOf(c.tried)
	return err
}

// list finds what is to be made due.
func (c *try) list(tx *transaction) error {
	if c.one != 0 {
		tx.db.mu.Lock()
		leased := tx.db.scheduler.Leased(&c.action.Action, c.one)
		tx.db.mu.Unlock()
		if leased {
			c.leased = 1
			return nil
		}
		found := tx.statements.getWaiting
		found.BindInt64(1, c.action.row)
		found.BindInt64(2, c.one)
		waits, err := found.Step()
		if waits {
			c.tried = append(c.tried, c.one)
		}
		return errors.Join(err, found.Reset())
	}
	for _, times := range [][2]int64{{c.now, layout.Behind}, {layout.Behind + c.now, math.MaxInt64}} {
		if err := database.Query(tx.conn, listLater, func(row *sqlite.Stmt) error {
			c.tried = append(c.tried, row.ColumnInt64(0))
			return nil
		}, c.action.row, times[0], times[1], int64(tryAtOnce-len(c.tried))); err != nil {
			return err
		}
	}
	c.more = len(c.tried) == tryAtOnce
	return nil
}

func (c *try) apply(db *DB) {
	for _, id := range c.heads {
		db.scheduler.Hurry(&c.action.Action, id, c.due, c.read)
	}
}

func (c *try) changed(f func(string)) {
	for _, uuid := range c.uuids {
		f(uuid)
	}
}

func (db *DB) tryDelivery(ctx context.Context, id string) (changed queue.Changed, err error) {
	c := &try{}
	if c.action, c.one, err = db.numberOf(ctx, id); err != nil {
		return changed, err
	}
	if err := db.do(ctx, c); err != nil {
		return changed, err
	}
	return queue.Changed{Deliveries: len(c.tried), Leased: c.leased}, nil
}

// tryAction makes deliveries due in several transactions.
func (db *DB) tryAction(ctx context.Context, name string) (n int, err error) {
	db.mu.Lock()
	c := &try{action: db.action(name), more: true}
	stored := c.action.id != 0
	db.mu.Unlock()
	for stored && c.more {
		if err := db.do(ctx, c); err != nil {
			if n > 0 && !errors.Is(err, queue.ErrClosed) {
				err = fmt.Errorf("only %d deliveries of %s were made due: %w", n, name, err)
			}
			return n, err
		}
		n += len(c.tried)
	}
	return n, nil
}
