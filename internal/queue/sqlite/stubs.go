package sqlite

import (
	"context"
	"errors"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var errNotBuilt = errors.New("not built yet")

// Backup writes a consistent copy of the database to a new file. Events are
// accepted meanwhile.
func (db *DB) Backup(ctx context.Context, file string) error { return errNotBuilt }

// Verify has SQLite check the database and returns what is wrong with it, one
// finding each.
func (db *DB) Verify(ctx context.Context) ([]string, error) { return nil, errNotBuilt }

// Usage says what the database takes and what is left.
func (db *DB) Usage() queue.Usage { return queue.Usage{Dir: db.options.Dir} }

// Merge adds the events of another database, given as a file that Backup
// wrote, to the history, in their own order and older than all events that are
// here; unfinished deliveries count as cancelled. What is here already is left
// out. It returns how many events it added.
func (db *DB) Merge(ctx context.Context, file string, progress func(done, total int64)) (int, error) {
	return 0, errNotBuilt
}

// Restore puts a file that Backup wrote into an empty directory as the
// database of a relay that is not running. It refuses to replace a database.
func Restore(file, dir string) error { return errNotBuilt }
