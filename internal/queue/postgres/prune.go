package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// pruneAtOnce is how many events one transaction removes: so few that the events which
// arrive meanwhile hardly notice.
const pruneAtOnce = 64

const (
	// Old events are looked for block by block, the oldest first: what was imported later
	// has smaller ids, and need not be older. What is unfinished stands in the table
	// waiting, of which each action has a range.
	findOld = `SELECT block FROM ` + allSizes + ` AS s WHERE part = 0 AND (oldest IS NULL OR oldest < $1) GROUP BY block ORDER BY min(oldest) NULLS FIRST, block`

	findFinished = `WITH unfinished AS MATERIALIZED (
			SELECT DISTINCT w.delivery >> 11 AS id FROM actions a CROSS JOIN LATERAL (
				SELECT delivery FROM waiting WHERE action = a.id AND delivery >= $1::bigint << 23 AND delivery < ($1 + 1) << 23 ORDER BY delivery
			) AS w
		)
		SELECT e.id FROM events e LEFT JOIN unfinished u ON u.id = e.id
		WHERE e.id >= $1 << 12 AND e.id < ($1 + 1) << 12 AND e.received < $2 AND u.id IS NULL ORDER BY e.id`

	// A delivery may have been added since, or is being added: who adds has the row
	// locked.
	lockFinished = `SELECT id FROM events WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED`
	stillWaiting = `SELECT DISTINCT e.id FROM unnest($1::bigint[]) AS e(id) CROSS JOIN actions a CROSS JOIN LATERAL (
			SELECT 1 FROM waiting WHERE action = a.id AND delivery >= e.id << 11 AND delivery < (e.id + 1) << 11 ORDER BY delivery LIMIT 1
		) AS w`

	// What is removed is taken from the sizes in a row of its own, so that it waits for
	// no put.
	deleteEvents = `WITH removed AS (
			DELETE FROM events e WHERE e.id = ANY($1::bigint[]) RETURNING e.id >> 12 AS block, ` + sizeOfEvent + ` AS bytes
		), tried AS (
			DELETE FROM attempts a WHERE a.id = ANY(ARRAY(SELECT t.id FROM unnest($1::bigint[]) AS e(id) CROSS JOIN LATERAL (
				SELECT id FROM attempts WHERE id >= e.id << 23 AND id < (e.id + 1) << 23 ORDER BY id
			) AS t)) RETURNING a.id >> 35 AS block, ` + sizeOfAttempt + ` AS bytes
		), added AS (
			DELETE FROM additions WHERE event = ANY($1::bigint[])
		)
		INSERT INTO sizes (block, node, part, bytes) SELECT block, $2, 2, -sum(bytes) FROM (SELECT * FROM removed UNION ALL SELECT * FROM tried) AS all_of_it GROUP BY block ORDER BY block
		ON CONFLICT (block, node, part) DO UPDATE SET bytes = sizes.bytes + excluded.bytes`
)

// Nodes come and go, in containers under new names each time. What one counted that is
// gone for longer than nodes are listed is added to what no node did. So as many rows
// stay as there are nodes.
const (
	ofGoneNode = `c.node <> 0 AND NOT EXISTS (SELECT 1 FROM nodes n JOIN sessions s ON s.name = n.name WHERE n.id = c.node)`

	foldActionCounts = `WITH gone AS (DELETE FROM action_counts c WHERE ` + ofGoneNode + ` RETURNING *)
		INSERT INTO action_counts AS c (action, node, part, waiting, made, first, last, delivered, failed, expired)
		SELECT action, 0, part, sum(waiting), sum(made), min(first), max(last), sum(delivered), sum(failed), sum(expired) FROM gone GROUP BY action, part ORDER BY action, part
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = c.waiting + excluded.waiting, made = c.made + excluded.made,
			first = least(c.first, excluded.first), last = greatest(c.last, excluded.last),
			delivered = c.delivered + excluded.delivered, failed = c.failed + excluded.failed, expired = c.expired + excluded.expired`

	foldUses = `WITH gone AS (DELETE FROM uses c WHERE ` + ofGoneNode + ` RETURNING *)
		INSERT INTO uses AS c (thing, node, part, count, first, last) SELECT thing, 0, 0, sum(count), min(first), max(last) FROM gone GROUP BY thing ORDER BY thing
		ON CONFLICT (thing, node, part) DO UPDATE SET count = c.count + excluded.count, first = least(c.first, excluded.first), last = greatest(c.last, excluded.last)`

	// A node joins while it holds this, so that its name is not removed meanwhile.
	holdNodes = `SELECT epoch FROM control FOR UPDATE`
	// The name of a node stays while events may name it: then it has sizes.
	removeNodes = `DELETE FROM nodes n WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE name = n.name) AND NOT EXISTS (SELECT 1 FROM sizes WHERE node = n.id)
		AND NOT EXISTS (SELECT 1 FROM tallies WHERE node = n.id)`
)

