package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// turn turns a switch, and notes it in the same transaction. What Take obeys is
// actions.paused, so that an action that was never switched costs nothing.
type turn struct {
	waiter
	turned queue.Switch
	action *action // of a switch for one
}

func (*turn) needsRoom() bool { return false }
func (t *turn) prepare(db *DB) {
	if t.turned.Kind == queue.SwitchAction {
		t.action = db.action(t.turned.Name)
	}
}

func (t *turn) write(tx *transaction) error {
	s := t.turned
	s.Since = layout.FromMicros(tx.now)
	was := false
	if err := database.Query(tx.conn, "SELECT since FROM switches WHERE kind = ? AND name = ?", func(row *sqlite.Stmt) error {
		was, s.Since = true, layout.FromMicros(row.ColumnInt64(0))
		return nil
	}, string(s.Kind), s.Name); err != nil {
		return err
	}
	if !s.Off && !was {
		return nil
	}
	if t.action != nil {
		if err := tx.storeAction(t.action); err != nil {
			return err
		}
		tx.statements.pause.BindBool(1, s.Off)
		tx.statements.pause.BindInt64(2, t.action.row)
		if err := database.Step(tx.statements.pause); err != nil {
			return err
		}
	}
	sql, args := "DELETE FROM switches WHERE kind = ? AND name = ?", []any{string(s.Kind), s.Name}
	if s.Off {
		sql = "INSERT OR REPLACE INTO switches (kind, name, since, until, reason) VALUES (?, ?, ?, nullif(?, 0), nullif(?, ''))"
		until := int64(0)
		if !s.Until.IsZero() {
			until = layout.DueAt(s.Until)
		}
		args = append(args, layout.Micros(s.Since), until, s.Reason)
	}
	if err := database.Query(tx.conn, sql, func(*sqlite.Stmt) error { return nil }, args...); err != nil {
		return err
	}
	note, err := s.Note()
	if err != nil {
		return err
	}
	return tx.note(note.Kind, note.Name, note.Text, tx.now)
}

func (t *turn) apply(db *DB) {
	if t.action != nil {
		db.scheduler.Pause(&t.action.Action, t.turned.Off)
	}
}
