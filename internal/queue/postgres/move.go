package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// moveWaiting hands deliveries to another action. Those with an order key go behind
// what that action has of it, and one behind another of theirs.
const moveWaiting = `WITH m AS MATERIALIZED (
		SELECT delivery, place, key_hash, place % 4611686018427387904 AS own FROM waiting WHERE action = $1 AND delivery = ANY($2) FOR UPDATE
	), n AS MATERIALIZED (
		SELECT delivery, own + CASE WHEN key_hash IS NOT NULL AND (row_number() OVER (PARTITION BY key_hash ORDER BY delivery) > 1
			OR EXISTS (SELECT 1 FROM waiting x WHERE x.action = $3 AND x.key_hash = m.key_hash)) THEN 4611686018427387904 ELSE 0 END AS place FROM m
	)
	UPDATE waiting w SET action = $3, place = greatest(n.place, 1), lease = w.lease + 1, leased_until = NULL, owner = NULL FROM n WHERE w.action = $1 AND w.delivery = n.delivery
	RETURNING w.delivery, w.key_hash`

const countMoved = `INSERT INTO action_counts (action, node, part, waiting) SELECT action, $1, 1, n FROM unnest($2::integer[], $3::bigint[]) AS u(action, n) ORDER BY action
	ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting`

// moveAction moves in several transactions. Until the last of them nothing of the first
// action is handed out.
func (db *DB) moveAction(ctx context.Context, m queue.Move) (n int, err error) {
	if m.To == "" || m.From == m.To {
		return 0, fmt.Errorf("deliveries of %q cannot be moved to %q: another action must be named", m.From, m.To)
	}
	err = db.alter(ctx, []string{m.From, m.To}, func(lanes []*lane) error {
		from, to := lanes[0], lanes[1]
		n, err = db.inParts(ctx, from, "moved", func(tx pgx.Tx, deliveries, hashes []int64) ([]int64, error) {
			return db.moveSome(ctx, tx, from, to, deliveries, hashes)
		})
		return err
	})
	return n, err
}

func (db *DB) moveSome(ctx context.Context, tx pgx.Tx, from, to *lane, deliveries, hashes []int64) (moved []int64, err error) {
	locks := &pgx.Batch{}
	queueLocks(locks, hashes)
	if err := tx.SendBatch(ctx, locks).Close(); err != nil {
		return nil, err
	}
	// Their events first, as Amend does.
	events, err := storedEvents(ctx, tx, "e.id IN (SELECT d >> 11 FROM unnest($1::bigint[]) d)", deliveries)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, moveWaiting, from.id, deliveries, to.id)
	if err != nil {
		return nil, err
	}
	var delivery int64
	var hash *int64
	var actions []int32
	var keys []int64
	places := make(map[int64][]int)
	if _, err := pgx.ForEachRow(rows, []any{&delivery, &hash}, func() error {
		moved = append(moved, delivery)
		event := delivery >> layout.DeliveryBits
		places[event] = append(places[event], layout.PlaceOf(delivery))
		if hash != nil {
			actions, keys = append(actions, from.id), append(keys, *hash)
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
	for _, e := range events {
		for _, place := range places[e.id] {
			if place < len(e.plans) {
				e.plans[place].Action, e.changed = to.name, true
			}
		}
	}
	if err := db.storeEvents(ctx, tx, events); err != nil {
		return nil, err
	}
	if n := int64(len(moved)); n > 0 {
		_, err = tx.Exec(ctx, countMoved, db.nodes.id(), []int32{from.id, to.id}, []int64{-n, n})
	}
	return moved, err
}
