package postgres

import "time"

// takeBack is called when something about actions was changed, on whichever node: what
// waits in memory for their takers goes back to the table, and their takers look there.
// It does not wait for the database.
func (db *DB) takeBack(actions []string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, action := range actions {
		l := db.lane(action)
		db.back(db.recall(l)...)
		l.tableFrom = time.Time{}
		l.signal()
	}
}

// wake wakes the takers of actions, or all if none is named: another node left
// something for them.
func (db *DB) wake(actions []string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(actions) == 0 {
		for _, l := range db.lanes {
			l.tableFrom = time.Time{}
			l.signal()
		}
	}
	for _, action := range actions {
		l := db.lane(action)
		l.tableFrom = time.Time{}
		l.signal()
	}
}
