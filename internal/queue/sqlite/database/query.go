package database

import (
	"errors"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// ErrEnough is what the function of Query returns to read no further rows. Query
// returns it as it is.
var ErrEnough = errors.New("enough")

// Query runs a statement that the connection keeps prepared, and calls f for each
// row until f returns an error. Arguments are texts and numbers of type int64.
func Query(conn *sqlite.Conn, sql string, f func(row *sqlite.Stmt) error, args ...any) error {
	stmt, err := conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Reset()
	for i, arg := range args {
		switch arg := arg.(type) {
		case int64:
			stmt.BindInt64(i+1, arg)
		case string:
			stmt.BindText(i+1, arg)
		default:
			return fmt.Errorf("binding a %T", arg)
		}
	}
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			return err
		}
		if err := f(stmt); err != nil {
			return err
		}
	}
}

// Execute runs a statement that is needed once.
func Execute(conn *sqlite.Conn, query string) error {
	return sqlitex.ExecuteTransient(conn, query, nil)
}

// QueryInt returns the first column of the last row, 0 without rows.
func QueryInt(conn *sqlite.Conn, query string, args ...any) (n int64, err error) {
	err = sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args, ResultFunc: func(row *sqlite.Stmt) error {
		n = row.ColumnInt64(0)
		return nil
	}})
	return n, err
}

// QueryText returns the first column of the last row, empty without rows.
func QueryText(conn *sqlite.Conn, query string) (text string, err error) {
	err = sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: func(row *sqlite.Stmt) error {
		text = row.ColumnText(0)
		return nil
	}})
	return text, err
}

// Size returns the bytes of a database, and how many of them are free.
func Size(conn *sqlite.Conn) (total, free int64, err error) {
	err = Query(conn, `SELECT page_count * page_size, freelist_count * page_size
		FROM pragma_page_count, pragma_page_size, pragma_freelist_count`, func(row *sqlite.Stmt) error {
		total, free = row.ColumnInt64(0), row.ColumnInt64(1)
		return nil
	})
	return total, free, err
}

// QueryPlan returns how SQLite finds the rows of a statement, in steps separated by
// " | ". Tests hold by it that a statement meets a large table by a key.
func QueryPlan(conn *sqlite.Conn, sql string) (string, error) {
	stmt, _, err := conn.PrepareTransient("EXPLAIN QUERY PLAN " + sql)
	if err != nil {
		return "", err
	}
	defer stmt.Finalize()
	var steps []string
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			return strings.Join(steps, " | "), err
		}
		steps = append(steps, stmt.ColumnText(3))
	}
}

// Step runs a prepared statement that returns no rows.
func Step(stmt *sqlite.Stmt) error {
	if _, err := stmt.Step(); err != nil {
		return err
	}
	return stmt.Reset()
}

// BindText binds a text, or NULL for an empty one.
func BindText(stmt *sqlite.Stmt, param int, text string) {
	if text == "" {
		stmt.BindNull(param)
	} else {
		stmt.BindText(param, text)
	}
}

// BindInt binds a number, or NULL for 0.
func BindInt(stmt *sqlite.Stmt, param int, n int64) {
	if n == 0 {
		stmt.BindNull(param)
	} else {
		stmt.BindInt64(param, n)
	}
}

// ColumnBytes returns a copy of a column, nil for NULL.
func ColumnBytes(stmt *sqlite.Stmt, column int) []byte {
	n := stmt.ColumnLen(column)
	if n == 0 {
		return nil
	}
	data := make([]byte, n)
	stmt.ColumnBytes(column, data)
	return data
}

// IsDamaged reports whether an error says that the file is not what it should be.
func IsDamaged(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultFormat:
		return true
	}
	return false
}

// IsFull reports whether an error says that the disk, or the database, is full.
func IsFull(err error) bool { return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull }

// IsBusy reports whether an error says that another program has the database locked.
func IsBusy(err error) bool {
	code := sqlite.ErrCode(err).ToPrimary()
	return code == sqlite.ResultBusy || code == sqlite.ResultLocked
}
