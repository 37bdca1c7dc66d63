package postgres

import (
	"context"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// note keeps a note, in the transaction of whatever makes it. Without a time it is made
// now.
func (db *DB) note(ctx context.Context, q querier, n queue.Note) error {
	var at *int64
	if !n.At.IsZero() {
		micros := layout.Micros(n.At)
		at = &micros
	}
	_, err := q.Exec(ctx, "INSERT INTO notes (at, node, kind, name, text) VALUES (coalesce($1, now_us()), $2, $3, $4, $5)",
		at, encodeText(db.Node()), encodeText(string(n.Kind)), nullText(n.Name), nullText(n.Text))
	return err
}
