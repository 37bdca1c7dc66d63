package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

const (
	// mostFindings is how many findings of one kind are told.
	mostFindings = 20
	// mostTries is how often a check is begun anew that the writer interrupted.
	mostTries = 3
)

var errTooBusy = errors.New("so much is being written that the database cannot be checked as a whole: try again later, or restore a backup elsewhere, which checks it")

// findings are the statements that find what contradicts itself, by what it is.
// Those with two parameters ask for a range of events.
var findings = []struct{ what, sql string }{
	{"an action's number of waiting deliveries is wrong", `SELECT name || ': ' || waiting || ' instead of ' || (SELECT count(*) FROM waiting WHERE action = a.id)
		FROM actions a WHERE waiting <> (SELECT count(*) FROM waiting WHERE action = a.id)`},
	{"a waiting delivery has no event", `SELECT delivery FROM waiting WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = delivery >> 11)`},
	{"a waiting delivery has no action", `SELECT delivery FROM waiting WHERE action NOT IN (SELECT id FROM actions)`},
	{"an order key has not one head", `SELECT action || '/' || order_key FROM waiting INDEXED BY waiting_order WHERE order_key IS NOT NULL
		GROUP BY action, order_key HAVING sum(coalesce(due, 0) < 4611686018427387904) <> 1`},
	{"an action is paused without a switch, or the reverse", `SELECT name FROM actions WHERE paused <> (name IN (SELECT name FROM switches WHERE kind = 'action'))`},
	{"an added delivery has no event", `SELECT uuid FROM additions WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = event)`},
	{"an event has no kind", `SELECT id FROM events WHERE id >= ? AND id < ? AND kind NOT IN (SELECT id FROM kinds)`},
	{"an event cannot be read", `SELECT id FROM events WHERE id >= ? AND id < ? AND NOT (json_valid(record) AND json_valid(verdict) AND json_valid(coalesce(deliveries, '[]')))`},
	{"a delivery neither waits nor has ended, or both", `SELECT e.id || '/' || d.key FROM events e CROSS JOIN json_each(CASE WHEN json_valid(e.deliveries) THEN e.deliveries END) d
		WHERE e.id >= ? AND e.id < ? AND e.deliveries IS NOT NULL
			AND (SELECT count(*) FROM actions a CROSS JOIN waiting w ON w.action = a.id AND w.delivery = e.id * 2048 + d.key)
			+ (SELECT count(*) FROM attempts WHERE id >= (e.id * 2048 + d.key) * 4096 AND id < (e.id * 2048 + d.key + 1) * 4096 AND state <> 0) <> 1`},
	{"an event is outside its block", `SELECT e.id FROM events e WHERE e.id >= ?1 AND e.id < ?2
		AND (e.received < (SELECT oldest FROM blocks WHERE first = ?1) OR e.received > (SELECT newest FROM blocks WHERE first = ?1))`},
}

// Verify has SQLite check the database, and holds its tables against each
// other. It returns what is wrong, one finding each. It takes long with many
// events, in short pieces but for SQLite's own check, and one call at a time, so
// that deliveries find a reader's connection meanwhile.
func (db *DB) Verify(ctx context.Context) ([]string, error) {
	db.verifying.Lock()
	defer db.verifying.Unlock()
	v := &verification{db: db, ctx: ctx, of: make(map[string]int)}
	kept := db.tellOfKeptLogs()
	if err := v.run(); err != nil {
		return nil, fmt.Errorf("checking the database: %w", err)
	}
	return append(kept, v.found...), nil
}

// verification is one run of Verify.
type verification struct {
	db    *DB
	ctx   context.Context
	found []string
	of    map[string]int // how many findings there are of each kind
}

