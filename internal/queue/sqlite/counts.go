package sqlite

import (
	"encoding/json"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// What happens is counted in the transaction that makes it happen, so that a
// crash neither loses nor doubles anything. The writer has the counts of the
// present minute in memory and writes one row for all that a transaction
// changed; when the minute is over, its counts are added to the rows of the
// longer times that it is part of. Thus a chart reads few rows, however long it
// reaches back.

// countNow returns the counts of the present minute.
func (tx *transaction) countNow() (*layout.Counts, error) {
	c := &tx.counts
	if tx.counted {
		return c, nil
	}
	tx.counted = true
	now := tx.now - layout.Mod(tx.now, layout.Minute)
	if c.At == now {
		return c, nil
	}
	if c.At != 0 {
		if err := tx.addCounts(c); err != nil {
			return nil, err
		}
		if err := database.Execute(tx.conn, "DELETE FROM counts WHERE minutes = 0"); err != nil {
			return nil, err
		}
		tx.writesUses = true
	}
	*c = layout.Counts{At: now}
	return c, nil
}

// addCounts adds the counts of a minute to all times that it is part of.
func (tx *transaction) addCounts(c *layout.Counts) error {
	for _, minutes := range layout.CountedMinutes {
		at := c.At - layout.Mod(c.At, minutes*layout.Minute)
		total := layout.Counts{At: at}
		if err := database.Query(tx.conn, "SELECT "+database.CountColumns+" FROM counts WHERE minutes = ? AND at = ?", func(row *sqlite.Stmt) error {
			total = database.ReadCounts(row)
			return nil
		}, minutes, at); err != nil {
			return err
		}
		total.Add(c)
		if err := tx.putCounts(minutes, &total); err != nil {
			return err
		}
	}
	return nil
}

var putCounts = "INSERT OR REPLACE INTO counts (minutes, " + database.CountColumns + ") VALUES (?, ?" + strings.Repeat(", ?", len(layout.Counted)+2) + ")"

// putCounts writes a row of the table counts.
func (tx *transaction) putCounts(minutes int64, c *layout.Counts) error {
	s := tx.statements.putCounts
	s.BindInt64(1, minutes)
	s.BindInt64(2, c.At)
	for i, n := range c.Numbers {
		s.BindInt64(3+i, n)
	}
	tx.text = c.AppendLatencies(tx.text[:0])
	database.BindText(s, 3+len(c.Numbers), string(tx.text))
	backlog := ""
	if len(c.Backlog) > 0 {
		text, err := json.Marshal(c.Backlog)
		if err != nil {
			return fmt.Errorf("encoding a backlog: %w", err)
		}
		backlog = string(text)
	}
	database.BindText(s, 4+len(c.Numbers), backlog)
	return database.Step(s)
}

// loadCounts reads the counts of the present minute.
func (db *DB) loadCounts() error {
	db.counts = layout.Counts{}
	return database.Query(db.conn, "SELECT "+database.CountColumns+" FROM counts WHERE minutes = 0", func(row *sqlite.Stmt) error {
		db.counts = database.ReadCounts(row)
		return nil
	})
}

// countEvent counts an event that is being stored.
func (tx *transaction) countEvent(decision string, duplicate bool) error {
	c, err := tx.countNow()
	if err != nil {
		return err
	}
	if duplicate {
		decision = string(queue.DuplicateEvents)
	}
	for i, name := range layout.Counted[:layout.CountedDecisions] {
		if name == decision {
			c.Numbers[i]++
		}
	}
	return nil
}

// countSettled counts what a settlement says, if it says anything: since is when
// the delivery began to wait, 0 if that is not known.
func (tx *transaction) countSettled(state int64, attempted bool, since, at int64) error {
	if state == layout.Pending && !attempted {
		return nil
	}
	c, err := tx.countNow()
	if err != nil {
		return err
	}
	if state == layout.Pending {
		c.Numbers[layout.CountedRetries]++
		return nil
	}
	c.Numbers[layout.CountedStates+state]++
	if state == layout.Delivered && since != 0 {
		c.Latencies[layout.LatencyClass(at-since)]++
	}
	return nil
}
