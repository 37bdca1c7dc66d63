// Package database is the file of a queue: its directory and lock, the connections
// to it, its schema, and how events, deliveries and times are written in its rows.
// It holds what the writer (package sqlite) and the readers of the activity
// (package history) have in common. It decides nothing: it knows neither leases nor
// settlements.
package database

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// oldest is the first SQLite that cannot corrupt a WAL file when it is reset
// while another connection writes or checkpoints.
var oldest = [3]int{3, 51, 3}

const (
	// FileName is the name of the database in the directory of a queue.
	FileName = "events.db"
	// PageSize is the size of a page of the database in bytes.
	PageSize = 4096
	// BusyTimeout is how long a statement waits for another program that has the
	// database locked.
	BusyTimeout = 5 * time.Second
)

// Connect opens a connection to an existing file and sets what all connections
// need. It never lets zombiezen choose the journal mode, because that would be
// done before auto_vacuum could be set.
func Connect(file string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(file, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(BusyTimeout)
	for _, pragma := range []string{
		"PRAGMA foreign_keys = OFF",
		"PRAGMA temp_store = MEMORY",
		"PRAGMA trusted_schema = OFF",
	} {
		if err := Execute(conn, pragma); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// ConnectWriter opens the one connection that writes, and makes an empty file a
// database. It reads back the settings on which durability depends, and fails if
// one of them is not in force. maxPages bounds the size of the database as a full
// disk does; 0 means no bound.
func ConnectWriter(file string, maxPages int64) (*sqlite.Conn, error) {
	conn, err := Connect(file)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*sqlite.Conn, error) { return nil, errors.Join(err, conn.Close()) }

	if err := checkVersion(conn); err != nil {
		return fail(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fail(err)
	}
	if info.Size() == 0 {
		// In this order: journal_mode writes the first page, and from then on
		// auto_vacuum silently stays what it is.
		for _, pragma := range []string{"PRAGMA page_size = " + strconv.Itoa(PageSize), "PRAGMA auto_vacuum = INCREMENTAL"} {
			if err := Execute(conn, pragma); err != nil {
				return fail(err)
			}
		}
	}
	for _, pragma := range []string{
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",
		"PRAGMA fullfsync = ON", // macOS: fsync alone does not reach the disk
		"PRAGMA checkpoint_fullfsync = ON",
		"PRAGMA wal_autocheckpoint = 0", // the writer chooses the moment
		"PRAGMA journal_size_limit = 16777216",
		// What an event adds is written once and not read again, so a small cache is enough.
		// A large transaction may still hold 16 MB before it writes pages early.
		"PRAGMA cache_size = -4096",
		"PRAGMA cache_spill = -16384",
	} {
		if err := Execute(conn, pragma); err != nil {
			return fail(err)
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "wal_autocheckpoint": "0"} {
		if have, err := QueryText(conn, "PRAGMA "+pragma); err != nil {
			return fail(err)
		} else if have != want {
			return fail(fmt.Errorf("setting %s of the database: it stays %q instead of %q; is this file system fit for SQLite's WAL mode?", pragma, have, want))
		}
	}
	if maxPages > 0 {
		if err := Execute(conn, "PRAGMA max_page_count = "+strconv.FormatInt(maxPages, 10)); err != nil {
			return fail(err)
		}
	}
	return conn, nil
}

// ConnectReader opens a connection that can only read.
func ConnectReader(file string) (*sqlite.Conn, error) {
	conn, err := Connect(file)
	if err != nil {
		return nil, err
	}
	for _, pragma := range []string{"PRAGMA query_only = ON", "PRAGMA cache_size = -4096"} {
		if err := Execute(conn, pragma); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

func checkVersion(conn *sqlite.Conn) error {
	text, err := QueryText(conn, "SELECT sqlite_version()")
	if err != nil {
		return err
	}
	return checkVersionText(text)
}

func checkVersionText(text string) error {
	parts := strings.Split(text, ".")
	for i, least := range oldest {
		n := 0
		if i < len(parts) {
			n, _ = strconv.Atoi(parts[i])
		}
		if n > least {
			return nil
		}
		if n < least {
			return queue.Mistaken("this program was built with SQLite %s, which can corrupt its write-ahead log; build it with "+
				"modernc.org/sqlite v1.60.0 or later (SQLite %d.%d.%d)", text, oldest[0], oldest[1], oldest[2])
		}
	}
	return nil
}
