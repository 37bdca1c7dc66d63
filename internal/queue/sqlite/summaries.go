package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// mostSummaries bounds one call of Summaries.
const mostSummaries = 1000

const listUUIDs = `SELECT id, uuid FROM events WHERE id >= ? AND id < ? AND uuid IN (SELECT value FROM json_each(?))`

// Summaries implements queue.History.
func (db *DB) Summaries(ctx context.Context, ids []string) (summaries []queue.Summary, err error) {
	if len(ids) > mostSummaries {
		return nil, fmt.Errorf("reading events of the activity: %d ids were given, and at most %d are looked for at once", len(ids), mostSummaries)
	}
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		summaries = nil
		events, err := eventsOf(conn, ids)
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

// eventsOf returns the numbers of the events that have these full ids. It goes
// once through each block that can hold some of them.
func eventsOf(conn *sqlite.Conn, ids []string) (events map[string]int64, err error) {
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
		blocks = append(blocks, looked{Block: b, end: database.MaxEvent})
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
