package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// tryOne makes a delivery due ahead of all others, unless it is leased. One behind
// another of its order key stays there.
const tryOne = `UPDATE waiting SET place = CASE WHEN place >= 4611686018427387904 THEN 4611686018427387904 ELSE 0 END + 1
	WHERE action = $1 AND delivery = $2 AND (leased_until IS NULL OR leased_until <= now_us()) RETURNING attempts`

// trySome makes deliveries due now whose time is to come, some at a time.
const trySome = `WITH later AS (
		SELECT delivery FROM waiting WHERE action = $1 AND (place > $2 AND place < 4611686018427387904 OR place > 4611686018427387904 + $2)
			AND (leased_until IS NULL OR leased_until <= now_us()) ORDER BY place LIMIT $3 FOR UPDATE
	)
	UPDATE waiting w SET place = $2 + CASE WHEN w.place >= 4611686018427387904 THEN 4611686018427387904 ELSE 0 END WHERE w.action = $1 AND w.delivery = ANY(ARRAY(SELECT delivery FROM later))
	RETURNING w.delivery, w.attempts`

// noteTried says in the history since when deliveries are due again. The row of the
// last attempt that has one is left.
const noteTried = `INSERT INTO attempts (id, action, state, at) SELECT delivery << 12 | attempts, $1, 0, now_us() FROM unnest($2::bigint[], $3::integer[]) AS u(delivery, attempts) WHERE attempts <= 4095
	ON CONFLICT (id) DO UPDATE SET action = excluded.action, state = excluded.state, at = excluded.at, began = NULL, took = NULL, status = NULL, error = NULL, request = NULL, response = NULL, empty = NULL`

func (db *DB) tryDelivery(ctx context.Context, id string) (changed queue.Changed, err error) {
	action, number, err := db.findDelivery(ctx, id)
	if err != nil {
		return changed, err
	}
	err = db.alter(ctx, []string{action}, func(lanes []*lane) error {
		var events []string
		if err := db.write(ctx, func(tx pgx.Tx) error {
			changed = queue.Changed{}
			var attempts int32
			err := tx.QueryRow(ctx, tryOne, lanes[0].id, number).Scan(&attempts)
			if errors.Is(err, pgx.ErrNoRows) {
				return tx.QueryRow(ctx, "SELECT count(*) FROM waiting WHERE action = $1 AND delivery = $2", lanes[0].id, number).Scan(&changed.Leased)
			}
			if err != nil {
				return err
			}
			changed.Deliveries = 1
			if _, err := tx.Exec(ctx, noteTried, lanes[0].id, []int64{number}, []int32{attempts}); err != nil {
				return err
			}
			events, err = db.eventIDs(ctx, tx, []int64{number})
			return err
		}); err != nil {
			return err
		}
		db.tell(events)
		return nil
	})
	return changed, err
}

// tryAction makes deliveries due in several transactions.
func (db *DB) tryAction(ctx context.Context, name string) (n int, err error) {
	err = db.alter(ctx, []string{name}, func(lanes []*lane) error {
		var began int64
		if err := db.read(ctx, func(q querier) error { return q.QueryRow(ctx, "SELECT now_us()").Scan(&began) }); err != nil {
			return err
		}
		for {
			var tried []int64
			var events []string
			err := db.write(ctx, func(tx pgx.Tx) error {
				tried = nil
				rows, err := tx.Query(ctx, trySome, lanes[0].id, began, changeAtOnce)
				if err != nil {
					return err
				}
				var delivery int64
				var made int32
				var attempts []int32
				if _, err := pgx.ForEachRow(rows, []any{&delivery, &made}, func() error {
					tried, attempts = append(tried, delivery), append(attempts, made)
					return nil
				}); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, noteTried, lanes[0].id, tried, attempts); err != nil {
					return err
				}
				events, err = db.eventIDs(ctx, tx, tried)
				return err
			})
			if err != nil {
				if n > 0 && !errors.Is(err, queue.ErrClosed) {
					err = fmt.Errorf("only %d deliveries of %s were made due: %w", n, name, err)
				}
				return err
			}
			n += len(tried)
			db.tell(events)
			if len(tried) < changeAtOnce {
				return nil
			}
		}
	})
	return n, err
}
