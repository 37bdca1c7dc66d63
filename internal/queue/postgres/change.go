package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// changeAtOnce is how many deliveries one transaction cancels, moves or makes due, so
// that events need not wait for a backlog to be changed.
const changeAtOnce = 512

// Change implements queue.Queue.
func (db *DB) Change(ctx context.Context, change queue.Change) (changed queue.Changed, err error) {
	if err := db.usable(ctx); err != nil {
		return changed, fmt.Errorf("changing the queue: %w", err)
	}
	if err := change.Check(); err != nil {
		return changed, fmt.Errorf("changing the queue: %w", err)
	}
	switch {
	case change.Move != nil:
		changed.Deliveries, err = db.moveAction(ctx, *change.Move)
	case change.Switch != nil:
		err = db.turn(ctx, *change.Switch)
	case change.TryDelivery != "":
		changed, err = db.tryDelivery(ctx, change.TryDelivery)
	case change.TryAction != "":
		changed.Deliveries, err = db.tryAction(ctx, change.TryAction)
	case change.CancelDelivery != "":
		changed.Deliveries, err = db.cancelDelivery(ctx, change.CancelDelivery)
	default:
		changed.Deliveries, err = db.cancelAction(ctx, change.CancelAction)
	}
	if err != nil {
		return changed, fmt.Errorf("changing the queue: %w", err)
	}
	return changed, nil
}

// alter runs f while this node hands out nothing of some actions from memory: what is
// ready goes back to the table first, and what was settled is written, so that f finds
// there all that is known here.
func (db *DB) alter(ctx context.Context, names []string, f func(lanes []*lane) error) error {
	var back []*lease
	lanes := make([]*lane, len(names))
	db.mu.Lock()
	for i, name := range names {
		l := db.lane(name)
		l.barred++
		lanes[i] = l
		back = append(back, db.recall(l)...)
	}
	db.mu.Unlock()
	defer func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		for _, l := range lanes {
			l.barred--
			l.tableFrom = db.now()
			l.signal()
		}
		for _, name := range names {
			db.left(name)
		}
	}()
	if err := db.withConnection(ctx, func(conn *pgxpool.Conn) error {
		if err := db.storeActionsOf(ctx, conn, lanes); err != nil {
			return err
		}
		return db.returnLeases(ctx, conn, back)
	}); err != nil {
		return reached(err)
	}
	if err := db.flush(ctx); err != nil {
		return err
	}
	return f(lanes)
}

// findDelivery returns the number of a delivery and its action.
func (db *DB) findDelivery(ctx context.Context, id string) (action string, number int64, err error) {
	err = db.read(ctx, func(conn querier) error {
		events, err := matches(ctx, conn, id)
		if err != nil || len(events) == 0 {
			return errors.Join(err, fmt.Errorf("delivery %s: %w", id, queue.ErrNotFound))
		}
		rows, err := conn.Query(ctx, "SELECT id, deliveries FROM events WHERE id = ANY($1) AND deliveries IS NOT NULL", events)
		if err != nil {
			return err
		}
		var event int64
		var list []byte
		found := false
		if _, err := pgx.ForEachRow(rows, []any{&event, &list}, func() error {
			plans, err := layout.DecodePlans(decodeBytes(list))
			db.unreadable("", err)
			for place, p := range plans {
				if p.ID == id {
					action, number, found = p.Action, layout.DeliveryID(event, place), true
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("delivery %s: %w", id, queue.ErrNotFound)
		}
		return nil
	})
	return action, number, err
}

// eventIDs returns the ids of the events of deliveries, if anything is to be told of
// them.
func (db *DB) eventIDs(ctx context.Context, q querier, deliveries []int64) (ids []string, err error) {
	if !db.watched() || len(deliveries) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, "SELECT uuid FROM events WHERE id IN (SELECT DISTINCT d >> 11 FROM unnest($1::bigint[]) d)", deliveries)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var id pgtype.UUID
		err := row.Scan(&id)
		return uuid.UUID(id.Bytes).String(), err
	})
}

func (db *DB) tell(events []string) {
	if len(events) > 0 {
		db.changed(func(add func(string)) {
			for _, event := range events {
				add(event)
			}
		})
	}
}

// loseAll ends the leases of deliveries in memory.
func (db *DB) loseAll(deliveries []int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, delivery := range deliveries {
		db.lose(delivery)
	}
}
