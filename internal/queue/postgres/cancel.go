package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// listWaiting lists deliveries of an action, some at a time.
const listWaiting = `SELECT delivery, key_hash FROM waiting WHERE action = $1 AND delivery > $2 AND delivery <= $3 ORDER BY delivery LIMIT $4`

const lastWaiting = `SELECT coalesce(max(delivery), 0) FROM waiting WHERE action = $1`

// endCancelled ends deliveries, and counts that.
const endCancelled = `WITH gone AS (
		DELETE FROM waiting WHERE action = $1 AND delivery = ANY($2) RETURNING delivery, attempts, action, key_hash
	), a AS (
		INSERT INTO attempts (id, action, state, at) SELECT delivery << 12 | least(attempts, 4095), action, 4, now_us() FROM gone
		ON CONFLICT (id) DO UPDATE SET action = excluded.action, state = excluded.state, at = excluded.at, began = NULL, took = NULL, status = NULL, error = NULL, request = NULL, response = NULL, empty = NULL
	), c AS (
		INSERT INTO counts (minutes, at, name, node, n) SELECT 1, now_us() - now_us() % 60000000, 'cancelled', $3, count(*) FROM gone HAVING count(*) > 0
		ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n
	), t AS (
		INSERT INTO action_counts (action, node, part, waiting) SELECT action, $3, 1, -count(*) FROM gone GROUP BY action
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting
	)
	SELECT delivery, key_hash FROM gone`

// cancelSome cancels those of some deliveries that are unfinished, in a transaction.
func (db *DB) cancelSome(ctx context.Context, tx pgx.Tx, action int32, deliveries, hashes []int64) (ended []int64, err error) {
	b := &pgx.Batch{}
	queueLocks(b, hashes)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	touched := make([]int64, len(deliveries))
	for i, delivery := range deliveries {
		touched[i] = delivery >> layout.DeliveryBits
	}
	// In the order in which settlements and Amend lock.
	if _, err := tx.Exec(ctx, mayBeMended, touched); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, endCancelled, action, deliveries, db.nodes.id())
	if err != nil {
		return nil, err
	}
	var delivery int64
	var hash *int64
	var actions []int32
	var keys, events []int64
	if _, err := pgx.ForEachRow(rows, []any{&delivery, &hash}, func() error {
		ended, events = append(ended, delivery), append(events, delivery>>layout.DeliveryBits)
		if hash != nil {
			actions, keys = append(actions, action), append(keys, *hash)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		if _, err := tx.Exec(ctx, releaseKeys, actions, keys); err != nil {
			return nil, err
		}
	}
	return ended, db.mend(ctx, tx, events)
}

func (db *DB) cancelDelivery(ctx context.Context, id string) (n int, err error) {
	// It may be moved to another action between the two.
	action, number, err := db.findDelivery(ctx, id)
	if err != nil {
		return 0, err
	}
	err = db.alter(ctx, []string{action}, func(lanes []*lane) error {
		var ended []int64
		var events []string
		var epoch epoch
		if err := db.write(ctx, func(tx pgx.Tx) error {
			var hash *int64
			err := tx.QueryRow(ctx, "SELECT key_hash FROM waiting WHERE action = $1 AND delivery = $2", lanes[0].id, number).Scan(&hash)
			if errors.Is(err, pgx.ErrNoRows) {
				return nil // it has ended
			} else if err != nil {
				return err
			}
			if ended, err = db.cancelSome(ctx, tx, lanes[0].id, []int64{number}, hashesOf(hash)); err != nil {
				return err
			}
			if events, err = db.eventIDs(ctx, tx, ended); err != nil {
				return err
			}
			epoch, err = db.raise(ctx, tx, false, action)
			return err
		}); err != nil {
			return err
		}
		n = len(ended)
		db.loseAll(ended)
		db.pending.settled(int64(n))
		db.tell(events)
		return db.obeyed(ctx, epoch)
	})
	return n, err
}

func hashesOf(hash *int64) []int64 {
	if hash == nil {
		return nil
	}
	return []int64{*hash}
}

// inParts runs change on the deliveries that an action has when it begins, some in each
// transaction, while no node hands out any of them. It returns how many it changed.
func (db *DB) inParts(ctx context.Context, l *lane, what string, change func(tx pgx.Tx, deliveries, hashes []int64) (changed []int64, err error)) (n int, err error) {
	last := int64(0)
	if err := db.bar(ctx, l); err != nil {
		return 0, err
	}
	defer db.unbar(l)
	if err := db.read(ctx, func(q querier) error { return q.QueryRow(ctx, lastWaiting, l.id).Scan(&last) }); err != nil {
		return 0, err
	}
	for after := int64(0); after < last; {
		var changed []int64
		var events []string
		next := after
		err := db.write(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, listWaiting, l.id, after, last, changeAtOnce)
			if err != nil {
				return err
			}
			var delivery int64
			var hash *int64
			var deliveries, hashes []int64
			if _, err := pgx.ForEachRow(rows, []any{&delivery, &hash}, func() error {
				deliveries, hashes = append(deliveries, delivery), append(hashes, hashesOf(hash)...)
				return nil
			}); err != nil {
				return err
			}
			next = last
			if len(deliveries) == changeAtOnce {
				next = deliveries[len(deliveries)-1]
			}
			if len(deliveries) == 0 {
				return nil
			}
			if changed, err = change(tx, deliveries, hashes); err != nil {
				return err
			}
			if events, err = db.eventIDs(ctx, tx, changed); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "UPDATE actions SET barred_until = now_us() + $2 WHERE id = $1", l.id, barFor.Microseconds())
			return err
		})
		if err != nil {
			if n > 0 && !errors.Is(err, queue.ErrClosed) {
				err = fmt.Errorf("only %d deliveries of %s were %s: %w", n, l.name, what, err)
			}
			return n, err
		}
		after = next
		n += len(changed)
		db.loseAll(changed)
		db.tell(events)
	}
	// If another change of the action ended the bar meanwhile, nodes may have leased some of
	// these before they were changed: they give them back before this returns.
	return n, db.bar(ctx, l)
}

// cancelAction cancels in several transactions. Until the last of them nothing of the
// action is handed out.
func (db *DB) cancelAction(ctx context.Context, name string) (n int, err error) {
	err = db.alter(ctx, []string{name}, func(lanes []*lane) error {
		n, err = db.inParts(ctx, lanes[0], "cancelled", func(tx pgx.Tx, deliveries, hashes []int64) ([]int64, error) {
			return db.cancelSome(ctx, tx, lanes[0].id, deliveries, hashes)
		})
		db.pending.settled(int64(n))
		return err
	})
	return n, err
}
