package sqlite

import (
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// nextOfKey names its index: SQLite would rather read all of an action.
const nextOfKey = `SELECT w.delivery, w.due, e.received FROM waiting w INDEXED BY waiting_order CROSS JOIN events e ON e.id = w.delivery >> 11
	WHERE w.action = ? AND w.order_key = ? ORDER BY w.delivery LIMIT 1`

// firstOfKey reports whether no unfinished delivery has the key.
func (tx *transaction) firstOfKey(a *action, key string) (bool, error) {
	s := tx.statements.firstOfKey
	s.BindInt64(1, a.row)
	s.BindText(2, key)
	found, err := s.Step()
	if err != nil {
		return false, err
	}
	return !found, s.Reset()
}

// releaseNext makes the next delivery of a key due at its own time.
func (tx *transaction) releaseNext(a *action, key string) error {
	s := tx.statements.nextOfKey
	s.BindInt64(1, a.row)
	s.BindText(2, key)
	found, err := s.Step()
	if err != nil {
		return err
	}
	id, due, received := s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2)
	if err := s.Reset(); err != nil {
		return err
	}
	if !found || due < layout.Behind {
		return nil
	}
	release := tx.statements.release
	release.BindInt64(1, scheduler.Released(due, received, tx.now))
	release.BindInt64(2, a.row)
	release.BindInt64(3, id)
	if err := database.Step(release); err != nil {
		return err
	}
	tx.released = append(tx.released, a)
	return nil
}
