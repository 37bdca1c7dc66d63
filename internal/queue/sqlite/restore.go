package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Restore puts a file that Backup wrote into a directory as the database of a
// relay that is not running, once it is found to be whole. It refuses to
// replace a database, and changes nothing in it: switches stay off, deliveries
// go on.
func Restore(file, dir string) error {
	if err := restore(file, dir); err != nil {
		return fmt.Errorf("restoring %s: %w", file, err)
	}
	return nil
}

func restore(file, dir string) (err error) {
	if err := database.CheckSingle(file); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := database.MakeDirectory(dir); err != nil {
		return err
	}
	lock, err := database.LockDirectory(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	to := filepath.Join(dir, database.FileName)
	for _, suffix := range []string{"", "-wal"} {
		if _, err := os.Lstat(to + suffix); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s exists, and a database is not replaced: move it away with its -wal and -shm, or name another directory", to+suffix)
		}
	}
	part := to + ".restoring"
	remove := func() error {
		var errs []error
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			if err := os.Remove(part + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	if err := remove(); err != nil { // of an attempt that was broken off
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	if err := database.CopyFile(file, part); err != nil {
		return err
	}
	if err := database.WithFile(part, database.CheckWhole); err != nil {
		if database.IsDamaged(err) {
			err = fmt.Errorf("it is no database, or damaged: %w", err)
		}
		return err
	}
	if err := database.SyncFile(part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return database.SyncDirectory(dir)
}
