package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Troubles implements queue.Engine.
func (db *DB) Troubles() []queue.Trouble { return db.troubles.List() }

// failing notes that the database cannot be written.
func (db *DB) failing(err error) {
	remedy := "events are refused until it can be again"
	full := fateOf(err) == overfull
	_, connecting := refusal(err)
	switch {
	case connecting != "":
		remedy = connecting + "; " + remedy
	case full:
		remedy = "its disk is full: make room there; " + remedy
	case isOfAnother(err):
		remedy = mistakenPooling.Error() + "; " + remedy
	case isReadOnly(err):
		remedy = "it is a standby or was made read-only: name all servers in the DSN and add target_session_attrs=read-write; " + remedy
	}
	db.mu.Lock()
	db.failed, db.unwritable = true, true
	db.full = db.full || full
	db.mu.Unlock()
	if db.troubles.Begin(queue.TroubleUnwritable, fmt.Sprintf("the database cannot be written: %v; %s", err, remedy), true) {
		db.logger.Error("the queue cannot be written", zap.Error(err))
	}
}

func isReadOnly(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == readOnly
}

// isOfAnother reports whether an error says that the session is that of another
// connection: a pooler was told to share them while the queue was open.
func isOfAnother(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == noSuchStatement || refused.Code == statementThere)
}

// working notes that the database can be written. One whose disk is full takes what is
// small, or replaces something, all the same: its trouble lasts until roomy.
func (db *DB) working() {
	db.mu.Lock()
	failed, full := db.failed, db.full
	db.failed, db.unwritable = false, false
	if failed {
		for _, l := range db.lanes {
			l.signal()
		}
	}
	db.mu.Unlock()
	if failed && !full {
		db.recovered()
	}
}

// roomy notes that the disk of the database is not full any more.
func (db *DB) roomy() {
	db.mu.Lock()
	db.full = false
	failed := db.failed
	db.mu.Unlock()
	if !failed {
		db.recovered()
	}
}

func (db *DB) recovered() {
	if db.troubles.End(queue.TroubleUnwritable) {
		db.logger.Info("the queue can be written again", zap.String("schema", db.options.Schema))
	}
}
