package sqlite

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Restore puts a file that Backup wrote into a directory as the database of a
// relay that is not running, once it is found to be whole. It refuses to
// replace a database. Switches stay off, and deliveries go on. What is restored is
// a database of its own from then on: a later backup of the one that it comes from
// can be added to it.
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
	if err := database.WithFile(part, func(conn *sqlite.Conn) error {
		if err := database.Migrate(conn, file); err != nil {
			return err
		}
		return descend(conn)
	}); err != nil {
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

// descend makes a copy of a database one of its own, and notes what both have
// counted. With the same identity, a later backup of the other would be taken for
// one of this and its counts left out.
func descend(conn *sqlite.Conn) error {
	all, actions, err := usesOf(conn)
	if err != nil {
		return err
	}
	added := make(addedUses)
	for i := range all {
		added.more(string(all[i].Kind), all[i].Name, all[i].uses.count)
	}
	for _, action := range actions {
		added.more(addedMade, action.name, action.uses.made.count)
		added.more(addedDelivered, action.name, action.uses.delivered)
		added.more(addedFailed, action.name, action.uses.failed)
		added.more(addedExpired, action.name, action.uses.expired)
	}
	text, err := json.Marshal(added)
	if err != nil {
		return fmt.Errorf("encoding what is counted: %w", err)
	}
	if err := database.Query(conn, `INSERT INTO merged (identity, counted, uses)
		SELECT text, (SELECT coalesce(max(at), -1) FROM counts WHERE minutes IN (0, 1)), ? FROM facts WHERE name = 'identity'
		ON CONFLICT DO UPDATE SET counted = excluded.counted, uses = excluded.uses`, func(*sqlite.Stmt) error { return nil }, string(text)); err != nil {
		return err
	}
	return database.Execute(conn, "UPDATE facts SET text = lower(hex(randomblob(16))) WHERE name = 'identity'")
}
