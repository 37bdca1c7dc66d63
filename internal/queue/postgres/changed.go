package postgres

// watched reports whether anything is to be told of what is committed. It reads a
// number or two.
func (db *DB) watched() bool { return db.watchers.Watched() || db.nodes.self.Watched() }

// changed tells what was committed. f calls add with the id of each event that was
// changed.
func (db *DB) changed(f func(add func(event string))) {
	db.watchers.Tell(f)
	db.nodes.self.Tell(f)
}
