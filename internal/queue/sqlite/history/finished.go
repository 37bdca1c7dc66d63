package history

import (
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

const findFinished = `SELECT id FROM events e WHERE id >= ? AND id < ? AND received < ? AND (deliveries IS NULL
	OR CASE json_valid(deliveries) WHEN 1 THEN json_array_length(deliveries) <=
			(SELECT count(*) FROM attempts a WHERE a.id >= e.id << 23 AND a.id < (e.id + 1) << 23 AND a.state <> 0)
		ELSE NOT EXISTS (SELECT 1 FROM actions a CROSS JOIN waiting w ON w.action = a.id AND w.delivery >= e.id << 11 AND w.delivery < (e.id + 1) << 11) END)
	ORDER BY id LIMIT ?`

// Finished returns up to most finished events from an id on that were received before
// a time, and the id to go on from: layout.MaxEvent at the end. It looks through one
// block at most, so it may return none although more follow.
//
// An event is finished when as many of its deliveries have ended as it has; that is
// written in the transaction that removes them from the table waiting. If the list
// of its deliveries cannot be read, the table waiting itself is asked.
func Finished(conn *sqlite.Conn, from, before int64, most int) (ids []int64, next int64, err error) {
	next = layout.MaxEvent
	// Only blocks that have events of that age.
	var first, end int64
	err = database.Query(conn, `SELECT first, (SELECT min(first) FROM blocks WHERE first > b.first) FROM blocks b
		WHERE first >= coalesce((SELECT max(first) FROM blocks WHERE first <= ?), 0) AND oldest < ? ORDER BY first LIMIT 1`,
		func(row *sqlite.Stmt) error {
			first, end = row.ColumnInt64(0), row.ColumnInt64(1)
			return nil
		}, from, before)
	if err != nil || first == 0 {
		return nil, next, err
	}
	if end == 0 {
		end = layout.MaxEvent
	}
	next = end
	err = database.Query(conn, findFinished, func(row *sqlite.Stmt) error {
		ids = append(ids, row.ColumnInt64(0))
		if len(ids) == most {
			next = ids[most-1] + 1
		}
		return nil
	}, max(first, from), end, before, int64(most))
	return ids, next, err
}
