package database

import (
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// ColumnChecksum returns the column events.checksum of a row, and layout.NoChecksum
// for NULL.
func ColumnChecksum(row *sqlite.Stmt, column int) int64 {
	if row.ColumnType(column) == sqlite.TypeNull {
		return layout.NoChecksum
	}
	return row.ColumnInt64(column)
}
