package sqlite

import (
	"path/filepath"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Store is a directory that holds a queue, or will. It implements queue.Store.
type Store struct {
	// Dir is the absolute directory.
	Dir string
}

// Key implements queue.Store: it is the same however the directory is written.
// The directory need not exist yet. What does is resolved, so that the key stays
// the same once the rest has been made.
func (s Store) Key() string {
	rest := ""
	for existing := s.Dir; ; existing = filepath.Dir(existing) {
		if resolved, err := filepath.EvalSymlinks(existing); err == nil {
			return "sqlite:" + filepath.Join(resolved, rest)
		}
		if existing == filepath.Dir(existing) {
			return "sqlite:" + s.Dir
		}
		rest = filepath.Join(filepath.Base(existing), rest)
	}
}

// String implements queue.Store.
func (s Store) String() string { return "sqlite " + s.Dir }

// Open implements queue.Store.
func (s Store) Open(must bool, logger *zap.Logger) (queue.Engine, error) {
	db, err := Open(Options{Dir: s.Dir, KeepTrying: !must, Logger: logger})
	if err != nil {
		return nil, err
	}
	return db, nil
}
