package sqlite

import (
	"context"
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Exclusive implements queue.Engine. No other process has the directory, so a
// lock in memory for each name is enough.
func (db *DB) Exclusive(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if err := db.notOpen(); err != nil {
		return fmt.Errorf("waiting for the turn of %s: %w", name, err)
	}
	kept, _ := db.exclusive.LoadOrStore(name, make(chan struct{}, 1))
	turn := kept.(chan struct{})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
		return f(ctx)
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closed:
		return fmt.Errorf("waiting for the turn of %s: %w", name, queue.ErrClosed)
	}
}