func (v *verification) run() error {
	if err := v.read(func(conn *sqlite.Conn) ([]string, error) { return database.QuickCheck(conn, mostFindings) }); err != nil || len(v.found) > 0 {
		return err // if SQLite finds anything, the tables cannot be trusted
	}
	if err := v.read(v.tables()); err != nil {
		return err
	}
	// Blocks that begin later are left to the next check: it would never end.
	last := int64(0)
	if err := v.read(func(conn *sqlite.Conn) (found []string, err error) {
		if last, err = database.QueryInt(conn, "SELECT coalesce(max(first), 0) FROM blocks"); err != nil || last > 0 {
			return nil, err
		}
		n, err := database.QueryInt(conn, "SELECT count(*) FROM events")
		if err == nil && n > 0 {
			found = append(found, fmt.Sprintf("there are %d events and no blocks", n))
		}
		return found, err
	}); err != nil {
		return err
	}
	for from := int64(0); from <= last; {
		next := from
		if err := v.read(func(conn *sqlite.Conn) (found []string, err error) {
			found, next, err = v.block(conn, from)
			return found, err
		}); err != nil {
			return err
		}
		from = next
	}
	return nil
}

// read runs one piece of the check in a transaction of its own and keeps what it
// found.
func (v *verification) read(piece func(conn *sqlite.Conn) ([]string, error)) error {
	var found []string
	err := v.db.readers.Read(v.ctx, limited(func(conn *sqlite.Conn) (err error) {
		found, err = piece(conn)
		return err
	}))
	v.found = append(v.found, found...)
	return err
}

// tables returns the check of those statements that have as many parameters as
// args.
func (v *verification) tables(args ...any) func(conn *sqlite.Conn) ([]string, error) {
	return func(conn *sqlite.Conn) ([]string, error) { return checkTables(conn, args, v.of) }
}

// block checks the events of the first block from an id on, and returns the id to
// go on from. Where the block begins and ends is read in the transaction in which
// its events are: while events are stored, new blocks begin, and an event behind
// the end of this one would look as if it were outside its block.
func (v *verification) block(conn *sqlite.Conn, from int64) (found []string, next int64, err error) {
	first := int64(0)
	next = layout.MaxEvent
	if err := database.Query(conn, "SELECT first FROM blocks WHERE first >= ? ORDER BY first LIMIT 2", func(row *sqlite.Stmt) error {
		if first == 0 {
			first = row.ColumnInt64(0)
		} else {
			next = row.ColumnInt64(0)
		}
		return nil
	}, from); err != nil || first == 0 {
		return nil, next, err
	}
	if found, err = v.tables(first, next)(conn); err != nil {
		return nil, next, err
	}
	damaged, err := v.checksums(conn, first, next)
	return append(found, damaged...), next, err
}

// checksums finds the events whose record or body is not what was stored.
func (v *verification) checksums(conn *sqlite.Conn, first, end int64) (found []string, err error) {
	const what = "an event is damaged: its checksum does not fit its record and body"
	err = database.Query(conn, "SELECT uuid, record, body, checksum FROM events WHERE id >= ? AND id < ? AND checksum IS NOT NULL", func(row *sqlite.Stmt) error {
		if layout.VerifyChecksum(row.ColumnInt64(3), database.ColumnBytes(row, 1), database.ColumnBytes(row, 2)) == nil {
			return nil
		}
		if v.of[what]++; v.of[what] <= mostFindings {
			found = append(found, what+": "+row.ColumnText(0))
		}
		return nil
	}, first, end)
	return found, err
}

// checkTables runs the statements that have as many parameters as args. Of
// each kind of finding it tells some.
func checkTables(conn *sqlite.Conn, args []any, of map[string]int) (found []string, err error) {
	for _, f := range findings {
		stmt, err := conn.Prepare(f.sql)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.what, err)
		}
		if stmt.BindParamCount() != len(args) {
			continue
		}
		if err := database.Query(conn, f.sql, func(row *sqlite.Stmt) error {
			if of[f.what]++; of[f.what] <= mostFindings {
				found = append(found, f.what+": "+row.ColumnText(0))
			}
			return nil
		}, args...); err != nil {
			return nil, fmt.Errorf("%s: %w", f.what, err)
		}
	}
	return found, nil
}

// limited bounds how often a reading is begun anew.
func limited(f func(conn *sqlite.Conn) error) func(conn *sqlite.Conn) error {
	tries := 0
	return func(conn *sqlite.Conn) error {
		if tries++; tries > mostTries {
			return errTooBusy
		}
		return f(conn)
	}
}
