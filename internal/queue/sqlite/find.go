package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/rules"
)

// shortestID is how much of an id must be given to look for it.
const shortestID = 8

// match is an event whose id, or one of whose deliveries' ids, was looked for.
type match struct {
	event int64
	uuid  string
	plans []database.Plan
}

const listBlocks = `SELECT first FROM blocks WHERE newest >= ? AND oldest <= ? ORDER BY first`

const findInBlock = `SELECT id, uuid, deliveries FROM events WHERE id >= ? AND id < ? AND (substr(uuid, 1, ?) = ? OR instr(deliveries, ?) > 0)`

// Deliveries that were added later have ids from another time than their
// event's block.
const findAdded = `SELECT DISTINCT e.id, e.uuid, e.deliveries FROM additions a CROSS JOIN events e ON e.id = a.event WHERE a.uuid >= ? AND a.uuid < ? LIMIT 100`

// find returns the events that an id, or the beginning of one, may mean. The
// time in the id says in which blocks they can be.
func find(conn *sqlite.Conn, id string) ([]match, error) {
	times, ok := database.TimesOfUUID(id)
	if !ok || len(id) < shortestID {
		return nil, nil
	}
	var firsts []int64
	err := database.Query(conn, listBlocks, func(row *sqlite.Stmt) error {
		firsts = append(firsts, row.ColumnInt64(0))
		return nil
	}, times.Oldest, times.Newest)
	if err != nil {
		return nil, err
	}
	var matches []match
	for _, first := range firsts {
		end, err := database.BlockEnd(conn, first)
		if err != nil {
			return nil, err
		}
		err = database.Query(conn, findInBlock, func(row *sqlite.Stmt) error {
			plans, _ := database.DecodePlans(database.ColumnBytes(row, 2))
			matches = append(matches, match{row.ColumnInt64(0), row.ColumnText(1), plans})
			return nil
		}, first, end, int64(len(id)), id, `"id":"`+id)
		if err != nil {
			return nil, err
		}
	}
	err = database.Query(conn, findAdded, func(row *sqlite.Stmt) error {
		event := row.ColumnInt64(0)
		if !slices.ContainsFunc(matches, func(m match) bool { return m.event == event }) {
			plans, _ := database.DecodePlans(database.ColumnBytes(row, 2))
			matches = append(matches, match{event, row.ColumnText(1), plans})
		}
		return nil
	}, id, id+"g")
	return matches, err
}

// Find implements queue.History.
func (db *DB) Find(ctx context.Context, id string) (history queue.Detail, err error) {
	id = strings.ToLower(id)
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		matches, err := find(conn, id)
		if err != nil {
			return err
		}
		switch len(matches) {
		case 0:
			return fmt.Errorf("%w; give an id as the activity lists it, or a beginning of at least %d characters", queue.ErrNotFound, shortestID)
		case 1:
			history, err = db.history(conn, matches[0].event)
			return err
		}
		return fmt.Errorf("%w: %d events begin so; give more of the id", queue.ErrNotFound, len(matches))
	})
	if err != nil {
		return queue.Detail{}, fmt.Errorf("finding %s: %w", id, err)
	}
	return history, nil
}

// history returns all that is known of an event.
func (db *DB) history(conn *sqlite.Conn, event int64) (h queue.Detail, err error) {
	s, found, err := summarize(conn, event)
	if err != nil {
		return h, err
	}
	if !found {
		return h, queue.ErrNotFound
	}
	h = queue.Detail{Summary: s.Summary, Attempts: make(map[string][]queue.Attempt)}
	if h.Event, err = db.event(conn, event, &s); err != nil {
		return h, err
	}
	from, to := database.AttemptRange(event)
	err = database.Query(conn, `SELECT id, began, took, status, error, request, response, empty FROM attempts
		WHERE id >= ? AND id < ? AND began IS NOT NULL ORDER BY id`, func(row *sqlite.Stmt) error {
		attempt := queue.Attempt{
			Began: database.FromMicros(row.ColumnInt64(1)), Took: time.Duration(row.ColumnInt64(2)) * time.Microsecond, Status: row.ColumnInt(3),
			Error: row.ColumnText(4), Request: row.ColumnText(5), Response: row.ColumnText(6),
		}
		if empty := database.ColumnBytes(row, 7); empty != nil {
			db.unreadable(s.ID, json.Unmarshal(empty, &attempt.Empty))
		}
		if place := database.PlaceOf(row.ColumnInt64(0) >> database.AttemptBits); place < len(s.Deliveries) {
			id := s.Deliveries[place].ID
			h.Attempts[id] = append(h.Attempts[id], attempt)
		}
		return nil
	}, from, to)
	return h, err
}

