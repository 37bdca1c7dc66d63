package history

import (
	"context"
	"fmt"
	"math"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

const (
	listNotes       = `SELECT id, at, kind, name, CASE WHEN ?1 THEN text END FROM notes INDEXED BY notes_at WHERE at >= ?2 AND at < ?3 ORDER BY at DESC, id DESC LIMIT ?4`
	findNote        = `SELECT id, at, text FROM notes INDEXED BY notes_kind WHERE kind = ? AND coalesce(name, '') = ? ORDER BY at DESC, id DESC LIMIT 1`
	listNotesOfKind = `SELECT id, at, kind, name, CASE WHEN ?1 THEN text END FROM notes INDEXED BY notes_kind WHERE kind = ?5 AND at >= ?2 AND at < ?3 ORDER BY at DESC, id DESC LIMIT ?4`
)

// Notes implements queue.History.
func (r *Reader) Notes(ctx context.Context, kind queue.NoteKind, since, until time.Time, n int, whole bool) (notes []queue.Note, err error) {
	sql, args := listNotes, []any{int64(0), int64(math.MinInt64), int64(math.MaxInt64), int64(n)}
	if whole {
		args[0] = int64(1)
	}
	if !since.IsZero() {
		args[1] = layout.MicrosUp(since)
	}
	if !until.IsZero() {
		args[2] = layout.MicrosUp(until)
	}
	if kind != "" {
		sql, args = listNotesOfKind, append(args, string(kind))
	}
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		notes = nil
		return database.Query(conn, sql, func(row *sqlite.Stmt) error {
			notes = append(notes, queue.Note{
				ID: row.ColumnInt64(0), At: layout.FromMicros(row.ColumnInt64(1)), Kind: queue.NoteKind(row.ColumnText(2)), Name: row.ColumnText(3), Text: row.ColumnText(4),
			})
			return nil
		}, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("reading notes: %w", err)
	}
	return notes, nil
}

// FindNote implements queue.History.
func (r *Reader) FindNote(ctx context.Context, kind queue.NoteKind, name string) (note queue.Note, err error) {
	note = queue.Note{Kind: kind, Name: name}
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		note.ID = 0
		return database.Query(conn, findNote, func(row *sqlite.Stmt) error {
			note.ID, note.At, note.Text = row.ColumnInt64(0), layout.FromMicros(row.ColumnInt64(1)), row.ColumnText(2)
			return nil
		}, string(kind), name)
	})
	if err == nil && note.ID == 0 {
		err = queue.ErrNotFound
	}
	if err != nil {
		return queue.Note{}, fmt.Errorf("finding the note %s of kind %s: %w", name, kind, err)
	}
	return note, nil
}
