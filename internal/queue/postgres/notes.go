package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// mostNote bounds the name and the text of a note; PostgreSQL's own bound is 1 GB.
const mostNote = 512 << 20

const (
	listNotes = `SELECT id, at, node, kind, coalesce(name, ''), CASE WHEN $1 THEN coalesce(text, '') ELSE '' END FROM notes
		WHERE at >= $2 AND at < $3 ORDER BY at DESC, id DESC LIMIT $4`
	listNotesOfKind = `SELECT id, at, node, kind, coalesce(name, ''), CASE WHEN $1 THEN coalesce(text, '') ELSE '' END FROM notes
		WHERE kind = $5 AND at >= $2 AND at < $3 ORDER BY at DESC, id DESC LIMIT $4`
	findNote = `SELECT id, at, node, kind, coalesce(name, ''), coalesce(text, '') FROM notes
		WHERE kind = $1 AND coalesce(name, '') = $2 ORDER BY at DESC, id DESC LIMIT 1`

	// Of two nodes that replace the same note at once, the second must see what the
	// first has written.
	lockNote    = `SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 1165382257))`
	replaceNote = `DELETE FROM notes WHERE kind = $1 AND coalesce(name, '') = $2`
)

// Note implements queue.History.
func (db *DB) Note(ctx context.Context, n queue.Note) error {
	switch {
	case n.Kind == "":
		return fmt.Errorf("keeping a note: it has no kind")
	case len(n.Name)+len(n.Text) > mostNote:
		return fmt.Errorf("keeping a note of kind %s: it takes %d bytes; at most %d can be stored", n.Kind, len(n.Name)+len(n.Text), mostNote)
	}
	if err := db.write(ctx, func(tx pgx.Tx) error {
		if n.Replace {
			kind, name := encodeText(string(n.Kind)), encodeText(n.Name)
			for _, sql := range []string{lockNote, replaceNote} {
				if _, err := tx.Exec(ctx, sql, kind, name); err != nil {
					return err
				}
			}
		}
		return db.note(ctx, tx, n)
	}); err != nil {
		return fmt.Errorf("keeping a note of kind %s: %w", n.Kind, err)
	}
	return nil
}

func scanNote(row pgx.CollectableRow) (n queue.Note, err error) {
	var at int64
	err = row.Scan(&n.ID, &at, &n.Node, &n.Kind, &n.Name, &n.Text)
	n.At, n.Kind = layout.FromMicros(at), queue.NoteKind(decodeText(string(n.Kind)))
	n.Node, n.Name, n.Text = decodeText(n.Node), decodeText(n.Name), decodeText(n.Text)
	return n, err
}

// Notes implements queue.History.
func (db *DB) Notes(ctx context.Context, kind queue.NoteKind, since, until time.Time, n int, whole bool) (notes []queue.Note, err error) {
	sql, args := listNotes, []any{whole, int64(math.MinInt64), int64(math.MaxInt64), n}
	if !since.IsZero() {
		args[1] = layout.MicrosUp(since)
	}
	if !until.IsZero() {
		args[2] = layout.MicrosUp(until)
	}
	if kind != "" {
		sql, args = listNotesOfKind, append(args, encodeText(string(kind)))
	}
	err = db.read(ctx, func(conn querier) error {
		rows, err := conn.Query(ctx, sql, args...)
		if err == nil {
			notes, err = pgx.CollectRows(rows, scanNote)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading notes: %w", err)
	}
	return notes, nil
}

// FindNote implements queue.History.
func (db *DB) FindNote(ctx context.Context, kind queue.NoteKind, name string) (note queue.Note, err error) {
	err = db.read(ctx, func(conn querier) error {
		rows, err := conn.Query(ctx, findNote, encodeText(string(kind)), encodeText(name))
		if err == nil {
			note, err = pgx.CollectExactlyOneRow(rows, scanNote)
		}
		if errors.Is(err, pgx.ErrNoRows) {
			err = queue.ErrNotFound
		}
		return err
	})
	if err != nil {
		return queue.Note{}, fmt.Errorf("finding the note %s of kind %s: %w", name, kind, err)
	}
	return note, nil
}
