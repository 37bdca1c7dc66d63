package postgres

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// The half that reads, until it is built.

func (db *DB) Page(context.Context, queue.Filter, queue.Order, queue.Cursor, int) (queue.Page, error) {
	return queue.Page{}, errNotBuilt
}

func (db *DB) Events(context.Context, queue.Filter, queue.Order, queue.Cursor, int) (queue.Events, error) {
	return queue.Events{}, errNotBuilt
}

func (db *DB) Summaries(context.Context, []string) ([]queue.Summary, error) { return nil, errNotBuilt }

func (db *DB) Find(context.Context, string) (queue.Detail, error) {
	return queue.Detail{}, errNotBuilt
}

func (db *DB) Watch(ctx context.Context) <-chan queue.Changes { return db.watchers.Watch(ctx) }

func (db *DB) Backlog(context.Context) ([]queue.Backlog, error) { return nil, errNotBuilt }

func (db *DB) Series(context.Context, time.Time, time.Time, int) (queue.Series, error) {
	return queue.Series{}, errNotBuilt
}

func (db *DB) Sample(context.Context) error { return errNotBuilt }

func (db *DB) Exist(context.Context, []queue.Thing) error { return errNotBuilt }

func (db *DB) Uses(context.Context) ([]queue.Use, error) { return nil, errNotBuilt }

func (db *DB) Prune(context.Context, time.Time, int64) (int, error) { return 0, errNotBuilt }

func (db *DB) Note(context.Context, queue.Note) error { return errNotBuilt }

func (db *DB) Notes(context.Context, queue.NoteKind, time.Time, time.Time, int, bool) ([]queue.Note, error) {
	return nil, errNotBuilt
}

func (db *DB) FindNote(context.Context, queue.NoteKind, string) (queue.Note, error) {
	return queue.Note{}, errNotBuilt
}
