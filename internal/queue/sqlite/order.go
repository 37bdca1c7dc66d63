package sqlite

// Of the unfinished deliveries of one action and order key only the first, the
// head, has a time at which it is due. The others are behind it: their time in
// the table is put off beyond all times, so that no reading by time ever meets
// them, however many they are, and none of them is in memory. Whatever ends the
// head releases the next in the same transaction. So order needs no memory, and
// it survives whatever the table survives.

// behind is added to the time of a delivery that waits for its order key. As a
// time it lies 146,000 years ahead.
const behind = int64(1) << 62

// nextOfKey names its index: SQLite would rather read all of an action.
const nextOfKey = `SELECT w.delivery, w.due, e.received FROM waiting w INDEXED BY waiting_order CROSS JOIN events e ON e.id = w.delivery >> 11
	WHERE w.action = ? AND w.order_key = ? ORDER BY w.delivery LIMIT 1`

// firstOfKey reports whether no unfinished delivery has the key.
func (tx *transaction) firstOfKey(a *action, key string) (bool, error) {
	s := tx.statements.firstOfKey
	s.BindInt64(1, a.row)
	s.BindText(2, key)
	found, err := s.Step()
	if err != nil {
		return false, err
	}
	return !found, s.Reset()
}

// releaseNext makes the next delivery of a key due at its own time.
func (tx *transaction) releaseNext(a *action, key string) error {
	s := tx.statements.nextOfKey
	s.BindInt64(1, a.row)
	s.BindText(2, key)
	found, err := s.Step()
	if err != nil {
		return err
	}
	id, due, received := s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2)
	if err := s.Reset(); err != nil {
		return err
	}
	if !found || due < behind {
		return nil
	}
	release := tx.statements.release
	// Its time of receipt is its place among those who wait.
	release.BindInt64(1, max(due-behind, min(received, tx.now), 1))
	release.BindInt64(2, a.row)
	release.BindInt64(3, id)
	if err := step(release); err != nil {
		return err
	}
	tx.released = append(tx.released, a)
	return nil
}
