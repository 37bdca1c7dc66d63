package database

import (
	"errors"
	"fmt"
	"os"

	"zombiezen.com/go/sqlite"
)

// CheckSingle refuses what cannot be a backup: a database is one file only when no
// connection left a write-ahead log beside it.
func CheckSingle(file string) error {
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

// CheckWhole refuses a database that Event Relay did not write, that a newer version
// wrote, or that is damaged.
func CheckWhole(conn *sqlite.Conn) error {
	id, err := QueryInt(conn, "PRAGMA application_id")
	if err != nil {
		return err
	}
	if id != ApplicationID {
		return errors.New("it is not a database of Event Relay")
	}
	have, err := QueryInt(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	if have < 1 || have > Version() {
		return fmt.Errorf("it has schema version %d and this program knows up to %d: it was written by a newer Event Relay; use that one", have, Version())
	}
	findings, err := QuickCheck(conn, 1)
	if err != nil {
		return fmt.Errorf("checking it: %w", err)
	}
	if len(findings) > 0 {
		return fmt.Errorf("it is damaged: %s", findings[0])
	}
	return nil
}

// QuickCheck has SQLite check the structure of a database, and returns up to most
// findings.
func QuickCheck(conn *sqlite.Conn, most int) (found []string, err error) {
	err = Query(conn, fmt.Sprintf("PRAGMA quick_check(%d)", most), func(row *sqlite.Stmt) error {
		if text := row.ColumnText(0); text != "ok" {
			found = append(found, text)
		}
		return nil
	})
	if IsDamaged(err) {
		return append(found, err.Error()), nil
	}
	return found, err
}
