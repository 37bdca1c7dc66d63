package history

import (
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

const (
	textOfEvent    = `SELECT uuid, record, body, tenant, duplicate_of, parse_error, subject, verdict, deliveries FROM events WHERE id = ?`
	textOfAttempts = `SELECT error, response FROM attempts WHERE id >= ? AND id < ?`
)

// textIn reports whether the text stands in an event: where queue.Filter says, and
// in what the list shows of it.
func textIn(t *activity.Text, conn *sqlite.Conn, event int64, of layout.Kind) (found bool, err error) {
	if t.In([]byte(of.Source)) || t.In([]byte(of.Event)) {
		return true, nil
	}
	delivers := false
	err = database.Query(conn, textOfEvent, func(row *sqlite.Stmt) error {
		for column := 0; column <= 6 && !found; column++ {
			found = t.In(database.ColumnBytes(row, column))
		}
		found = found || t.InVerdict(database.ColumnBytes(row, 7), of.Decision)
		deliveries := database.ColumnBytes(row, 8)
		delivers = deliveries != nil
		found = found || t.InPlans(deliveries)
		return nil
	}, event)
	if err != nil || found || !delivers {
		return found, err
	}
	from, to := layout.AttemptRange(event)
	err = database.Query(conn, textOfAttempts, func(row *sqlite.Stmt) error {
		found = found || t.In(database.ColumnBytes(row, 0)) || t.In(database.ColumnBytes(row, 1))
		return nil
	}, from, to)
	return found, err
}
