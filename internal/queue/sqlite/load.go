package sqlite

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// loadAtOnce bounds how many deliveries one reading of the table brings, so
// that the transaction stays short and the first of them are soon at work.
const loadAtOnce = 512

// retryLoading is how long after an error the table is read again.
const retryLoading = time.Second

// loadIfLow starts to read deliveries of an action from the table when memory
// has few and the table may have more. DB.mu is held.
func (db *DB) loadIfLow(a *action, now int64) {
	fresh := a.overflow && a.fresh.len() <= db.options.limits.fresh/2
	timed := a.nextLoad <= now && a.due.Len() <= db.options.limits.fresh/8
	if a.loading || !fresh && !timed || db.closing {
		return
	}
	if wait := time.Until(a.loadAfter); wait > 0 {
		db.arm(now + wait.Microseconds() + 1)
		return
	}
	order := loadOrder{action: a.id, now: now}
	if fresh {
		order.fresh, order.after = loadAtOnce, a.readUpTo
	}
	if timed {
		order.timed = loadAtOnce
		// Whatever leaves memory for the table from now on says so again.
		a.nextLoad = never
		order.held = make(map[int64]struct{}, len(a.held))
		for id := range a.held {
			order.held[id] = struct{}{}
		}
	}
	a.loading, a.left = true, make(map[int64]struct{})
	mark := a.dropped
	db.background.Go(func() {
		result, err := db.load(order)
		db.mu.Lock()
		defer db.mu.Unlock()
		left, outdated := a.left, a.outdated
		a.loading, a.left, a.outdated = false, nil, false
		if err != nil || outdated {
			if timed {
				a.nextLoad = min(a.nextLoad, order.now)
			}
			switch {
			case outdated:
				a.signal()
			case !errors.Is(err, errReadersClosed):
				db.logger.Error("reading waiting deliveries", zap.String("action", a.name), zap.Error(err))
				a.loadAfter = time.Now().Add(retryLoading)
				a.signal()
			}
			return
		}
		db.take(a, order, result, mark, left)
	})
}

// loadOrder says what to read, and loadResult what was read.
type loadOrder struct {
	action int64
	now    int64
	fresh  int   // how many fresh deliveries, behind
	after  int64 // this one
	timed  int   // how many with a time of their own that has come, except
	held   map[int64]struct{}
}

type loadResult struct {
	fresh, timed []*delivery
	freshEnd     bool  // there were no more
	nextDue      int64 // of the first that was not read
}

// take puts what was read into memory. DB.mu is held.
func (db *DB) take(a *action, order loadOrder, result loadResult, mark int64, left map[int64]struct{}) {
	outdated := func(d *delivery) bool {
		_, yes := left[d.id]
		return yes || a.held[d.id] != nil
	}
	if order.timed > 0 {
		a.nextLoad = min(a.nextLoad, result.nextDue)
		for i, d := range result.timed {
			if outdated(d) {
				continue
			}
			if !db.roomDue(a, d.size) {
				a.nextLoad = min(a.nextLoad, result.timed[i].since)
				break
			}
			d.Action = a.name
			db.hold(a, d)
			heap.Push(&a.due, d)
		}
	}
	if order.fresh > 0 {
		for _, d := range result.fresh {
			if !outdated(d) {
				if !db.roomFresh(a, d.size) {
					result.freshEnd = false
					break
				}
				d.Action = a.name
				db.hold(a, d)
				a.fresh.push(d)
			}
			a.readUpTo = d.id
		}
		if result.freshEnd {
			// All that was dropped before the reading began was visible to it.
			a.readUpTo = max(a.readUpTo, mark)
			a.overflow = a.dropped > a.readUpTo
		}
	}
	if a.nextLoad != never && a.takers > 0 {
		db.arm(a.nextLoad)
	}
	if a.ready() || a.overflow || a.nextLoad <= order.now {
		a.signal()
	}
}

