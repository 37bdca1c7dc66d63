// Package history reads the activity from the file of a queue: lists of events, one
// event by its id, what waits, what happened over time. It changes nothing and knows
// no writer: a writer tells Watchers what it committed, and everything else is read on
// connections of its own.
package history

import (
	"context"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Reader implements those methods of queue.History that read. They may be called by
// many goroutines at once.
type Reader struct {
	readers    *database.Readers
	watchers   *activity.Watchers
	unreadable func(event string, err error)
}

// NewReader returns a reader of a file. unreadable is told the id of an event and an
// error when a part of it cannot be read, and nil when it can.
func NewReader(readers *database.Readers, watchers *activity.Watchers, unreadable func(event string, err error)) *Reader {
	return &Reader{readers: readers, watchers: watchers, unreadable: unreadable}
}

// Watch implements queue.History.
func (r *Reader) Watch(ctx context.Context) <-chan queue.Changes { return r.watchers.Watch(ctx) }
