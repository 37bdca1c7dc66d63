package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// What happens is counted by the minute, in the transaction that makes it happen (see
// tally.go). Rows for ten minutes and for hours are added up from those later, once, so
// that a chart reads few rows however long it reaches back, and no row is written over
// and over for an hour. The fact "rolled" says up to which time that is done; a chart
// takes what is behind it from the minutes.
//
// Rows of node 0 have all three lengths from the beginning: those that were added up,
// and what an import brought.

// rollAfter is how long counts are left as they are, in microseconds: longer than any
// transaction takes that counts.
const rollAfter = 2 * 60 * layout.Minute

const (
	readRolled = `SELECT coalesce((SELECT text::bigint FROM facts WHERE name = 'rolled'), 0), (now_us() - $1) / 3600000000 * 3600000000`

	// Of two nodes that add up at once the second waits, and then does nothing.
	firstRolled = `INSERT INTO facts (name, text) VALUES ('rolled', '0') ON CONFLICT (name) DO NOTHING`
	moveRolled  = `UPDATE facts SET text = $2 WHERE name = 'rolled' AND text = $1`

	rollCounts = `INSERT INTO counts (minutes, at, name, node, n)
		SELECT m.minutes, c.at - c.at % (m.minutes * 60000000), c.name, 0, sum(c.n) FROM counts c CROSS JOIN (VALUES (10::bigint), (60)) AS m(minutes)
		WHERE c.minutes = 1 AND c.at >= $1 AND c.at < $2 AND c.node <> 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
		ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n`

	// holdRolled keeps counts from being added up while old ones change.
	holdRolled = `SELECT 1 FROM facts WHERE name = 'rolled' FOR SHARE`
)

// rolled returns up to which time counts are added up, and up to which they may be.
func rolled(ctx context.Context, conn querier) (done, due int64, err error) {
	err = conn.QueryRow(ctx, readRolled, rollAfter).Scan(&done, &due)
	return done, due, err
}

// roll adds up counts, once an hour.
func (db *DB) roll(ctx context.Context) error {
	var done, due int64
	if err := db.read(ctx, func(conn querier) (err error) {
		done, due, err = rolled(ctx, conn)
		return err
	}); err != nil || due <= done {
		return err
	}
	if err := db.connected(ctx, func(conn *pgxpool.Conn) error { return db.tallyLeft(ctx, conn) }); err != nil {
		return err
	}
	return db.write(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, firstRolled); err != nil {
			return err
		}
		moved, err := tx.Exec(ctx, moveRolled, strconv.FormatInt(done, 10), strconv.FormatInt(due, 10))
		if err != nil || moved.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, rollCounts, done, due)
		return err
	})
}

// readCounts adds the counts of all times of the steps.
func readCounts(ctx context.Context, conn querier, steps *activity.Steps) error {
	from, to := steps.From, steps.To
	if steps.Minutes > 1 {
		done, _, err := rolled(ctx, conn)
		if err != nil {
			return err
		}
		if done > from {
			if err := addCounts(ctx, conn, steps, steps.Minutes, from, min(done, to)); err != nil {
				return err
			}
			from = done
		}
	}
	if from >= to {
		return nil
	}
	return addCounts(ctx, conn, steps, 1, from, to)
}
