package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"zombiezen.com/go/sqlite"

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
	if err := checkSingle(file); err != nil {
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
	if err := copyFile(file, part); err != nil {
		return err
	}
	if err := withFile(part, checkWhole); err != nil {
		if database.IsDamaged(err) {
			err = fmt.Errorf("it is no database, or damaged: %w", err)
		}
		return err
	}
	if err := syncFile(part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return database.SyncDirectory(dir)
}

// checkSingle refuses what cannot be a file that Backup wrote.
func checkSingle(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return errors.New("it is not a file, or empty")
	}
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		return errors.New("it is a database in use or one that was not closed, as its -wal file shows: start the relay that it belongs to, and write a backup")
	}
	return nil
}

// checkWhole refuses a database that is none of ours, too new or damaged.
func checkWhole(conn *sqlite.Conn) error {
	id, err := database.QueryInt(conn, "PRAGMA application_id")
	if err != nil {
		return err
	}
	if id != database.ApplicationID {
		return errors.New("it is not a database of Event Relay")
	}
	have, err := database.QueryInt(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	if have < 1 || have > database.Version() {
		return fmt.Errorf("it has schema version %d and this program knows up to %d: it was written by a newer Event Relay; use that one", have, database.Version())
	}
	findings, err := quickCheck(conn)
	if err != nil {
		return fmt.Errorf("checking it: %w", err)
	}
	if len(findings) > 0 {
		return fmt.Errorf("it is damaged: %s", findings[0])
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
