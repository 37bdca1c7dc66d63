package sqlite

import (
	"context"
	"fmt"
	"math"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
)

const (
	// pruneAtOnce is how many events one transaction removes: so few that the
	// events which arrive meanwhile hardly notice.
	pruneAtOnce = 64
	// vacuumAtOnce is how many pages one transaction gives back to the file
	// system.
	vacuumAtOnce = 128
	// slack is the free part of the file, as 1/slack, that is kept for new
	// events instead of being given back.
	slack = 8
)

// Prune implements queue.History. What is to go is found on a reader's
// connection; the writer only deletes, in small steps between which it rests
// as long as they took.
func (db *DB) Prune(ctx context.Context, before time.Time, size int64) (removed int, err error) {
	db.pruning.Lock()
	defer db.pruning.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("pruning the activity: %w", err)
		}
	}()
	if !before.IsZero() {
		if removed, err = db.pruneWhere(ctx, layout.MicrosUp(before), func() (bool, error) { return true, nil }); err != nil {
			return removed, err
		}
	}
	if size > 0 {
		var n int
		n, err = db.pruneWhere(ctx, math.MaxInt64, func() (bool, error) {
			total, free, err := db.size(ctx)
			return total-free > size, err
		})
		if removed += n; err != nil {
			return removed, err
		}
	}
	if err := db.pruneRest(ctx); err != nil {
		return removed, err
	}
	if !before.IsZero() {
		if err := db.rest(ctx, &script{sql: oldNotes, args: []any{layout.MicrosUp(before)}}); err != nil {
			return removed, err
		}
		if err := db.pruneCounts(ctx, layout.MicrosUp(before)); err != nil {
			return removed, err
		}
		if err := db.pruneUses(ctx, layout.MicrosUp(before)); err != nil {
			return removed, err
		}
	}
	return removed, db.vacuum(ctx, size)
}

// pruneWhere removes finished events that were received before a time, oldest
// first, while more says so.
func (db *DB) pruneWhere(ctx context.Context, before int64, more func() (bool, error)) (removed int, err error) {
	for next := int64(0); ; {
		if again, err := more(); err != nil || !again {
			return removed, err
		}
		var ids []int64
		if ids, next, err = db.finished(ctx, next, before); err != nil {
			return removed, err
		}
		if len(ids) > 0 {
			p := &prune{events: ids}
			if err := db.rest(ctx, p); err != nil {
				return removed, err
			}
			removed += p.removed
		}
		if next == layout.MaxEvent {
			return removed, nil
		}
	}
}

// finished returns some finished events: see history.Finished.
func (db *DB) finished(ctx context.Context, from, before int64) (ids []int64, next int64, err error) {
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) (err error) {
		ids, next, err = history.Finished(conn, from, before, pruneAtOnce)
		return err
	})
	return ids, next, err
}

// size returns the bytes of the database, and how many of them are free.
func (db *DB) size(ctx context.Context) (total, free int64, err error) {
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) (err error) {
		total, free, err = database.Size(conn)
		return err
	})
	return total, free, err
}

// rest has the writer carry out a step, and then gives it some time for
// others.
func (db *DB) rest(ctx context.Context, c awaited) error {
	began := time.Now()
	if err := db.do(ctx, c); err != nil {
		return err
	}
	return activity.Rest(ctx, time.Since(began), db.closed)
}

// prune removes events with all that belongs to them.
type prune struct {
	waiter
	events  []int64
	removed int
}

func (*prune) needsRoom() bool { return false }
func (p *prune) prepare(*DB)   {}
func (p *prune) apply(*DB)     {}

