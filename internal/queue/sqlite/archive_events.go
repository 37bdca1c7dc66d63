package sqlite

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

const (
	archivedColumns = `SELECT e.id, e.received, k.source, k.event, k.decision, e.uuid, e.tenant, e.parse_error, e.duplicate_of, e.verdict, e.deliveries,
		e.record, e.body, e.test, %s, %s FROM events e CROSS JOIN kinds k ON k.id = e.kind`
	listArchived = archivedColumns + ` WHERE e.id > ? ORDER BY e.id`
	// The + keeps SQLite from preparing the joins anew for each value.
	getArchived         = archivedColumns + ` WHERE e.id = +?`
	listArchivedWaiting = `SELECT delivery FROM waiting WHERE action = ? AND delivery >= ? ORDER BY delivery LIMIT ?`
	getArchivedWaiting  = `SELECT w.due, w.attempts, w.first_attempt, w.order_key, w.since, a.name FROM actions a CROSS JOIN waiting w ON w.action = a.id AND w.delivery = +?`
)

// laterColumns returns the columns of events that earlier versions did not have, as
// they are to be read.
func laterColumns(conn *sqlite.Conn) (columns [2]string, err error) {
	for i, column := range []string{"checksum", "subject"} {
		has, err := database.QueryInt(conn, "SELECT count(*) FROM pragma_table_info('events') WHERE name = '"+column+"'")
		if err != nil {
			return columns, err
		}
		if columns[i] = "NULL"; has > 0 {
			columns[i] = "e." + column
		}
	}
	return columns, nil
}

// partOfUnfinished reads events that have unfinished deliveries, oldest first.
func (a *Archive) partOfUnfinished(place *archivePlace, part *queue.Part) error {
	events, err := a.unfinished(place.After + 1)
	if err != nil {
		return err
	}
	bytes := 0
	for _, id := range events {
		place.After = id
		if err := database.Query(a.conn, fmt.Sprintf(getArchived, a.columns[0], a.columns[1]), func(row *sqlite.Stmt) error {
			event, size, err := a.event(row)
			if err == nil && waits(&event) && isUUID(event.Summary.ID) {
				part.Events = append(part.Events, event)
				bytes += size
				place.Read++
			}
			return err
		}, id); err != nil {
			return err
		}
		if bytes > partBytes {
			break
		}
	}
	return nil
}

// unfinished returns the first events from one on that have unfinished deliveries.
// Each action has a list of its own, which is in order.
func (a *Archive) unfinished(from int64) (events []int64, err error) {
	var actions []int64
	if err := database.Query(a.conn, "SELECT id FROM actions", func(row *sqlite.Stmt) error {
		actions = append(actions, row.ColumnInt64(0))
		return nil
	}); err != nil {
		return nil, err
	}
	upTo := int64(layout.MaxEvent) // what follows is not known of all actions
	for _, action := range actions {
		n, last := 0, int64(0)
		if err := database.Query(a.conn, listArchivedWaiting, func(row *sqlite.Stmt) error {
			event := row.ColumnInt64(0) >> layout.DeliveryBits
			if n++; event != last {
				events = append(events, event)
			}
			last = event
			return nil
		}, action, layout.DeliveryID(from, 0), int64(partEvents)); err != nil {
			return nil, err
		}
		if n == partEvents {
			upTo = min(upTo, last)
		}
	}
	slices.Sort(events)
	events = slices.Compact(events)
	events = slices.DeleteFunc(events, func(event int64) bool { return event > upTo })
	return events[:min(len(events), partEvents)], nil
}

// partOfEvents reads events of which nothing is to be done any more.
func (a *Archive) partOfEvents(place *archivePlace, part *queue.Part) error {
	bytes, n := 0, 0
	return unlessEnough(database.Query(a.conn, fmt.Sprintf(listArchived, a.columns[0], a.columns[1]), func(row *sqlite.Stmt) error {
		place.After = row.ColumnInt64(0)
		event, size, err := a.event(row)
		if err != nil {
			return err
		}
		if !waits(&event) && isUUID(event.Summary.ID) {
			part.Events = append(part.Events, event)
			bytes += size
			place.Read++
		}
		if n++; n == partEvents || bytes > partBytes {
			return database.ErrEnough
		}
		return nil
	}, place.After))
}

// waits reports whether an event has an unfinished delivery.
func waits(e *queue.ArchivedEvent) bool {
	return slices.ContainsFunc(e.Deliveries, func(d queue.ArchivedDelivery) bool { return d.State == queue.Pending })
}