// event returns an event as it was stored, nil when that cannot be read.
func (db *DB) event(conn *sqlite.Conn, id int64, s *summary) (event *event.Event, err error) {
	err = database.Query(conn, "SELECT record, body, checksum FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
		var err error
		event, err = database.DecodeEvent(database.ColumnBytes(row, 0), database.ColumnBytes(row, 1), database.ColumnChecksum(row, 2), s.ID, s.Source, s.Event, s.received)
		db.unreadable(s.ID, err)
		return nil
	}, id)
	if err != nil {
		return nil, fmt.Errorf("reading the event: %w", err)
	}
	return event, nil
}

// summary is an event in a list, with the time as it is stored.
type summary struct {
	queue.Summary
	received int64
}

// summarize returns one event with the states of its deliveries. What never
// changes of them stands in the event's row, the rest in their last attempts.
func summarize(conn *sqlite.Conn, event int64) (s summary, found bool, err error) {
	var plans []database.Plan
	err = database.Query(conn, `SELECT e.uuid, k.source, k.event, e.received, e.test, e.tenant, e.parse_error, e.duplicate_of, e.verdict, e.deliveries, k.decision
		FROM events e CROSS JOIN kinds k ON k.id = e.kind WHERE e.id = ?`, func(row *sqlite.Stmt) error {
		found = true
		s.ID, s.Source, s.Event = row.ColumnText(0), row.ColumnText(1), row.ColumnText(2)
		s.received = row.ColumnInt64(3)
		s.Received = database.FromMicros(s.received)
		s.Test = row.ColumnBool(4)
		s.Tenant, s.ParseError, s.DuplicateOf = row.ColumnText(5), row.ColumnText(6), row.ColumnText(7)
		s.Verdict = decodeVerdict(database.ColumnBytes(row, 8), row.ColumnText(10))
		plans, _ = database.DecodePlans(database.ColumnBytes(row, 9))
		return nil
	}, event)
	if err != nil || !found || len(plans) == 0 {
		return s, found, err
	}
	s.Deliveries = make([]queue.DeliveryState, len(plans))
	for i, p := range plans {
		s.Deliveries[i] = queue.DeliveryState{ID: p.ID, Action: p.Action, Of: p.Of, State: queue.Pending, Due: s.Received}
		if due := max(p.Due, p.Added); due != 0 {
			s.Deliveries[i].Due = database.FromMicros(due)
		}
	}
	from, to := database.AttemptRange(event)
	err = database.Query(conn, "SELECT id, state, at, began, status, error FROM attempts WHERE id >= ? AND id < ? ORDER BY id", func(row *sqlite.Stmt) error {
		id, state := row.ColumnInt64(0), row.ColumnInt64(1)
		place := database.PlaceOf(id >> database.AttemptBits)
		if place >= len(plans) || state < 0 || int(state) >= len(database.States) {
			return nil
		}
		d := &s.Deliveries[place]
		d.State = database.States[state]
		if state == database.Pending {
			d.Due = database.FromMicros(row.ColumnInt64(2))
		} else {
			d.Due, d.Ended = time.Time{}, database.FromMicros(row.ColumnInt64(2))
		}
		if row.ColumnType(3) != sqlite.TypeNull {
			d.Attempts = int(id&database.LastAttempt) + 1
			d.Status, d.Error = row.ColumnInt(4), row.ColumnText(5)
		}
		return nil
	}, from, to)
	return s, true, err
}

// decodeVerdict decodes events.verdict. One row that cannot be read must not
// hide the others.
func decodeVerdict(stored []byte, decision string) (v rules.Verdict) {
	if err := json.Unmarshal(stored, &v); err != nil {
		v = rules.Verdict{Decision: rules.Decision(decision), Reason: fmt.Sprintf("the stored verdict cannot be read: %v", err)}
	}
	return v
}

// Backlog implements queue.History.
func (db *DB) Backlog(ctx context.Context) (backlog []queue.Backlog, err error) {
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		backlog = nil
		backlog, err = readBacklog(conn)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the backlog: %w", err)
	}
	return backlog, nil
}

// A delivery has been waiting since its event was received, unless it was added
// later.
const listBacklog = `SELECT a.name, a.waiting, a.paused, min(
		coalesce((SELECT e.received FROM waiting w CROSS JOIN events e ON e.id = w.delivery >> 11
			WHERE w.action = a.id AND w.since IS NULL ORDER BY w.delivery LIMIT 1), 9223372036854775807),
		coalesce((SELECT min(since) FROM waiting INDEXED BY waiting_since WHERE action = a.id AND since IS NOT NULL), 9223372036854775807))
	FROM actions a WHERE a.waiting > 0 ORDER BY a.name`

func readBacklog(conn *sqlite.Conn) (backlog []queue.Backlog, err error) {
	err = database.Query(conn, listBacklog, func(row *sqlite.Stmt) error {
		backlog = append(backlog, queue.Backlog{
			Action: row.ColumnText(0), Count: row.ColumnInt(1), Paused: row.ColumnBool(2), Oldest: database.FromMicros(row.ColumnInt64(3)),
		})
		return nil
	})
	return backlog, err
}
