package postgres

import (
	"context"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Watch implements queue.History.
func (db *DB) Watch(ctx context.Context) <-chan queue.Changes { return db.watchers.Watch(ctx) }
