package database

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// MakeDirectory creates a directory that only its owner may enter, with its
// parents, and syncs every directory that got a new entry: a database is not
// durable in a directory that is not.
func MakeDirectory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return queue.Mistaken("queue directory %s is a file: move it away, or name another directory with: queue sqlite DIR", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return queue.Mistaken("queue directory %s is below a file: name another directory with: queue sqlite DIR", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading the queue directory: %w", err)
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return fmt.Errorf("creating the queue directory: %w", err)
	}
	if err := MakeDirectory(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("creating the queue directory: %w", notWritable(err, parent))
	}
	return SyncDirectory(parent)
}

// MakeFile creates an empty file that only its owner may read, unless it
// exists, and shows whether it can be written: SQLite would open it all the
// same. It must run before SQLite opens the file, because closing any other
// handle of it would drop SQLite's locks.
func MakeFile(file string) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return queue.Mistaken("database %s is not a file: move it away", file)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the database: %w", notWritable(err, file))
	}
	return f.Close()
}

func notWritable(err error, path string) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: make %s writable for the user that runs this program, or name another directory with: queue sqlite DIR", err, path)
	}
	return err
}
