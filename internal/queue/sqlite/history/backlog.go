package history

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Backlog implements queue.History.
func (r *Reader) Backlog(ctx context.Context) (backlog []queue.Backlog, err error) {
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		backlog = nil
		backlog, err = ReadBacklog(conn)
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

// ReadBacklog returns what waits in a database, by action.
func ReadBacklog(conn *sqlite.Conn) (backlog []queue.Backlog, err error) {
	err = database.Query(conn, listBacklog, func(row *sqlite.Stmt) error {
		backlog = append(backlog, queue.Backlog{
			Action: row.ColumnText(0), Count: row.ColumnInt(1), Paused: row.ColumnBool(2), Oldest: layout.FromMicros(row.ColumnInt64(3)),
		})
		return nil
	})
	return backlog, err
}
