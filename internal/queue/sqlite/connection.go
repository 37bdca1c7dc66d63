package sqlite

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// oldest is the first SQLite that cannot corrupt a WAL file when it is reset
// while another connection writes or checkpoints.
var oldest = [3]int{3, 51, 3}

// connect opens a connection to an existing file and sets what all connections
// need. It never lets zombiezen choose the journal mode, because that would be
// done before auto_vacuum could be set.
func connect(file string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(file, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTimeout)
	for _, pragma := range []string{
		"PRAGMA foreign_keys = OFF",
		"PRAGMA temp_store = MEMORY",
		"PRAGMA trusted_schema = OFF",
	} {
		if err := execute(conn, pragma); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// connectWriter opens the one connection that writes, and makes a new file a
// database. What durability hangs on is read back.
func connectWriter(file string, maxPages int64) (*sqlite.Conn, error) {
	conn, err := connect(file)
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
		for _, pragma := range []string{"PRAGMA page_size = " + strconv.Itoa(pageSize), "PRAGMA auto_vacuum = INCREMENTAL"} {
			if err := execute(conn, pragma); err != nil {
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
		"PRAGMA cache_size = -16384",
	} {
		if err := execute(conn, pragma); err != nil {
			return fail(err)
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "wal_autocheckpoint": "0"} {
		if have, err := queryText(conn, "PRAGMA "+pragma); err != nil {
			return fail(err)
		} else if have != want {
			return fail(fmt.Errorf("setting %s of the database: it stays %q instead of %q; is this file system fit for SQLite's WAL mode?", pragma, have, want))
		}
	}
	if maxPages > 0 {
		if err := execute(conn, "PRAGMA max_page_count = "+strconv.FormatInt(maxPages, 10)); err != nil {
			return fail(err)
		}
	}
	return conn, nil
}

func checkVersion(conn *sqlite.Conn) error {
	text, err := queryText(conn, "SELECT sqlite_version()")
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
			return mistaken("this program was built with SQLite %s, which can corrupt its write-ahead log; build it with "+
				"modernc.org/sqlite v1.60.0 or later (SQLite %d.%d.%d)", text, oldest[0], oldest[1], oldest[2])
		}
	}
	return nil
}

// execute runs a statement that is needed once.
func execute(conn *sqlite.Conn, query string) error {
	return sqlitex.ExecuteTransient(conn, query, nil)
}

// queryInt returns the first column of the last row, 0 without rows.
func queryInt(conn *sqlite.Conn, query string, args ...any) (n int64, err error) {
	err = sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args, ResultFunc: func(row *sqlite.Stmt) error {
		n = row.ColumnInt64(0)
		return nil
	}})
	return n, err
}

func queryText(conn *sqlite.Conn, query string) (text string, err error) {
	err = sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: func(row *sqlite.Stmt) error {
		text = row.ColumnText(0)
		return nil
	}})
	return text, err
}

// damaged reports whether an error says that the file is not what it should be.
func damaged(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultFormat:
		return true
	}
	return false
}

// step runs a prepared statement that returns no rows.
func step(stmt *sqlite.Stmt) error {
	if _, err := stmt.Step(); err != nil {
		return err
	}
	return stmt.Reset()
}

// bindText binds a text, or NULL for an empty one.
func bindText(stmt *sqlite.Stmt, param int, text string) {
	if text == "" {
		stmt.BindNull(param)
	} else {
		stmt.BindText(param, text)
	}
}

// bindInt binds a number, or NULL for 0.
func bindInt(stmt *sqlite.Stmt, param int, n int64) {
	if n == 0 {
		stmt.BindNull(param)
	} else {
		stmt.BindInt64(param, n)
	}
}

// columnBytes returns a copy of a column, nil for NULL.
func columnBytes(stmt *sqlite.Stmt, column int) []byte {
	n := stmt.ColumnLen(column)
	if n == 0 {
		return nil
	}
	data := make([]byte, n)
	stmt.ColumnBytes(column, data)
	return data
}
