package sqlite

import (
	"context"
	"fmt"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// note is one call of Note on its way through the writer.
type note struct {
	waiter
	queue.Note
}

// Note implements queue.History.
func (db *DB) Note(ctx context.Context, n queue.Note) error {
	switch {
	case n.Kind == "":
		return fmt.Errorf("keeping a note: it has no kind")
	case len(n.Name)+len(n.Text) > maxRow:
		return fmt.Errorf("keeping a note of kind %s: it takes %d bytes; at most %d can be stored", n.Kind, len(n.Name)+len(n.Text), maxRow)
	}
	if err := db.do(ctx, &note{Note: n}); err != nil {
		return fmt.Errorf("keeping a note of kind %s: %w", n.Kind, err)
	}
	return nil
}

func (*note) needsRoom() bool { return true }
func (n *note) prepare(*DB)   {}
func (n *note) apply(*DB)     {}

func (n *note) write(tx *transaction) error {
	at := tx.now
	if !n.At.IsZero() {
		at = layout.Micros(n.At)
	}
	if n.Replace {
		if err := database.Query(tx.conn, "DELETE FROM notes INDEXED BY notes_kind WHERE kind = ? AND coalesce(name, '') = ?",
			func(*sqlite.Stmt) error { return nil }, string(n.Kind), n.Name); err != nil {
			return err
		}
	}
	return tx.note(n.Kind, n.Name, n.Text, at)
}

// note writes a row of the table notes.
func (tx *transaction) note(kind queue.NoteKind, name, text string, at int64) error {
	tx.bytes += int64(len(name) + len(text))
	return putNote(tx.conn, kind, name, text, at)
}

func putNote(conn *sqlite.Conn, kind queue.NoteKind, name, text string, at int64) error {
	return database.Query(conn, "INSERT INTO notes (at, kind, name, text) VALUES (?, ?, nullif(?, ''), nullif(?, ''))",
		func(*sqlite.Stmt) error { return nil }, at, string(kind), name, text)
}

// noteRun notes the start or the end of a run. It must not keep the relay from
// starting on a full disk, nor from stopping.
func (db *DB) noteRun(kind queue.NoteKind) {
	if err := putNote(db.conn, kind, "", "", layout.Micros(db.now())); err != nil {
		db.logger.Warn("the note about this start or stop cannot be written", zap.String("kind", string(kind)), zap.String("file", db.file), zap.Error(err))
	}
}

// oldNotes removes notes from before a time. The last of each kind before it
// stays, because what it says went on being true.
const oldNotes = `DELETE FROM notes AS n WHERE at < ?1 AND id <> (SELECT id FROM notes INDEXED BY notes_kind WHERE kind = n.kind AND at < ?1 ORDER BY at DESC, id DESC LIMIT 1)`