const (
	loadColumns = `w.delivery, w.due, w.attempts, w.first_attempt, w.order_key,
		e.uuid, e.received, k.source, k.event, e.deliveries, e.record, e.body, e.checksum
	FROM waiting w CROSS JOIN events e ON e.id = w.delivery >> 11 CROSS JOIN kinds k ON k.id = e.kind`

	loadFresh = `SELECT ` + loadColumns + ` WHERE w.action = ? AND w.delivery > ? AND w.due IS NULL ORDER BY w.delivery LIMIT ?`

	// The event is read only of those that memory does not hold.
	scanTimed = `SELECT delivery, due FROM waiting INDEXED BY waiting_due WHERE action = ? AND due IS NOT NULL ORDER BY due, delivery`
	loadTimed = `SELECT ` + loadColumns + ` WHERE w.action = ? AND w.delivery = ?`
)

// load reads deliveries from the table.
func (db *DB) load(order loadOrder) (loadResult, error) {
	var raws, timed []rawDelivery
	result := loadResult{nextDue: never}
	bytes := int64(0)
	err := db.readers.read(context.Background(), func(conn *sqlite.Conn) error {
		raws, timed, result.nextDue, bytes = raws[:0], timed[:0], never, 0
		read := func(stmt *sqlite.Stmt) rawDelivery {
			r := readDelivery(stmt)
			bytes += eventSize(len(r.record), len(r.body))
			return r
		}
		if order.timed > 0 {
			ids, next, err := scanDue(conn, order)
			if err != nil {
				return err
			}
			result.nextDue = next
			for i, id := range ids {
				if err := query(conn, loadTimed, func(row *sqlite.Stmt) error {
					timed = append(timed, read(row))
					return nil
				}, order.action, id.delivery); err != nil {
					return err
				}
				if bytes > db.options.limits.actionBytes && i+1 < len(ids) {
					result.nextDue = min(next, ids[i+1].due)
					break
				}
			}
		}
		if order.fresh > 0 {
			bytes = 0
			return query(conn, loadFresh, func(row *sqlite.Stmt) error {
				raws = append(raws, read(row))
				if bytes > db.options.limits.actionBytes {
					return errEnough
				}
				return nil
			}, order.action, order.after, int64(order.fresh))
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return result, err
	}
	result.freshEnd = err == nil && len(raws) < order.fresh
	for _, r := range timed {
		result.timed = append(result.timed, db.decode(r))
	}
	for _, r := range raws {
		result.fresh = append(result.fresh, db.decode(r))
	}
	return result, nil
}

var errEnough = errors.New("enough")

type dueDelivery struct{ delivery, due int64 }

// scanDue returns the deliveries that are due and not in memory, in the order
// of their times, and the time of the first that it leaves.
func scanDue(conn *sqlite.Conn, order loadOrder) (ids []dueDelivery, next int64, err error) {
	next = never
	err = query(conn, scanTimed, func(row *sqlite.Stmt) error {
		id, due := row.ColumnInt64(0), row.ColumnInt64(1)
		if due >= behind {
			return errEnough
		}
		if _, held := order.held[id]; held {
			return nil
		}
		if due > order.now || len(ids) == order.timed {
			next = due
			return errEnough
		}
		ids = append(ids, dueDelivery{id, due})
		return nil
	}, order.action)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return ids, next, err
}

// rawDelivery is a row that is decoded once the transaction is over.
type rawDelivery struct {
	id, due, attempts, first int64
	orderKey                 string
	uuid, source, name       string
	received                 int64
	deliveries, record, body []byte
	checksum                 int64
}

func readDelivery(row *sqlite.Stmt) rawDelivery {
	return rawDelivery{
		id: row.ColumnInt64(0), due: row.ColumnInt64(1), attempts: row.ColumnInt64(2), first: row.ColumnInt64(3), orderKey: row.ColumnText(4),
		uuid: row.ColumnText(5), received: row.ColumnInt64(6), source: row.ColumnText(7), name: row.ColumnText(8),
		deliveries: columnBytes(row, 9), record: columnBytes(row, 10), body: columnBytes(row, 11), checksum: columnChecksum(row, 12),
	}
}

// decode makes a delivery of a row. A row that cannot be read gives a delivery
// without an event, which its taker fails.
func (db *DB) decode(r rawDelivery) *delivery {
	d := &delivery{id: r.id, since: r.due, size: eventSize(len(r.record), len(r.body))}
	if r.due == 0 {
		d.since = r.received
	}
	d.OrderKey, d.Attempts = r.orderKey, int(r.attempts)
	if r.first != 0 {
		d.FirstAttempt = fromMicros(r.first)
	}
	if r.due != 0 {
		d.Due = fromMicros(r.due)
	}
	stored, err := storedDelivery(r.deliveries, placeOf(r.id))
	if err == nil {
		d.ID, d.Action, d.Of, d.added = stored.ID, stored.Action, stored.Of, stored.Added
		if stored.Expires != 0 {
			d.Expires = fromMicros(stored.Expires)
		}
		d.event, err = decodeEvent(r.record, r.body, r.checksum, r.uuid, r.source, r.name, r.received)
	}
	db.unreadable(r.uuid, err)
	return d
}

// unreadable tells of a row that cannot be read.
func (db *DB) unreadable(event string, err error) {
	if err != nil {
		if errors.Is(err, errChecksum) {
			db.troubles.begin(queue.TroubleDamage, fmt.Sprintf("at least one stored event is damaged, such as %s: nothing is sent of it, its deliveries fail; run caddy event-relay check", event), false)
		}
		db.logger.Error("a stored event cannot be read", zap.String("event", event), zap.Error(err))
	}
}

func decodeEvent(record, body []byte, sum int64, uuid, source, name string, received int64) (*event.Event, error) {
	if err := checkSum(sum, record, body); err != nil {
		return nil, err
	}
	event, err := event.DecodeRecord(record, body)
	if err != nil {
		return nil, fmt.Errorf("decoding the record: %w", err)
	}
	event.ID, event.Source, event.Name, event.Received = uuid, source, name, fromMicros(received)
	return event, nil
}

// plan is a delivery as it stands in events.deliveries.
type plan struct {
	ID      string `json:"id"`
	Action  string `json:"action"`
	Due     int64  `json:"due,omitempty"`
	Expires int64  `json:"expires,omitempty"`
	Of      string `json:"of,omitempty"`    // id of the delivery that it repeats
	Added   int64  `json:"added,omitempty"` // when it was added to the stored event, 0: it was stored with it
}

// decodePlans decodes events.deliveries, which is NULL for none.
func decodePlans(list []byte) (plans []plan, err error) {
	if list == nil {
		return nil, nil
	}
	if err := json.Unmarshal(list, &plans); err != nil {
		return nil, fmt.Errorf("decoding the list of deliveries: %w", err)
	}
	return plans, nil
}

func storedDelivery(list []byte, place int) (plan, error) {
	plans, err := decodePlans(list)
	if err != nil {
		return plan{}, err
	}
	if place >= len(plans) {
		return plan{}, fmt.Errorf("decoding the list of deliveries: it has %d and not %d", len(plans), place+1)
	}
	return plans[place], nil
}

// eventSize estimates the memory of a decoded event from what is stored of it.
func eventSize(record, body int) int64 { return int64(1024 + 3*(record+body)) }

// query runs a cached statement and calls f for each row.
func query(conn *sqlite.Conn, sql string, f func(row *sqlite.Stmt) error, args ...any) error {
	stmt, err := conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Reset()
	for i, arg := range args {
		switch arg := arg.(type) {
		case int64:
			stmt.BindInt64(i+1, arg)
		case string:
			stmt.BindText(i+1, arg)
		default:
			return fmt.Errorf("binding a %T", arg)
		}
	}
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			return err
		}
		if err := f(stmt); err != nil {
			return err
		}
	}
}
