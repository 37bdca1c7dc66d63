package sqlite

// Limit implements queue.Engine. The values mean what they mean in Options.
func (db *DB) Limit(maxPending int, minFree int64) {
	options := Options{MaxPending: maxPending, MinFree: minFree}.withDefaults()
	db.maxPending.Store(int64(options.MaxPending))
	db.space.min.Store(options.MinFree)
	db.space.recheck()
}
