package history

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

const listUUIDs = `SELECT id, uuid FROM events WHERE id >= ? AND id < ? AND uuid IN (SELECT value FROM json_each(?))`

// Summaries implements queue.History.
func (r *Reader) Summaries(ctx context.Context, ids []string) (summaries []queue.Summary, err error) {
	if err := activity.LookedFor(ids); err != nil {
		return nil, err
	}
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		summaries = nil
		events, err := EventsOf(conn, ids)
		if err != nil {
			return err
		}
		for _, event := range events {
			s, found, err := summarize(conn, event)
			if err != nil {
				return err
			}
			if found {
				summaries = append(summaries, s.Summary)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading events of the activity: %w", err)
	}
	return summaries, nil
}

// EventsOf returns the numbers of the events that have these full ids. It goes
// once through each block that can hold some of them.
func EventsOf(conn *sqlite.Conn, ids []string) (events map[string]int64, err error) {
	type looked struct {
		database.Block
		end int64
		ids []string
	}
	var blocks []looked
	if err := database.Query(conn, "SELECT first, oldest, newest FROM blocks ORDER BY first", func(row *sqlite.Stmt) error {
		b := database.Block{First: row.ColumnInt64(0), Span: database.Span{Oldest: row.ColumnInt64(1), Newest: row.ColumnInt64(2)}}
		if last := len(blocks) - 1; last >= 0 {
			blocks[last].end = b.First
		}
		blocks = append(blocks, looked{Block: b, end: layout.MaxEvent})
		return nil
	}); err != nil {
		return nil, err
	}
	for _, id := range ids {
		times, ok := database.TimesOfUUID(id)
		if !ok || len(id) != 36 {
			continue
		}
		for i := range blocks {
			if b := &blocks[i]; b.Newest >= times.Oldest && b.Oldest <= times.Newest {
				b.ids = append(b.ids, id)
			}
		}
	}
	events = make(map[string]int64)
	for _, b := range blocks {
		if b.ids == nil {
			continue
		}
		list, err := json.Marshal(b.ids)
		if err != nil {
			return nil, fmt.Errorf("encoding ids: %w", err)
		}
		if err := database.Query(conn, listUUIDs, func(row *sqlite.Stmt) error {
			events[row.ColumnText(1)] = row.ColumnInt64(0)
			return nil
		}, b.First, b.end, string(list)); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// summary is an event in a list, with the time as it is stored.
type summary struct {
	queue.Summary
	received int64
}

// summarize returns one event with the states of its deliveries. What never
// changes of them stands in the event's row, the rest in their last attempts.
//
// The + keeps SQLite from planning by the value of the parameter: of a join it would
// then prepare the statement anew each time, which takes several times as long as to
// run it.
func summarize(conn *sqlite.Conn, event int64) (s summary, found bool, err error) {
	var plans []layout.Plan
	err = database.Query(conn, `SELECT e.uuid, k.source, k.event, e.received, e.test, e.tenant, e.parse_error, e.duplicate_of, e.verdict, e.deliveries, k.decision, e.subject
		FROM events e CROSS JOIN kinds k ON k.id = e.kind WHERE e.id = +?`, func(row *sqlite.Stmt) error {
		found = true
		s.ID, s.Source, s.Event = row.ColumnText(0), row.ColumnText(1), row.ColumnText(2)
		s.received = row.ColumnInt64(3)
		s.Received = layout.FromMicros(s.received)
		s.Test = row.ColumnBool(4)
		s.Tenant, s.ParseError, s.DuplicateOf = row.ColumnText(5), row.ColumnText(6), row.ColumnText(7)
		s.Verdict = layout.DecodeVerdict(database.ColumnBytes(row, 8), row.ColumnText(10))
		plans, _ = layout.DecodePlans(database.ColumnBytes(row, 9))
		s.Subject = row.ColumnText(11)
		return nil
	}, event)
	if err != nil || !found || len(plans) == 0 {
		return s, found, err
	}
	s.Deliveries = activity.Deliveries(plans, s.Received)
	from, to := layout.AttemptRange(event)
	err = database.Query(conn, "SELECT id, state, at, began, status, error FROM attempts WHERE id >= ? AND id < ? ORDER BY id", func(row *sqlite.Stmt) error {
		activity.Tried(s.Deliveries, row.ColumnInt64(0), row.ColumnInt64(1), row.ColumnInt64(2), row.ColumnType(3) != sqlite.TypeNull, row.ColumnInt(4), row.ColumnText(5))
		return nil
	}, from, to)
	queue.Mend(s.Deliveries)
	return s, true, err
}

// Deliveries returns the deliveries of an event, in the order of their places.
func Deliveries(conn *sqlite.Conn, event int64) ([]queue.DeliveryState, error) {
	s, _, err := summarize(conn, event)
	return s.Deliveries, err
}
