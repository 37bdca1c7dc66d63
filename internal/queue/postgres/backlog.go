package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// A delivery has been waiting since its event was received, unless it was added later.
// How many wait is counted where it changes: to count a million rows takes a third of
// a second.
const listBacklog = `SELECT a.name, c.waiting, a.paused, coalesce(least(
		(SELECT e.received FROM (SELECT delivery FROM waiting WHERE action = a.id AND since IS NULL ORDER BY delivery LIMIT 1) AS w JOIN events e ON e.id = w.delivery >> 11),
		(SELECT since FROM waiting WHERE action = a.id AND since IS NOT NULL ORDER BY since LIMIT 1)
	), now_us()) FROM actions a JOIN (SELECT action, sum(waiting)::bigint AS waiting FROM ` + allActionCounts + ` AS w GROUP BY action) AS c ON c.action = a.id
	WHERE c.waiting > 0 ORDER BY a.name COLLATE "C"`

// Backlog implements queue.History.
func (db *DB) Backlog(ctx context.Context) (backlog []queue.Backlog, err error) {
	err = db.read(ctx, func(conn querier) error {
		rows, err := conn.Query(ctx, listBacklog)
		if err != nil {
			return err
		}
		backlog, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (b queue.Backlog, err error) {
			var oldest int64
			err = row.Scan(&b.Action, &b.Count, &b.Paused, &oldest)
			b.Action, b.Oldest = decodeText(b.Action), layout.FromMicros(oldest)
			return b, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the backlog: %w", err)
	}
	return backlog, nil
}

// The rows are written in one order by all nodes, so that none waits for another in a
// circle. Of samples in the same time the last stays.
const putSamples = `INSERT INTO samples (minutes, at, action, count, age)
	SELECT m.minutes, now_us() - now_us() % (m.minutes * 60000000), b.action, b.count, greatest(now_us() - b.oldest, 0)
	FROM (` + listBacklog + `) AS b(action, count, paused, oldest) CROSS JOIN (VALUES (1::bigint), (10), (60)) AS m(minutes) ORDER BY 1, 2, 3
	ON CONFLICT (minutes, at, action) DO UPDATE SET count = excluded.count, age = excluded.age`

// Sample implements queue.History.
func (db *DB) Sample(ctx context.Context) error {
	mine, err := db.once(ctx)
	if err == nil && mine {
		err = db.write(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, putSamples)
			return err
		})
		if err == nil {
			err = db.roll(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("noting the backlog: %w", err)
	}
	return nil
}
