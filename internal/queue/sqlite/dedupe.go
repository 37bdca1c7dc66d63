package sqlite

import (
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// original returns the UUID of the event that entry i repeats, or "".
func (p *put) original(tx *transaction, i int) (string, error) {
	e := &p.entries[i]
	if first, ok := p.keys[e.Key]; ok {
		return first, nil
	}
	s := tx.statements.getDedupe
	s.BindBytes(1, e.Key[:])
	found, err := s.Step()
	if err != nil {
		return "", err
	}
	uuid, stored := s.ColumnText(0), s.ColumnInt64(1)
	if err := s.Reset(); err != nil || !found {
		return "", err
	}
	// A mark from the future was made before the clock was set back: within the
	// window it counts, so that setting the clock lets nothing through twice;
	// beyond, it would suppress events for as long as the clock was wrong.
	if age := tx.now - stored; age >= e.Window || age <= -e.Window {
		return "", nil
	}
	return uuid, nil
}

// remember stores the key of an event. To each new mark two old ones are
// removed, so that the table needs no other care.
func (tx *transaction) remember(e *entry) error {
	put := tx.statements.putDedupe
	put.BindBytes(1, e.Key[:])
	put.BindText(2, e.Event.ID)
	put.BindInt64(3, tx.now)
	put.BindInt64(4, tx.now+e.Window)
	if err := database.Step(put); err != nil {
		return err
	}
	old := tx.statements.oldDedupe
	old.BindInt64(1, tx.now)
	return database.Step(old)
}
