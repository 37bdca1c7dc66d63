package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// cancelAtOnce is how many deliveries one transaction cancels, so that events
// need not wait for a backlog to be cancelled.
const cancelAtOnce = 256

// Change implements queue.Queue.
func (db *DB) Change(ctx context.Context, change queue.Change) (changed queue.Changed, err error) {
	if err := db.notOpen(); err != nil {
		return changed, fmt.Errorf("changing the queue: %w", err)
	}
	if err := change.Check(); err != nil {
		return changed, fmt.Errorf("changing the queue: %w", err)
	}
	switch {
	case change.Move != nil:
		changed.Deliveries, err = db.moveAction(ctx, *change.Move)
	case change.Switch != nil:
		err = db.do(ctx, &turn{turned: *change.Switch})
	case change.TryDelivery != "":
		changed, err = db.tryDelivery(ctx, change.TryDelivery)
	case change.TryAction != "":
		changed.Deliveries, err = db.tryAction(ctx, change.TryAction)
	case change.CancelDelivery != "":
		changed.Deliveries, err = db.cancelDelivery(ctx, change.CancelDelivery)
	default:
		changed.Deliveries, err = db.cancelAction(ctx, change.CancelAction)
	}
	if err != nil {
		return changed, fmt.Errorf("changing the queue: %w", err)
	}
	return changed, nil
}

// waiter is the part of a command whose caller waits for the answer.
type waiter struct{ done chan error }

func (w *waiter) answer(err error) { w.done <- err }

func (w *waiter) wait(ctx context.Context) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaited is a command whose caller waits.
type awaited interface {
	command
	start()
	wait(ctx context.Context) error
}

func (w *waiter) start() { w.done = make(chan error, 1) }

// do has the writer carry out a command, and waits for it.
func (db *DB) do(ctx context.Context, c awaited) error {
	c.start()
	if err := db.enqueue(c); err != nil {
		return err
	}
	return c.wait(ctx)
}

// cancel ends deliveries of an action.
type cancel struct {
	waiter
	action *action
	one    int64 // this delivery, or
	upTo   int64 // all up to this one; 0: all there are
	ended  []int64
	uuids  []string // of their events, if there is a watcher
	more   bool
}

func (*cancel) needsRoom() bool { return false }
func (c *cancel) prepare(*DB)   {}

func (c *cancel) write(tx *transaction) error {
	c.ended = c.ended[:0]
	if c.upTo == 0 {
		c.upTo = layout.DeliveryID(tx.lastEvent+1, 0) - 1
	}
	s := tx.statements.listWaiting
	if c.one != 0 {
		s = tx.statements.getWaiting
		s.BindInt64(2, c.one)
	} else {
		s.BindInt64(2, c.upTo)
		s.BindInt64(3, cancelAtOnce)
	}
	s.BindInt64(1, c.action.row)
	for {
		row, err := s.Step()
		if err != nil {
			return err
		}
		if !row {
			break
		}
		c.ended = append(c.ended, s.ColumnInt64(0))
	}
	if err := s.Reset(); err != nil {
		return err
	}
	c.more = c.one == 0 && len(c.ended) == cancelAtOnce
	for _, id := range c.ended {
		w, err := tx.waitingRow(c.action, id)
		if err != nil {
			return err
		}
		end := tx.statements.end
		end.BindInt64(1, c.action.row)
		end.BindInt64(2, id)
		if err := database.Step(end); err != nil {
			return err
		}
		if err := tx.endedRow(c.action, w); err != nil {
			return err
		}
		if err := tx.countSettled(layout.Cancelled, false, 0, 0); err != nil {
			return err
		}
		if err := tx.putAttempt(&settlement{Settlement: scheduler.Settlement{Number: int(w.attempts), At: tx.now}, action: c.action, state: layout.Cancelled}, id); err != nil {
			return err
		}
		if err := tx.mendAfter(id, layout.Cancelled, ""); err != nil {
			return err
		}
	}
	var err error
	c.uuids, err = tx.uuidsOf(c.ended)
	return err
}

func (c *cancel) apply(db *DB) {
	for _, id := range c.ended {
		db.scheduler.Release(&c.action.Action, id)
	}
}

// waitingRow is a row of the table waiting.
type waitingRow struct {
	due, attempts, first, since int64
	orderKey                    string
}

func (tx *transaction) waitingRow(a *action, delivery int64) (w waitingRow, err error) {
	err = database.Query(tx.conn, "SELECT due, attempts, first_attempt, since, order_key FROM waiting WHERE action = ? AND delivery = ?", func(row *sqlite.Stmt) error {
		w = waitingRow{row.ColumnInt64(0), row.ColumnInt64(1), row.ColumnInt64(2), row.ColumnInt64(3), row.ColumnText(4)}
		return nil
	}, a.row, delivery)
	return w, err
}

// endedRow does what follows from the end of a delivery that need not be the
// head of its order key: only a head releases the next.
func (tx *transaction) endedRow(a *action, w waitingRow) error {
	if w.due >= layout.Behind {
		return tx.ended(a, "")
	}
	return tx.ended(a, w.orderKey)
}

// numberOf returns the action and the number of a delivery.
func (db *DB) numberOf(ctx context.Context, id string) (a *action, number int64, err error) {
	var event int64
	var place int
	var name string
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		matches, err := history.Matches(conn, id)
		if err != nil {
			return err
		}
		for _, m := range matches {
			for i, p := range m.Plans {
				if p.ID == id {
					event, place, name = m.Event, i, p.Action
					return nil
				}
			}
		}
		return fmt.Errorf("delivery %s: %w", id, queue.ErrNotFound)
	})
	if err != nil {
		return nil, 0, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.action(name), layout.DeliveryID(event, place), nil
}

func (db *DB) cancelDelivery(ctx context.Context, id string) (int, error) {
	a, number, err := db.numberOf(ctx, id)
	if err != nil {
		return 0, err
	}
	c := &cancel{action: a, one: number}
	if err := db.do(ctx, c); err != nil {
		return 0, err
	}
	return len(c.ended), nil
}

// cancelAction cancels in several transactions. Until the last of them nothing
// of the action is handed out.
func (db *DB) cancelAction(ctx context.Context, name string) (n int, err error) {
	db.mu.Lock()
	a := db.action(name)
	db.mu.Unlock()
	c := &cancel{action: a, more: true}
	err = db.bar(a, func() error {
		for c.more {
			if err := db.do(ctx, c); err != nil {
				if n > 0 && !errors.Is(err, queue.ErrClosed) {
					err = fmt.Errorf("only %d deliveries of %s were cancelled: %w", n, name, err)
				}
				return err
			}
			n += len(c.ended)
		}
		return nil
	})
	return n, err
}

// bar runs f while nothing of an action is handed out, unless it has never had
// a delivery.
func (db *DB) bar(a *action, f func() error) error {
	db.mu.Lock()
	stored := a.id != 0
	db.scheduler.Bar(&a.Action)
	db.mu.Unlock()
	defer func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		db.scheduler.Unbar(&a.Action)
	}()
	if !stored {
		return nil
	}
	return f()
}
