package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// One transaction moves this much at most. Each delivery rewrites its event's
// row, however large that is.
const (
	moveAtOnce      = 128
	moveBytesAtOnce = 4 << 20
)

const listMoving = `SELECT w.delivery, e.received, octet_length(e.record) + coalesce(octet_length(e.body), 0) FROM waiting w LEFT JOIN events e ON e.id = w.delivery >> 11
	WHERE w.action = ? AND w.delivery <= ? ORDER BY w.delivery LIMIT ?`

// move hands unfinished deliveries of one action to another.
type move struct {
	waiter
	from, to *action
	upTo     int64 // all up to this delivery; 0: all there are
	moved    []int64
	uuids    []string // of their events, if there is a watcher
	more     bool
}

// needsRoom: a move is not tried again before the settlements that came first,
// or it would hand on what they say is over.
func (*move) needsRoom() bool { return true }

func (m *move) prepare(*DB) {}

func (m *move) write(tx *transaction) error {
	m.moved = m.moved[:0]
	if m.upTo == 0 {
		m.upTo = layout.DeliveryID(tx.lastEvent+1, 0) - 1
	}
	if err := tx.storeAction(m.to); err != nil {
		return err
	}
	var received []int64
	bytes := int64(0)
	err := database.Query(tx.conn, listMoving, func(row *sqlite.Stmt) error {
		m.moved, received = append(m.moved, row.ColumnInt64(0)), append(received, row.ColumnInt64(1))
		if bytes += row.ColumnInt64(2); bytes > moveBytesAtOnce {
			return database.ErrEnough
		}
		return nil
	}, m.from.row, m.upTo, int64(moveAtOnce))
	if err != nil && !errors.Is(err, database.ErrEnough) {
		return err
	}
	tx.bytes += bytes
	m.more = err != nil || len(m.moved) == moveAtOnce
	for i, id := range m.moved {
		if err := tx.move(m.from, m.to, id, received[i]); err != nil {
			return err
		}
	}
	m.uuids, err = tx.uuidsOf(m.moved)
	return err
}

// move moves one delivery. From then on it has a time of its own: memory may
// already be past the fresh deliveries of the other action.
func (tx *transaction) move(from, to *action, id, received int64) error {
	w, err := tx.waitingRow(from, id)
	if err != nil {
		return err
	}
	end := tx.statements.end
	end.BindInt64(1, from.row)
	end.BindInt64(2, id)
	if err := database.Step(end); err != nil {
		return err
	}
	if err := tx.endedRow(from, w); err != nil {
		return err
	}
	due := scheduler.OwnTime(w.due)
	if due == 0 {
		due = max(min(received, tx.now), 1) // its place among those who wait
	}
	if w.orderKey != "" {
		first, err := tx.firstOfKey(to, w.orderKey)
		if err != nil {
			return err
		}
		if !first {
			due += layout.Behind
		}
	}
	if due < layout.Behind {
		tx.released = append(tx.released, to)
	}
	tx.count(to, 1)
	if err := database.Query(tx.conn, `INSERT INTO waiting (action, delivery, due, attempts, first_attempt, order_key, since)
		VALUES (?, ?, ?, ?, nullif(?, 0), nullif(?, ''), nullif(?, 0))`, func(*sqlite.Stmt) error { return nil },
		to.row, id, due, w.attempts, w.first, w.orderKey, w.since); err != nil {
		return err
	}
	event := id >> layout.DeliveryBits
	stored, err := tx.storedEvent(event)
	if err != nil || stored.uuid == "" || stored.err != nil || layout.PlaceOf(id) >= len(stored.plans) {
		return err
	}
	stored.plans[layout.PlaceOf(id)].Action = to.Name
	return tx.storeEvent(event, stored)
}

func (m *move) apply(db *DB) {
	for _, id := range m.moved {
		db.scheduler.Release(&m.from.Action, id)
	}
}

func (m *move) changed(f func(string)) {
	for _, uuid := range m.uuids {
		f(uuid)
	}
}

// moveAction moves in several transactions. Until the last of them nothing of
// the first action is handed out.
func (db *DB) moveAction(ctx context.Context, names queue.Move) (n int, err error) {
	if names.To == "" || names.From == names.To {
		return 0, fmt.Errorf("deliveries of %q cannot be moved to %q: another action must be named", names.From, names.To)
	}
	db.mu.Lock()
	from, to := db.action(names.From), db.action(names.To)
	db.mu.Unlock()
	m := &move{from: from, to: to, more: true}
	err = db.bar(from, func() error {
		for m.more {
			if err := db.do(ctx, m); err != nil {
				if n > 0 && !errors.Is(err, queue.ErrClosed) {
					err = fmt.Errorf("only %d deliveries of %s were moved: %w", n, names.From, err)
				}
				return err
			}
			n += len(m.moved)
		}
		return nil
	})
	return n, err
}