// rests are statements that remove what no event needs any more, and what is older than
// a time.
var rests = []struct {
	sql  string
	aged bool   // by the time
	hold string // a statement before it, in the same transaction
}{
	// The newest block stays: it is being written.
	{sql: `DELETE FROM sizes s WHERE block < (SELECT max(id) >> 12 FROM events) AND NOT EXISTS (SELECT 1 FROM events WHERE id >= s.block << 12 AND id < (s.block + 1) << 12)`},
	{sql: `DELETE FROM dedupe WHERE expires < now_us()`},
	{sql: foldActionCounts},
	{sql: foldUses},
	{sql: removeNodes, hold: holdNodes},
	// The last of each kind and node before the time stays, because what it says went on
	// being true, for the events that name the node.
	{sql: `DELETE FROM notes n WHERE at < $1 AND (id <> (SELECT id FROM notes WHERE kind = n.kind AND node = n.node AND at < $1 ORDER BY at DESC, id DESC LIMIT 1)
		OR node <> '' AND NOT EXISTS (SELECT 1 FROM nodes WHERE name = n.node))`, aged: true},
	{sql: `DELETE FROM counts c USING (VALUES (1), (10), (60)) AS m(minutes) WHERE c.minutes = m.minutes AND c.at < $1 - m.minutes * 60000000::bigint`, aged: true},
	{sql: `DELETE FROM samples s USING (VALUES (1), (10), (60)) AS m(minutes) WHERE s.minutes = m.minutes AND s.at < $1 - m.minutes * 60000000::bigint`, aged: true},
	// Actions stay: their deliveries may still be in the history.
	{sql: `WITH gone AS (DELETE FROM things WHERE kind <> 'action' AND gone < $1 RETURNING id) DELETE FROM uses WHERE thing IN (SELECT id FROM gone)`, aged: true},
}

// Prune implements queue.History. It removes events in small steps between which it
// rests as long as they took. Nodes that prune at once leave each other's alone.
func (db *DB) Prune(ctx context.Context, before time.Time, size int64) (removed int, err error) {
	mine, err := db.once(ctx)
	if err == nil && mine {
		removed, err = db.prune(ctx, before, size)
	}
	if err != nil {
		return removed, fmt.Errorf("pruning the activity: %w", err)
	}
	return removed, nil
}

func (db *DB) prune(ctx context.Context, before time.Time, size int64) (removed int, err error) {
	if !before.IsZero() {
		if removed, err = db.pruneWhere(ctx, layout.MicrosUp(before), func() (bool, error) { return true, nil }); err != nil {
			return removed, err
		}
	}
	if size > 0 {
		n, err := db.pruneWhere(ctx, math.MaxInt64, func() (over bool, err error) {
			err = db.read(ctx, func(conn querier) error {
				var bytes int64
				err := conn.QueryRow(ctx, sumSizes).Scan(&bytes)
				over = bytes > size
				return err
			})
			return over, err
		})
		if removed += n; err != nil {
			return removed, err
		}
	}
	for _, rest := range rests {
		var args []any
		if rest.aged {
			if before.IsZero() {
				continue
			}
			args = []any{layout.MicrosUp(before)}
		}
		if err := db.rest(ctx, func(tx pgx.Tx) error {
			if rest.hold != "" {
				if _, err := tx.Exec(ctx, rest.hold); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, rest.sql, args...)
			return err
		}); err != nil {
			return removed, err
		}
	}
	return removed, db.pruneKinds(ctx)
}

// pruneKinds removes the kinds that no event has had for a while. It goes through all
// kinds, so it does that once an hour.
func (db *DB) pruneKinds(ctx context.Context) error {
	now := db.now().UnixMicro()
	last := db.kindsPruned.Load()
	if now-last < time.Hour.Microseconds() || !db.kindsPruned.CompareAndSwap(last, now) {
		return nil
	}
	if err := db.rest(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, removeKinds, kindsKeptFor.Microseconds())
		return err
	}); err != nil {
		return err
	}
	return db.rest(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, findUnused)
		return err
	})
}

// pruneWhere removes finished events that were received before a time, oldest first,
// while more says so.
func (db *DB) pruneWhere(ctx context.Context, before int64, more func() (bool, error)) (removed int, err error) {
	blocks, err := db.numbers(ctx, findOld, before)
	if err != nil {
		return 0, err
	}
	for _, block := range blocks {
		finished, err := db.numbers(ctx, findFinished, block, before)
		if err != nil {
			return removed, err
		}
		for some := range slices.Chunk(finished, pruneAtOnce) {
			if again, err := more(); err != nil || !again {
				return removed, err
			}
			n := 0
			if err := db.rest(ctx, func(tx pgx.Tx) (err error) {
				n, err = db.remove(ctx, tx, some)
				return err
			}); err != nil {
				return removed, err
			}
			removed += n
		}
	}
	return removed, nil
}

func (db *DB) numbers(ctx context.Context, sql string, args ...any) (found []int64, err error) {
	err = db.read(ctx, func(conn querier) error {
		found, err = numbers[int64](ctx, conn, sql, args...)
		return err
	})
	return found, err
}

// numbers returns the numbers that a query gives.
func numbers[N int32 | int64](ctx context.Context, conn querier, sql string, args ...any) ([]N, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[N])
}

// remove removes events with all that belongs to them, but those that another node
// removes, or to which a delivery was added since they were found.
func (db *DB) remove(ctx context.Context, tx pgx.Tx, events []int64) (removed int, err error) {
	locked, err := numbers[int64](ctx, tx, lockFinished, events)
	if err != nil {
		return 0, err
	}
	waiting, err := numbers[int64](ctx, tx, stillWaiting, locked)
	if err != nil {
		return 0, err
	}
	locked = slices.DeleteFunc(locked, func(id int64) bool { return slices.Contains(waiting, id) })
	if len(locked) == 0 {
		return 0, nil
	}
	_, err = tx.Exec(ctx, deleteEvents, locked, db.nodes.id())
	return len(locked), err
}

// rest carries out a step, and then gives others some time.
func (db *DB) rest(ctx context.Context, step func(tx pgx.Tx) error) error {
	began := time.Now()
	if err := db.write(ctx, step); err != nil {
		return err
	}
	return activity.Rest(ctx, time.Since(began), db.closed)
}