// write leaves events to which a delivery was added since they were found.
func (p *prune) write(tx *transaction) error {
	p.removed = 0
	for _, id := range p.events {
		tx.statements.addedWaits.BindInt64(1, id)
		waits, err := tx.statements.addedWaits.Step()
		if err != nil {
			return err
		}
		if err := tx.statements.addedWaits.Reset(); err != nil {
			return err
		}
		if waits {
			continue
		}
		p.removed++
		tx.keepCount(id)
		tx.statements.deleteAdditions.BindInt64(1, id)
		if err := database.Step(tx.statements.deleteAdditions); err != nil {
			return err
		}
		tx.statements.deleteEvent.BindInt64(1, id)
		if err := database.Step(tx.statements.deleteEvent); err != nil {
			return err
		}
		from, to := layout.AttemptRange(id)
		tx.statements.deleteAttempts.BindInt64(1, from)
		tx.statements.deleteAttempts.BindInt64(2, to)
		if err := database.Step(tx.statements.deleteAttempts); err != nil {
			return err
		}
	}
	tx.bytes += int64(len(p.events)) * 1024
	return nil
}

// script is a step that one statement does.
type script struct {
	waiter
	sql  string
	args []any
}

func (*script) needsRoom() bool { return false }
func (s *script) prepare(*DB)   {}
func (s *script) apply(*DB)     {}

func (s *script) write(tx *transaction) error {
	clear(tx.db.kinds) // some of them may go
	tx.bytes += vacuumAtOnce * database.PageSize / 2
	return database.Query(tx.conn, s.sql, func(*sqlite.Stmt) error { return nil }, s.args...)
}

// pruneRest removes what no event needs any more. The newest block stays,
// because event ids go on from it.
func (db *DB) pruneRest(ctx context.Context) error {
	for _, rest := range []struct{ find, remove string }{
		{
			`SELECT json_group_array(first) FROM blocks b WHERE first < (SELECT max(first) FROM blocks) AND NOT EXISTS (SELECT 1 FROM events
				WHERE id >= b.first AND id < (SELECT min(first) FROM blocks c WHERE c.first > b.first))`,
			`DELETE FROM blocks WHERE first IN (SELECT value FROM json_each(?))`,
		},
		{
			`SELECT json_group_array(id) FROM kinds k WHERE NOT EXISTS (SELECT 1 FROM events WHERE kind = k.id)`,
			`DELETE FROM kinds WHERE id IN (SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM events WHERE kind = kinds.id)`,
		},
	} {
		var unused string
		err := db.readers.Read(ctx, func(conn *sqlite.Conn) error {
			return database.Query(conn, rest.find, func(row *sqlite.Stmt) error {
				unused = row.ColumnText(0)
				return nil
			})
		})
		if err != nil {
			return err
		}
		if unused == "[]" {
			continue
		}
		if err := db.rest(ctx, &script{sql: rest.remove, args: []any{unused}}); err != nil {
			return err
		}
	}
	return nil
}

// pruneCounts removes the counts from before a time, some at a time.
func (db *DB) pruneCounts(ctx context.Context, before int64) error {
	for _, minutes := range layout.CountedMinutes {
		for {
			var last int64
			if err := db.readers.Read(ctx, func(conn *sqlite.Conn) (err error) {
				last, err = database.QueryInt(conn, "SELECT max(at) FROM (SELECT at FROM counts WHERE minutes = ? AND at < ? ORDER BY at LIMIT 1000)", minutes, before-minutes*layout.Minute)
				return err
			}); err != nil {
				return err
			}
			if last == 0 {
				break
			}
			if err := db.rest(ctx, &script{sql: "DELETE FROM counts WHERE minutes = ? AND at <= ?", args: []any{minutes, last}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// point returns the counts as queue.Series has them.
// vacuum gives free pages back to the file system, until the database has the
// size, or little of it is free.
func (db *DB) vacuum(ctx context.Context, size int64) error {
	for last := int64(math.MaxInt64); ; {
		total, free, err := db.size(ctx)
		if err != nil {
			return err
		}
		over := size > 0 && total > size && free > 0
		if !over && free <= total/slack || total >= last {
			return nil
		}
		last = total
		if err := db.rest(ctx, &script{sql: fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumAtOnce)}); err != nil {
			return err
		}
	}
}
