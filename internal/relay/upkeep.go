package relay

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Checked is what a check of a running relay found.
type Checked struct {
	// Database are the faults of the database.
	Database []string `json:"database"`
	// Warnings are about the configuration: fields that rules and templates use
	// and no stored event of theirs had, unused actions, and so on.
	Warnings []string `json:"warnings"`
}

// Check checks the database, and the newest configuration against the events
// that are stored.
func (r *Runtime) Check(ctx context.Context) (Checked, error) { return Checked{}, errNotBuilt }

// Backup writes a consistent copy of the queue and the history to a new file.
func (r *Runtime) Backup(ctx context.Context, file string) error { return r.engine.Backup(ctx, file) }

// Usage says what the queue and the history take and what is left.
func (r *Runtime) Usage() queue.Usage { return r.engine.Usage() }

// MergeHistory adds the events of a backup to the history.
func (r *Runtime) MergeHistory(ctx context.Context, file string, progress func(Progress)) (int, error) {
	return 0, errNotBuilt
}

// Series counts what happened. See queue.Activity.
func (r *Runtime) Series(ctx context.Context, since, until time.Time, n int) (queue.Series, error) {
	return r.engine.Series(ctx, since, until, n)
}

// Notes returns starts, stops, switches and loaded configurations, to mark them
// in charts.
func (r *Runtime) Notes(ctx context.Context, since, until time.Time) ([]queue.Note, error) {
	return r.engine.Notes(ctx, "", since, until, 1000, false)
}
