package sqlite

import (
	"context"
	"errors"
	"math"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// startLoad reads deliveries of an action. DB.mu is held.
func (db *DB) startLoad(of *scheduler.Action, order scheduler.Order) {
	a := db.actions[of.Name]
	row := a.id
	db.background.Go(func() {
		read, err := db.load(a.Name, row, order)
		if err != nil && !errors.Is(err, database.ErrReadersClosed) {
			db.logger.Error("reading waiting deliveries", zap.String("action", a.Name), zap.Error(err))
		}
		db.mu.Lock()
		defer db.mu.Unlock()
		if !db.closing {
			db.scheduler.Loaded(of, order, read, err)
		}
	})
}

const (
	loadColumns = `w.delivery, w.due, w.attempts, w.first_attempt, w.order_key,
		e.uuid, e.received, k.source, k.event, e.deliveries, e.record, e.body, e.checksum, e.subject
	FROM waiting w CROSS JOIN events e ON e.id = w.delivery >> 11 CROSS JOIN kinds k ON k.id = e.kind`

	loadFresh = `SELECT ` + loadColumns + ` WHERE w.action = ? AND w.delivery > ? AND w.due IS NULL ORDER BY w.delivery LIMIT ?`

	// The event is read only of those that memory does not hold.
	scanTimed = `SELECT delivery, due FROM waiting INDEXED BY waiting_due WHERE action = ? AND due IS NOT NULL ORDER BY due, delivery`
	loadTimed = `SELECT ` + loadColumns + ` WHERE w.action = ? AND w.delivery = ?`
)

// load reads deliveries of an action, given by name and row, from the table.
func (db *DB) load(action string, row int64, order scheduler.Order) (scheduler.Read, error) {
	var raws, timed []rawDelivery
	result := scheduler.Read{NextDue: math.MaxInt64}
	bytes := int64(0)
	err := db.readers.Read(context.Background(), func(conn *sqlite.Conn) error {
		raws, timed, result.NextDue, bytes = raws[:0], timed[:0], math.MaxInt64, 0
		read := func(stmt *sqlite.Stmt) rawDelivery {
			r := readDelivery(stmt)
			bytes += layout.EventSize(len(r.record), len(r.body))
			return r
		}
		if order.Timed > 0 {
			ids, next, err := scanDue(conn, row, order)
			if err != nil {
				return err
			}
			result.NextDue = next
			for i, id := range ids {
				if err := database.Query(conn, loadTimed, func(row *sqlite.Stmt) error {
					timed = append(timed, read(row))
					return nil
				}, row, id.delivery); err != nil {
					return err
				}
				if bytes > db.options.limits.actionBytes && i+1 < len(ids) {
					result.NextDue = min(next, ids[i+1].due)
					break
				}
			}
		}
		if order.Fresh > 0 {
			bytes = 0
			return database.Query(conn, loadFresh, func(row *sqlite.Stmt) error {
				raws = append(raws, read(row))
				if bytes > db.options.limits.actionBytes {
					return database.ErrEnough
				}
				return nil
			}, row, order.After, int64(order.Fresh))
		}
		return nil
	})
	if err != nil && !errors.Is(err, database.ErrEnough) {
		return result, err
	}
	result.FreshEnd = err == nil && len(raws) < order.Fresh
	for _, r := range timed {
		result.Timed = append(result.Timed, db.decode(action, r))
	}
	for _, r := range raws {
		result.Fresh = append(result.Fresh, db.decode(action, r))
	}
	return result, nil
}

type dueDelivery struct{ delivery, due int64 }

// scanDue returns the deliveries that are due and not in memory, in the order
// of their times, and the time of the first that it leaves.
func scanDue(conn *sqlite.Conn, action int64, order scheduler.Order) (ids []dueDelivery, next int64, err error) {
	next = math.MaxInt64
	err = database.Query(conn, scanTimed, func(row *sqlite.Stmt) error {
		id, due := row.ColumnInt64(0), row.ColumnInt64(1)
		if due >= layout.Behind {
			return database.ErrEnough
		}
		if _, held := order.Held[id]; held {
			return nil
		}
		if due > order.Now || len(ids) == order.Timed {
			next = due
			return database.ErrEnough
		}
		ids = append(ids, dueDelivery{id, due})
		return nil
	}, action)
	if errors.Is(err, database.ErrEnough) {
		err = nil
	}
	return ids, next, err
}

// rawDelivery is a row that is decoded once the transaction is over.
type rawDelivery struct {
	id, due, attempts, first int64
	orderKey                 string
	uuid, source, name       string
	subject                  string
	received                 int64
	deliveries, record, body []byte
	checksum                 int64
}

func readDelivery(row *sqlite.Stmt) rawDelivery {
	return rawDelivery{
		id: row.ColumnInt64(0), due: row.ColumnInt64(1), attempts: row.ColumnInt64(2), first: row.ColumnInt64(3), orderKey: row.ColumnText(4),
		uuid: row.ColumnText(5), received: row.ColumnInt64(6), source: row.ColumnText(7), name: row.ColumnText(8),
		deliveries: database.ColumnBytes(row, 9), record: database.ColumnBytes(row, 10), body: database.ColumnBytes(row, 11), checksum: database.ColumnChecksum(row, 12), subject: row.ColumnText(13),
	}
}

// decode makes a delivery of a row. A row that cannot be read gives a delivery
// without an event, which its taker fails.
func (db *DB) decode(action string, r rawDelivery) *scheduler.Delivery {
	d := &scheduler.Delivery{Number: r.id, Since: r.due, Size: layout.EventSize(len(r.record), len(r.body))}
	if r.due == 0 {
		d.Since = r.received
	} else {
		d.Delivery.Due = layout.FromMicros(r.due)
	}
	d.Action, d.OrderKey, d.Attempts = action, r.orderKey, int(r.attempts)
	if r.first != 0 {
		d.FirstAttempt = layout.FromMicros(r.first)
	}
	stored, err := layout.StoredDelivery(r.deliveries, layout.PlaceOf(r.id))
	if err == nil {
		d.ID, d.Of, d.Added = stored.ID, stored.Of, stored.Added
		if stored.Expires != 0 {
			d.Expires = layout.FromMicros(stored.Expires)
		}
		d.Event, err = layout.DecodeEvent(r.record, r.body, r.checksum, r.uuid, r.source, r.name, r.subject, r.received)
	}
	db.unreadable(r.uuid, err)
	return d
}

// unreadable tells of a row that cannot be read.
func (db *DB) unreadable(event string, err error) {
	if err != nil {
		if errors.Is(err, layout.ErrChecksum) {
			db.troubles.Damaged(event)
		}
		db.logger.Error("a stored event cannot be read", zap.String("event", event), zap.Error(err))
	}
}
