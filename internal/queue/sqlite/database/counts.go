package database

import (
	"encoding/json"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// CountColumns are the columns that ReadCounts reads, and ListCounts the statement that
// lists the rows of so many minutes in a range of times.
var (
	CountColumns = "at, " + strings.Join(layout.Counted[:], ", ") + ", latencies, backlog"
	ListCounts   = "SELECT " + CountColumns + " FROM counts WHERE minutes = ? AND at >= ? AND at < ? ORDER BY at"
)

// CountColumnsOf is CountColumns for a database that may be of an earlier version.
func CountColumnsOf(conn *sqlite.Conn) (string, error) {
	has, err := QueryInt(conn, "SELECT count(*) FROM pragma_table_info('counts') WHERE name = ?", layout.Counted[layout.CountedMended])
	if err != nil || has > 0 {
		return CountColumns, err
	}
	return strings.Replace(CountColumns, ", "+layout.Counted[layout.CountedMended]+",", ", 0,", 1), nil
}

// ReadCounts reads a row with CountColumns. What cannot be read counts as nothing.
func ReadCounts(row *sqlite.Stmt) (c layout.Counts) {
	c.At = row.ColumnInt64(0)
	for i := range c.Numbers {
		c.Numbers[i] = row.ColumnInt64(1 + i)
	}
	c.AddLatencies(row.ColumnText(1 + len(c.Numbers)))
	if text := ColumnBytes(row, 2+len(c.Numbers)); text != nil {
		if json.Unmarshal(text, &c.Backlog) != nil {
			c.Backlog = nil
		}
	}
	return c
}
