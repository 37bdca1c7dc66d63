package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// changing is a command that changes events or their deliveries.
type changing interface {
	// changed calls f with the UUID of each event that it changed, once it is
	// committed.
	changed(f func(uuid string))
}

// tellWatchers tells the watchers what a batch changed, once it is committed.
func (db *DB) tellWatchers(batch []command) {
	if !db.watchers.Watched() {
		return
	}
	db.watchers.Tell(func(add func(event string)) {
		for _, c := range batch {
			if c, ok := c.(changing); ok {
				c.changed(add)
			}
		}
	})
}

func (p *put) changed(f func(string)) {
	if p.refused != nil {
		return
	}
	for i := range p.entries {
		f(p.entries[i].Event.ID)
	}
}

func (s *settlement) changed(f func(string)) { f(s.Event) }

func (c *amend) changed(f func(string)) {
	if c.refused != nil {
		return
	}
	for i := range c.amendments {
		f(c.amendments[i].uuid)
	}
}

func (c *cancel) changed(f func(string)) {
	for _, uuid := range c.uuids {
		f(uuid)
	}
}

// uuidsOf returns the UUIDs of the events of deliveries, for those who watch.
func (tx *transaction) uuidsOf(deliveries []int64) (uuids []string, err error) {
	if !tx.db.watchers.Watched() {
		return nil, nil
	}
	for _, id := range deliveries {
		if err := database.Query(tx.conn, "SELECT uuid FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
			uuids = append(uuids, row.ColumnText(0))
			return nil
		}, id>>layout.DeliveryBits); err != nil {
			return nil, err
		}
	}
	return uuids, nil
}
