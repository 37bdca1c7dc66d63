package sqlite

import (
	"time"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

const (
	// pagesPerCommit is what a commit writes besides its rows, roughly.
	pagesPerCommit = 5
)

// The writer checkpoints by itself, at moments of its choice: small pieces
// while no command waits, so that a sender hardly ever meets one, and larger ones
// between two commits when there is no such moment.

func (db *DB) checkpointIfIdle() {
	if db.conn != nil && db.walBytes >= db.options.limits.walIdle {
		db.checkpoint()
	}
}

func (db *DB) checkpointIfLarge() {
	if db.conn != nil && db.walBytes >= db.options.limits.walBusy {
		db.checkpoint()
	}
}

// checkpoint copies what it can from the WAL to the database. Readers are not
// disturbed unless the WAL has reached its limit: as long as one of them began
// before the last commit the WAL cannot begin anew, and overlapping readers
// would let it grow without end.
func (db *DB) checkpoint() {
	frames, err := runCheckpoint(db.conn, "PASSIVE")
	db.walBytes = 0
	if limit := db.options.limits.walLimit; err == nil && frames*database.FrameSize >= limit+db.walExcess {
		db.readers.Bar(time.Second)
		frames, err = runCheckpoint(db.conn, "TRUNCATE")
		db.readers.Unbar()
		db.walExcess = 0
		if err == nil && frames > 0 {
			// Trying stops the writer for a while, so the next time is later.
			db.walExcess = frames*database.FrameSize - limit + limit/4
			db.logger.Warn("the write-ahead log cannot be emptied: another program is reading the database",
				zap.String("file", db.file), zap.Int64("bytes", frames*database.FrameSize))
		}
	}
	// An error is logged and no caller gets it: nothing is lost, the WAL keeps what
	// it has.
	if lagging := err != nil && !database.IsBusy(err); lagging != db.lagging {
		db.lagging = lagging
		if lagging {
			db.logger.Error("the write-ahead log cannot be copied into the database", zap.String("file", db.file), zap.Error(err))
		}
	}
}

// runCheckpoint returns how many frames the WAL holds afterwards.
func runCheckpoint(conn *sqlite.Conn, mode string) (frames int64, err error) {
	conn.SetBusyTimeout(20 * time.Millisecond)
	defer conn.SetBusyTimeout(database.BusyTimeout)
	err = sqlitex.Execute(conn, "PRAGMA wal_checkpoint("+mode+")", &sqlitex.ExecOptions{ResultFunc: func(row *sqlite.Stmt) error {
		frames = max(row.ColumnInt64(1), 0)
		return nil
	}})
	return frames, err
}
