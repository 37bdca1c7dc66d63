package sqlite

import "github.com/caddy-event-relay/event-relay/internal/queue"

// Troubles returns what is wrong with the queue right now, the oldest first. It
// is never older than a second.
func (db *DB) Troubles() []queue.Trouble {
	db.space.low() // which notes what it finds
	db.checkPending()
	if _, told := db.troubles.Get(queue.TroubleLog); told {
		db.tellOfKeptLogs() // they may be deleted by now
	}
	return db.troubles.List()
}
