package queue

import (
	"context"

	"go.uber.org/zap"
)

// Store is a place where a queue can be, such as a directory. It is how callers
// open a queue without knowing the engine.
type Store interface {
	// Key distinguishes stores: two with the same key are the same place. It holds
	// no secret.
	Key() string
	// String names the place for people, the name of the engine first. It holds no
	// secret.
	String() string
	// Open opens the queue, and creates what is missing. If storage cannot be
	// opened or reached right now and must is not set, it succeeds all the same:
	// the engine goes on trying, Ready tells when it could, and all calls that need
	// storage return ErrUnavailable until then. What trying again cannot mend gives
	// ErrMisconfigured. The logger is told what an administrator should know.
	Open(must bool, logger *zap.Logger) (Engine, error)
}

// Engine is an open queue with its history. An engine may also be an Adjuster, a
// Backuper, a Merger, a Verifier or a Cluster.
type Engine interface {
	Queue
	History

	// Ready returns a channel that is closed once storage is open. Until then all
	// calls that need it return ErrUnavailable, and takers wait.
	Ready() <-chan struct{}
	// Exclusive runs f while no other f of the same name runs, in any process
	// that has the storage open, and returns its error. It waits for its turn
	// until ctx ends, and then returns ctx.Err() without running f. f gets a
	// context that ends with ctx, and when the engine cannot keep others out any
	// longer.
	Exclusive(ctx context.Context, name string, f func(ctx context.Context) error) error
	// Limit sets how many deliveries may be unfinished and how many bytes must be
	// free on the storage (negative: any, as for an engine that cannot know) for
	// Put to store anything new. It counts from the next Put.
	Limit(maxPending int, minFree int64)
	// Troubles returns what is wrong with the storage right now, the oldest first,
	// not older than a second.
	Troubles() []Trouble
	// Usage says what the storage takes and what is left.
	Usage() Usage
}

// Adjuster is an engine that can take over changed settings while it is open.
type Adjuster interface {
	// Adjust takes over from a store with the same key what can be changed while the
	// queue is open, and returns the names of the settings that differ and count only
	// once it is opened anew.
	Adjust(Store) (later []string)
}

// Backuper is an engine that can copy its storage to a file.
type Backuper interface {
	// Backup writes a consistent copy of the storage to a new file. Events are
	// accepted meanwhile. After an error there is no file.
	Backup(ctx context.Context, file string) error
}

// Merger is an engine that can add the history of a backup to its own.
type Merger interface {
	// Merge adds the events of a backup to the history, older than all that are
	// there, and returns how many. What is there already is left out, unfinished
	// deliveries count as cancelled. It wraps ErrNoBackup.
	Merge(ctx context.Context, file string, progress func(done, total int64)) (int, error)
}

// Verifier is an engine that can check what it stored.
type Verifier interface {
	// Verify returns what is wrong with the storage, one finding each.
	Verify(ctx context.Context) ([]string, error)
}
