package database

import (
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// The table blocks stands in for indexes on times and UUIDs, which would cost
// more to write than the events themselves. Events are stored nearly in the
// order of their times, so a block of consecutive ids has a narrow range of
// times, and what is looked for by time can only be in few blocks. Where that
// is not so (the clock was set, an id is not of version 7) the ranges are wide
// and looking takes longer, but finds the same.

// Block is a row of the table blocks.
type Block struct {
	// First is its first event, 0 before there is any.
	First int64
	Span
}

// Span is a range of times, ends included, in microseconds.
type Span struct{ Oldest, Newest int64 }

// Include widens a range to hold a time.
func (s *Span) Include(t int64) {
	s.Oldest, s.Newest = min(s.Oldest, t), max(s.Newest, t)
}

// roundTo is what times in blocks are rounded to, in microseconds.
const roundTo = 50_000

// Round widens a range to round times, so that its row does not change with each
// event.
func (s *Span) Round() {
	s.Oldest -= layout.Mod(s.Oldest, roundTo)
	s.Newest += roundTo - 1 - layout.Mod(s.Newest, roundTo)
}

// IDRange returns the first event id that can have a time in the span, and the
// first behind the last that can. Both are 0 if none can.
func IDRange(conn *sqlite.Conn, s Span) (from, to int64, err error) {
	err = Query(conn, `SELECT min(first), max(first) FROM blocks WHERE newest >= ? AND oldest <= ?`, func(row *sqlite.Stmt) error {
		from, to = row.ColumnInt64(0), row.ColumnInt64(1)
		return nil
	}, s.Oldest, s.Newest)
	if err != nil || from == 0 {
		return 0, 0, err
	}
	to, err = BlockEnd(conn, to)
	return from, to, err
}

// BlockEnd returns the first id behind the block that begins with first.
func BlockEnd(conn *sqlite.Conn, first int64) (end int64, err error) {
	end = layout.MaxEvent
	err = Query(conn, `SELECT first FROM blocks WHERE first > ? ORDER BY first LIMIT 1`, func(row *sqlite.Stmt) error {
		end = row.ColumnInt64(0)
		return nil
	}, first)
	return end, err
}

// TimeOfUUID returns the time in a UUID of version 7, in microseconds. In
// another UUID the same bits give some number, which serves as well.
func TimeOfUUID(uuid string) int64 {
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

// TimesOfUUID returns the times that UUIDs with a given beginning can have. It
// reports false if the text cannot be the beginning of a UUID.
func TimesOfUUID(beginning string) (s Span, ok bool) {
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
			s.Oldest = s.Oldest<<4 | d
			digits++
		}
	}
	unknown := 4 * (timeDigits - digits)
	s.Newest = ((s.Oldest+1)<<unknown)*1000 - 1
	s.Oldest = s.Oldest << unknown * 1000
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