// event makes an event of a row, with what became of it.
func (a *Archive) event(row *sqlite.Stmt) (e queue.ArchivedEvent, size int, err error) {
	e = queue.ArchivedEvent{Number: row.ColumnInt64(0), Record: database.ColumnBytes(row, 11), Body: database.ColumnBytes(row, 12), Summary: queue.Summary{
		ID: row.ColumnText(5), Source: row.ColumnText(2), Event: row.ColumnText(3), Received: layout.FromMicros(row.ColumnInt64(1)), Subject: row.ColumnText(15),
		Test: row.ColumnBool(13), Tenant: row.ColumnText(6), ParseError: row.ColumnText(7), DuplicateOf: row.ColumnText(8),
		Verdict: layout.DecodeVerdict(database.ColumnBytes(row, 9), row.ColumnText(4)),
	}}
	size = len(e.Record) + len(e.Body) + row.ColumnLen(9) + row.ColumnLen(10)
	if layout.VerifyChecksum(database.ColumnChecksum(row, 14), e.Record, e.Body) != nil {
		e.Record, e.Body, e.Damaged = nil, nil, true
	}
	plans, err := layout.DecodePlans(database.ColumnBytes(row, 10))
	if err != nil || len(plans) > layout.MaxDeliveries || slices.ContainsFunc(plans, func(p layout.Plan) bool { return !isUUID(p.ID) || p.Action == "" }) {
		e.Damaged = true // what was to be done cannot be told
		return e, size, nil
	}
	if len(plans) == 0 {
		return e, size, nil
	}
	e.Deliveries = make([]queue.ArchivedDelivery, len(plans))
	for i, p := range plans {
		d := &e.Deliveries[i]
		d.ID, d.Action, d.Of, d.State = p.ID, p.Action, p.Of, queue.Pending
		if p.Due != 0 {
			d.Due = layout.FromMicros(p.Due)
		}
		if p.Expires != 0 {
			d.Expires = layout.FromMicros(p.Expires)
		}
		if p.Added != 0 {
			d.Added = layout.FromMicros(p.Added)
		}
	}
	steps, err := a.steps(&e)
	if err != nil {
		return e, size, err
	}
	for place := range e.Deliveries {
		if d := &e.Deliveries[place]; d.State == queue.Pending {
			if err := a.wait(d, layout.DeliveryID(e.Number, place)); err != nil {
				return e, size, err
			}
		}
	}
	return e, size + steps, nil
}

// steps reads what became of the deliveries of an event.
func (a *Archive) steps(e *queue.ArchivedEvent) (size int, err error) {
	first, end := layout.AttemptRange(e.Number)
	err = database.Query(a.conn, listMergingAttempts, func(row *sqlite.Stmt) error {
		id := row.ColumnInt64(0)
		place := layout.PlaceOf(id >> layout.AttemptBits)
		state, known := layout.StateOf(row.ColumnInt64(2))
		if place >= len(e.Deliveries) || !known {
			return nil
		}
		d := &e.Deliveries[place]
		s := queue.Step{Number: int(id & layout.LastAttempt), Action: row.ColumnText(1), State: state, At: layout.FromMicros(row.ColumnInt64(3))}
		if s.Action == "" {
			s.Action = d.Action
		}
		if row.ColumnType(4) != sqlite.TypeNull {
			s.Attempt = &queue.Attempt{
				Began: layout.FromMicros(row.ColumnInt64(4)), Took: time.Duration(row.ColumnInt64(5)) * time.Microsecond, Status: row.ColumnInt(6),
				Error: row.ColumnText(7), Request: row.ColumnText(8), Response: row.ColumnText(9), Empty: decodeEmpty(row.ColumnText(10)),
			}
			size += row.ColumnLen(7) + row.ColumnLen(8) + row.ColumnLen(9)
		}
		size += 64
		d.Steps = append(d.Steps, s)
		d.State = state
		return nil
	}, first, end)
	return size, err
}

// wait reads how a delivery waits that has not ended. One that does not is lost: no
// relay would carry it out any more.
func (a *Archive) wait(d *queue.ArchivedDelivery, id int64) error {
	found := false
	err := database.Query(a.conn, getArchivedWaiting, func(row *sqlite.Stmt) error {
		found = true
		d.Action, d.OrderKey, d.Attempts, d.Due = row.ColumnText(5), row.ColumnText(3), row.ColumnInt(1), time.Time{}
		due := row.ColumnInt64(0)
		d.Behind = due >= layout.Behind
		if own := scheduler.OwnTime(due); own != 0 {
			d.Due = layout.FromMicros(own)
		}
		if first := row.ColumnInt64(2); first != 0 {
			d.FirstAttempt = layout.FromMicros(first)
		}
		return nil
	}, id)
	if err == nil && !found {
		d.State = queue.Cancelled
		d.Steps = append(d.Steps, queue.Step{Number: len(d.Steps), Action: d.Action, State: d.State, At: layout.FromMicros(a.now)})
	}
	return err
}

// decodeEmpty decodes attempts.empty. What cannot be read names nothing.
func decodeEmpty(text string) (tags []string) {
	if text == "" || json.Unmarshal([]byte(text), &tags) != nil {
		return nil
	}
	return tags
}

func isUUID(text string) bool { return len(text) == 36 && uuid.Validate(text) == nil }
