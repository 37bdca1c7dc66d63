package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// shortestID is how much of an id must be given to look for it.
const shortestID = 8

// match is an event whose id, or one of whose deliveries' ids, was looked for.
type match struct {
	event int64
	plans []plan
}

const findInBlock = `SELECT id, deliveries FROM events WHERE id >= ? AND id < ? AND (substr(uuid, 1, ?) = ? OR instr(deliveries, ?) > 0)`

// find returns the events that an id, or the beginning of one, may mean. The
// time in the id says in which blocks they can be.
func find(conn *sqlite.Conn, id string) ([]match, error) {
	times, ok := timesOfUUID(id)
	if !ok || len(id) < shortestID {
		return nil, nil
	}
	var firsts []int64
	err := query(conn, "SELECT first FROM blocks WHERE newest >= ? AND oldest <= ? ORDER BY first", func(row *sqlite.Stmt) error {
		firsts = append(firsts, row.ColumnInt64(0))
		return nil
	}, times.oldest, times.newest)
	if err != nil {
		return nil, err
	}
	var matches []match
	for _, first := range firsts {
		end, err := blockEnd(conn, first)
		if err != nil {
			return nil, err
		}
		err = query(conn, findInBlock, func(row *sqlite.Stmt) error {
			plans, _ := decodePlans(columnBytes(row, 1))
			matches = append(matches, match{row.ColumnInt64(0), plans})
			return nil
		}, first, end, int64(len(id)), id, `"id":"`+id)
		if err != nil {
			return nil, err
		}
	}
	return matches, nil
}

// Find implements queue.Activity.
func (db *DB) Find(ctx context.Context, id string) (history queue.History, err error) {
	id = strings.ToLower(id)
	err = db.readers.read(ctx, func(conn *sqlite.Conn) error {
		matches, err := find(conn, id)
		if err != nil {
			return err
		}
		switch len(matches) {
		case 0:
			return queue.ErrNotFound
		case 1:
			history, err = db.history(conn, matches[0].event)
			return err
		}
		return fmt.Errorf("%w: %d events begin so; give more of the id", queue.ErrNotFound, len(matches))
	})
	if err != nil {
		return queue.History{}, fmt.Errorf("finding %s: %w", id, err)
	}
	return history, nil
}

// history returns all that is known of an event.
func (db *DB) history(conn *sqlite.Conn, event int64) (h queue.History, err error) {
	s, found, err := summarize(conn, event)
	if err != nil {
		return h, err
	}
	if !found {
		return h, queue.ErrNotFound
	}
	h = queue.History{Summary: s.Summary, Attempts: make(map[string][]queue.Attempt)}
	err = query(conn, "SELECT record, body FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
		var err error
		h.Event, err = decodeEvent(columnBytes(row, 0), columnBytes(row, 1), s.ID, s.Source, s.Event, s.received)
		db.unreadable(s.ID, err)
		return nil
	}, event)
	if err != nil {
		return h, fmt.Errorf("reading the event: %w", err)
	}
	from, to := attemptRange(event)
	err = query(conn, `SELECT id, began, took, status, error, request, response, empty FROM attempts
		WHERE id >= ? AND id < ? AND began IS NOT NULL ORDER BY id`, func(row *sqlite.Stmt) error {
		attempt := queue.Attempt{
			Began: fromMicros(row.ColumnInt64(1)), Took: time.Duration(row.ColumnInt64(2)) * time.Microsecond, Status: row.ColumnInt(3),
			Error: row.ColumnText(4), Request: row.ColumnText(5), Response: row.ColumnText(6),
		}
		if empty := columnBytes(row, 7); empty != nil {
			db.unreadable(s.ID, json.Unmarshal(empty, &attempt.Empty))
		}
		if place := placeOf(row.ColumnInt64(0) >> attemptBits); place < len(s.Deliveries) {
			id := s.Deliveries[place].ID
			h.Attempts[id] = append(h.Attempts[id], attempt)
		}
		return nil
	}, from, to)
	return h, err
}

// summary is an event in a list, with what filters ask.
type summary struct {
	queue.Summary
	received int64
}

// summarize returns one event with the states of its deliveries. What never
// changes of them stands in the event's row, the rest in their last attempts.
func summarize(conn *sqlite.Conn, event int64) (s summary, found bool, err error) {
	var plans []plan
	err = query(conn, `SELECT e.uuid, k.source, k.event, e.received, e.test, e.tenant, e.parse_error, e.duplicate_of, e.verdict, e.deliveries, k.decision
		FROM events e CROSS JOIN kinds k ON k.id = e.kind WHERE e.id = ?`, func(row *sqlite.Stmt) error {
		found = true
		s.ID, s.Source, s.Event = row.ColumnText(0), row.ColumnText(1), row.ColumnText(2)
		s.received = row.ColumnInt64(3)
		s.Received = fromMicros(s.received)
		s.Test = row.ColumnBool(4)
		s.Tenant, s.ParseError, s.DuplicateOf = row.ColumnText(5), row.ColumnText(6), row.ColumnText(7)
		// One row that cannot be read must not hide the others.
		if err := json.Unmarshal(columnBytes(row, 8), &s.Verdict); err != nil {
			s.Verdict = rules.Verdict{Decision: rules.Decision(row.ColumnText(10)), Reason: fmt.Sprintf("the stored verdict cannot be read: %v", err)}
		}
		plans, _ = decodePlans(columnBytes(row, 9))
		return nil
	}, event)
	if err != nil || !found || len(plans) == 0 {
		return s, found, err
	}
	s.Deliveries = make([]queue.DeliveryState, len(plans))
	for i, p := range plans {
		s.Deliveries[i] = queue.DeliveryState{ID: p.ID, Action: p.Action, State: queue.Pending, Due: s.Received}
		if p.Due != 0 {
			s.Deliveries[i].Due = fromMicros(p.Due)
		}
	}
	from, to := attemptRange(event)
	err = query(conn, "SELECT id, state, at, began, status, error FROM attempts WHERE id >= ? AND id < ? ORDER BY id", func(row *sqlite.Stmt) error {
		id, state := row.ColumnInt64(0), row.ColumnInt64(1)
		place := placeOf(id >> attemptBits)
		if place >= len(plans) || state < 0 || int(state) >= len(states) {
			return nil
		}
		d := &s.Deliveries[place]
		d.State = states[state]
		if state == pending {
			d.Due = fromMicros(row.ColumnInt64(2))
		} else {
			d.Due, d.Ended = time.Time{}, fromMicros(row.ColumnInt64(2))
		}
		if row.ColumnType(3) != sqlite.TypeNull {
			d.Attempts = int(id&lastAttempt) + 1
			d.Status, d.Error = row.ColumnInt(4), row.ColumnText(5)
		}
		return nil
	}, from, to)
	return s, true, err
}

// Backlog implements queue.Activity.
func (db *DB) Backlog(ctx context.Context) (backlog []queue.Backlog, err error) {
	err = db.readers.read(ctx, func(conn *sqlite.Conn) error {
		backlog = nil
		return query(conn, `SELECT a.name, a.waiting, a.paused, e.received FROM actions a
			LEFT JOIN events e ON e.id = (SELECT min(delivery) FROM waiting WHERE action = a.id) >> 11
			WHERE a.waiting > 0 ORDER BY a.name`, func(row *sqlite.Stmt) error {
			backlog = append(backlog, queue.Backlog{
				Action: row.ColumnText(0), Count: row.ColumnInt(1), Paused: row.ColumnBool(2), Oldest: fromMicros(row.ColumnInt64(3)),
			})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the backlog: %w", err)
	}
	return backlog, nil
}
