package sqlite

// Limit changes MaxPending and MinFree of an open queue, which outlives the
// configurations that set them. It counts from the next Put; the values mean
// what they mean in Options.
func (db *DB) Limit(maxPending int, minFree int64) {
	options := Options{MaxPending: maxPending, MinFree: minFree}.withDefaults()
	db.maxPending.Store(int64(options.MaxPending))
	db.space.min.Store(options.MinFree)
	db.space.recheck()
}
