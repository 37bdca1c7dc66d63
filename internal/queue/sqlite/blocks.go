package sqlite

import "zombiezen.com/go/sqlite"

// The table blocks stands in for indexes on times and UUIDs, which would cost
// more to write than the events themselves. Events are stored nearly in the
// order of their times, so a block of consecutive ids has a narrow range of
// times, and what is looked for by time can only be in few blocks. Where that
// is not so (the clock was set, an id is not of version 7) the ranges are wide
// and looking takes longer, but finds the same.

// block is the newest row of the table blocks.
type block struct {
	first int64 // event; 0 before the first
	span
}

// span is a range of times, ends included, in microseconds.
type span struct{ oldest, newest int64 }

func (s *span) include(t int64) {
	s.oldest, s.newest = min(s.oldest, t), max(s.newest, t)
}

// roundTo is what times in blocks are rounded to, in microseconds.
const roundTo = 50_000

// newEvent returns the id of a new event and notes its times.
func (tx *transaction) newEvent(s span) int64 {
	tx.lastEvent++
	id := tx.lastEvent
	b := &tx.block
	if b.first == 0 || id-b.first >= tx.db.options.limits.blockEvents {
		if tx.blockDirty {
			tx.fullBlocks = append(tx.fullBlocks, *b)
		}
		*b, tx.blockDirty = block{first: id, span: s}, true
		b.round()
	}
	if s.oldest < b.oldest || s.newest > b.newest {
		b.include(s.oldest)
		b.include(s.newest)
		b.round()
		tx.blockDirty = true
	}
	return id
}

// round widens a range, so that its row does not change with each event.
func (s *span) round() {
	s.oldest -= mod(s.oldest, roundTo)
	s.newest += roundTo - 1 - mod(s.newest, roundTo)
}

func mod(n, m int64) int64 { return (n%m + m) % m }

// writeBlocks stores the blocks that changed.
func (tx *transaction) writeBlocks() error {
	if !tx.blockDirty {
		return nil
	}
	for _, b := range append(tx.fullBlocks, tx.block) {
		if err := tx.putBlock(b); err != nil {
			return err
		}
	}
	return nil
}

func (tx *transaction) putBlock(b block) error {
	s := tx.statements.putBlock
	s.BindInt64(1, b.first)
	s.BindInt64(2, b.oldest)
	s.BindInt64(3, b.newest)
	return step(s)
}

// idRange returns the first event id that can have a time in the span, and the
// first behind the last that can. Both are 0 if none can.
func idRange(conn *sqlite.Conn, s span) (from, to int64, err error) {
	err = query(conn, `SELECT min(first), max(first) FROM blocks WHERE newest >= ? AND oldest <= ?`, func(row *sqlite.Stmt) error {
		from, to = row.ColumnInt64(0), row.ColumnInt64(1)
		return nil
	}, s.oldest, s.newest)
	if err != nil || from == 0 {
		return 0, 0, err
	}
	to, err = blockEnd(conn, to)
	return from, to, err
}

// blockEnd returns the first id behind the block that begins with first.
func blockEnd(conn *sqlite.Conn, first int64) (end int64, err error) {
	end = maxEvent
	err = query(conn, `SELECT first FROM blocks WHERE first > ? ORDER BY first LIMIT 1`, func(row *sqlite.Stmt) error {
		end = row.ColumnInt64(0)
		return nil
	}, first)
	return end, err
}

// timeOfUUID returns the time in a UUID of version 7, in microseconds. In
// another UUID the same bits give some number, which serves as well.
func timeOfUUID(uuid string) int64 {
	ms := int64(0)
	for i, digits := 0, 0; i < len(uuid) && digits < timeDigits; i++ {
		if d, ok := hexDigit(uuid[i]); ok {
			ms = ms<<4 | d
			digits++
		}
	}
	return ms * 1000
}

// timeDigits is how many of a UUID's hexadecimal digits are its time.
const timeDigits = 12

// timesOfUUID returns the times that UUIDs with a given beginning can have. It
// reports false if the text cannot be the beginning of a UUID.
func timesOfUUID(beginning string) (s span, ok bool) {
	if len(beginning) > 36 {
		return s, false
	}
	digits := 0
	for i := range len(beginning) {
		d, hex := hexDigit(beginning[i])
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (beginning[i] == '-') || !dash && !hex {
			return s, false
		}
		if hex && digits < timeDigits {
			s.oldest = s.oldest<<4 | d
			digits++
		}
	}
	unknown := 4 * (timeDigits - digits)
	s.newest = ((s.oldest+1)<<unknown)*1000 - 1
	s.oldest = s.oldest << unknown * 1000
	return s, true
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}
