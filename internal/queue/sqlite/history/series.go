package history

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Series implements queue.History.
func (r *Reader) Series(ctx context.Context, since, until time.Time, n int) (queue.Series, error) {
	steps, err := activity.NewSteps(since, until, n)
	if err == nil {
		err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
			steps.Clear()
			add := func(row *sqlite.Stmt) error {
				c := database.ReadCounts(row)
				steps.Add(&c)
				return nil
			}
			if err := database.Query(conn, database.ListCounts, add, steps.Minutes, steps.From, steps.To); err != nil {
				return err
			}
			// The present minute stands in a row of its own.
			return database.Query(conn, database.ListCounts, add, int64(0), steps.From, steps.To)
		})
	}
	if err != nil {
		return queue.Series{}, fmt.Errorf("counting over time: %w", err)
	}
	return steps.Series(), nil
}
