package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
)

// What is mended is written down with the delivery that mends it: attempts.state
// tells those that are apart, so that a page of failures never goes through those
// that are settled. Which they are says queue.Mend.

// mayBeRepeated says whether a delivery of an event repeats another.
const mayBeRepeated = `SELECT 1 FROM events WHERE id = ? AND instr(deliveries, '"of":') > 0`

// markMended marks the end of a delivery, unless that is done.
const markMended = `UPDATE attempts SET state = state + 3 WHERE state BETWEEN 2 AND 4
	AND id = (SELECT max(id) FROM attempts WHERE id >= ?1 AND id < ?2) RETURNING state - 3, at`

// mendAfter marks what is mended now that a delivery has ended.
func (tx *transaction) mendAfter(delivery, state int64, of string) error {
	event := delivery >> layout.DeliveryBits
	if state == layout.Delivered && of == "" {
		return nil
	}
	if state != layout.Delivered {
		// One that repeats it may have arrived before.
		repeated := false
		if err := database.Query(tx.conn, mayBeRepeated, func(*sqlite.Stmt) error {
			repeated = true
			return nil
		}, event); err != nil || !repeated {
			return err
		}
	}
	return tx.mend(event, true)
}

// mend marks all of an event that is mended. counted says that its ends are counted
// here.
func (tx *transaction) mend(event int64, counted bool) error {
	deliveries, err := history.Deliveries(tx.conn, event)
	if err != nil {
		return err
	}
	for place := range deliveries {
		if deliveries[place].Standing() != queue.Mended {
			continue
		}
		delivery := layout.DeliveryID(event, place)
		var state, at int64
		if err := database.Query(tx.conn, markMended, func(row *sqlite.Stmt) error {
			state, at = row.ColumnInt64(0), row.ColumnInt64(1)
			return nil
		}, layout.AttemptID(delivery, 0), layout.AttemptID(delivery+1, 0)); err != nil {
			return err
		}
		if state != 0 && counted {
			if err := tx.countMended(state, at); err != nil {
				return err
			}
			if err := tx.mendAction(deliveries[place].Action, state, event); err != nil {
				return err
			}
		}
	}
	return nil
}

// countMended counts a delivery that ended in a state as mended, at the time when it
// ended.
func (tx *transaction) countMended(state, at int64) error {
	present, err := tx.countNow()
	if err != nil {
		return err
	}
	place := layout.CountedStates + state
	if present.At == at-layout.Mod(at, layout.Minute) {
		if present.Numbers[place] > 0 {
			present.Numbers[place]--
			present.Numbers[layout.CountedMended]++
		}
		return nil
	}
	name := layout.Counted[place]
	for _, minutes := range layout.CountedMinutes {
		if err := database.Query(tx.conn, "UPDATE counts SET "+name+" = "+name+" - 1, mended = mended + 1 WHERE minutes = ? AND at = ? AND "+name+" > 0",
			func(*sqlite.Stmt) error { return nil }, minutes, at-layout.Mod(at, minutes*layout.Minute)); err != nil {
			return err
		}
	}
	return nil
}
