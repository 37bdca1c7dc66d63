package history

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
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Match is an event that was found by its id or by that of one of its deliveries.
type Match struct {
	Event int64
	UUID  string
	Plans []layout.Plan
}

const listBlocks = `SELECT first FROM blocks WHERE newest >= ? AND oldest <= ? ORDER BY first`

const findInBlock = `SELECT id, uuid, deliveries FROM events WHERE id >= ? AND id < ? AND (substr(uuid, 1, ?) = ? OR instr(deliveries, ?) > 0)`

// Deliveries that were added later have ids from another time than their
// event's block.
const findAdded = `SELECT DISTINCT e.id, e.uuid, e.deliveries FROM additions a CROSS JOIN events e ON e.id = a.event WHERE a.uuid >= ? AND a.uuid < ? LIMIT 100`

// Matches returns the events that an id, or the beginning of one, may mean. The
// time in the id says in which blocks they can be.
func Matches(conn *sqlite.Conn, id string) ([]Match, error) {
	times, ok := database.TimesOfUUID(id)
	if !ok || len(id) < activity.ShortestID {
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
	var matches []Match
	for _, first := range firsts {
		end, err := database.BlockEnd(conn, first)
		if err != nil {
			return nil, err
		}
		err = database.Query(conn, findInBlock, func(row *sqlite.Stmt) error {
			plans, _ := layout.DecodePlans(database.ColumnBytes(row, 2))
			matches = append(matches, Match{row.ColumnInt64(0), row.ColumnText(1), plans})
			return nil
		}, first, end, int64(len(id)), id, `"id":"`+id)
		if err != nil {
			return nil, err
		}
	}
	err = database.Query(conn, findAdded, func(row *sqlite.Stmt) error {
		event := row.ColumnInt64(0)
		if !slices.ContainsFunc(matches, func(m Match) bool { return m.Event == event }) {
			plans, _ := layout.DecodePlans(database.ColumnBytes(row, 2))
			matches = append(matches, Match{event, row.ColumnText(1), plans})
		}
		return nil
	}, id, id+"g")
	return matches, err
}

// Find implements queue.History.
func (r *Reader) Find(ctx context.Context, id string) (history queue.Detail, err error) {
	id = strings.ToLower(id)
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		matches, err := Matches(conn, id)
		if err != nil {
			return err
		}
		if len(matches) != 1 {
			return activity.NotFound(len(matches))
		}
		history, err = r.history(conn, matches[0].Event)
		return err
	})
	if err != nil {
		return queue.Detail{}, fmt.Errorf("finding %s: %w", id, err)
	}
	return history, nil
}

// history returns all that is known of an event.
func (r *Reader) history(conn *sqlite.Conn, event int64) (h queue.Detail, err error) {
	s, found, err := summarize(conn, event)
	if err != nil {
		return h, err
	}
	if !found {
		return h, queue.ErrNotFound
	}
	h = queue.Detail{Summary: s.Summary, Attempts: make(map[string][]queue.Attempt)}
	if h.Event, err = r.event(conn, event, &s); err != nil {
		return h, err
	}
	from, to := layout.AttemptRange(event)
	err = database.Query(conn, `SELECT id, began, took, status, error, request, response, empty FROM attempts
		WHERE id >= ? AND id < ? AND began IS NOT NULL ORDER BY id`, func(row *sqlite.Stmt) error {
		attempt := queue.Attempt{
			Began: layout.FromMicros(row.ColumnInt64(1)), Took: time.Duration(row.ColumnInt64(2)) * time.Microsecond, Status: row.ColumnInt(3),
			Error: row.ColumnText(4), Request: row.ColumnText(5), Response: row.ColumnText(6),
		}
		if empty := database.ColumnBytes(row, 7); empty != nil {
			r.unreadable(s.ID, json.Unmarshal(empty, &attempt.Empty))
		}
		if place := layout.PlaceOf(row.ColumnInt64(0) >> layout.AttemptBits); place < len(s.Deliveries) {
			id := s.Deliveries[place].ID
			h.Attempts[id] = append(h.Attempts[id], attempt)
		}
		return nil
	}, from, to)
	if err != nil {
		return h, err
	}
	for place, d := range s.Deliveries {
		if d.State != queue.Pending {
			continue
		}
		head, err := headBefore(conn, layout.DeliveryID(event, place))
		if err != nil {
			return h, err
		}
		if head != "" {
			if h.Behind == nil {
				h.Behind = make(map[string]string)
			}
			h.Behind[d.ID] = head
		}
	}
	return h, nil
}

// findHead compares with the number that the schema names: from it on, a due time
// says that a delivery is behind another.
const findHead = `SELECT h.delivery, e.deliveries FROM actions a CROSS JOIN waiting w ON w.action = a.id AND w.delivery = ?
	CROSS JOIN waiting h INDEXED BY waiting_order ON h.action = w.action AND h.order_key = w.order_key
	CROSS JOIN events e ON e.id = h.delivery >> 11 WHERE w.due >= 4611686018427387904 AND coalesce(h.due, 0) < 4611686018427387904 LIMIT 1`

// headBefore returns the id of the delivery for which another of its order key
// waits, "" if that waits for none.
func headBefore(conn *sqlite.Conn, delivery int64) (id string, err error) {
	err = database.Query(conn, findHead, func(row *sqlite.Stmt) error {
		plans, _ := layout.DecodePlans(database.ColumnBytes(row, 1))
		if place := layout.PlaceOf(row.ColumnInt64(0)); place < len(plans) {
			id = plans[place].ID
		}
		return nil
	}, delivery)
	return id, err
}

// event returns an event as it was stored, nil when that cannot be read.
func (r *Reader) event(conn *sqlite.Conn, id int64, s *summary) (event *event.Event, err error) {
	err = database.Query(conn, "SELECT record, body, checksum FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
		var err error
		event, err = layout.DecodeEvent(database.ColumnBytes(row, 0), database.ColumnBytes(row, 1), database.ColumnChecksum(row, 2), s.ID, s.Source, s.Event, s.Subject, s.received)
		r.unreadable(s.ID, err)
		return nil
	}, id)
	if err != nil {
		return nil, fmt.Errorf("reading the event: %w", err)
	}
	return event, nil
}
