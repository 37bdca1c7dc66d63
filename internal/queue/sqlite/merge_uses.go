package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// mergeUses adds the uses that another database counted.
func (db *DB) mergeUses(ctx context.Context, from *sqlite.Conn, identity string) error {
	if have, err := database.QueryInt(from, "PRAGMA user_version"); err != nil || have < 4 {
		return err // it counted none
	}
	c := &mergingUses{identity: identity}
	var err error
	if c.things, c.actions, err = usesOf(from); err != nil {
		return err
	}
	return db.rest(ctx, c)
}

// usesOf returns the uses in a database that is not in use, those after the last
// that was written included.
func usesOf(from *sqlite.Conn) (all []thing, actions []mergingAction, err error) {
	known := things{events: make(map[eventName]*thing), others: make(map[thingName]*thing)}
	if err := listUses(from, func(t thing) { known.add(&t) }); err != nil {
		return nil, nil, err
	}
	counted, err := countedUpTo(from)
	if err != nil {
		return nil, nil, err
	}
	if err := countUses(from, counted, func(of *queue.Thing, received int64) {
		if t := known.find(of); t != nil {
			t.uses.add(1, received, received)
		}
	}); err != nil {
		return nil, nil, err
	}
	known.all(func(t *thing) { all = append(all, *t) })
	err = database.Query(from, "SELECT name, "+actionUsesColumns+" FROM actions", func(row *sqlite.Stmt) error {
		actions = append(actions, mergingAction{name: row.ColumnText(0), uses: readActionUses(row, 1)})
		return nil
	})
	return all, actions, err
}

// addedUses is how much of the uses of another database is in this one, by what each
// counts. It stands in merged.uses as JSON.
type addedUses map[string]int64

// more returns how much of a count was not added before, and notes that it is now.
func (added addedUses) more(kind, name string, count int64) int64 {
	key := kind + " " + name
	n := max(count-added[key], 0)
	if n > 0 {
		added[key] = count
	}
	return n
}

// The kinds of uses of actions in addedUses.
const (
	addedMade      = "made"
	addedDelivered = "delivered"
	addedFailed    = "failed"
	addedExpired   = "expired"
)

// mergingUses adds uses of another database, as far as they were not added before.
type mergingUses struct {
	waiter
	identity string
	things   []thing
	actions  []mergingAction
}

type mergingAction struct {
	name string
	uses actionUses
	*action
}

func (*mergingUses) needsRoom() bool { return true }
func (m *mergingUses) apply(*DB)     {}

func (m *mergingUses) prepare(db *DB) {
	for i := range m.actions {
		m.actions[i].action = db.action(m.actions[i].name)
	}
}

func (m *mergingUses) write(tx *transaction) error {
	tx.writesUses = true
	added := make(addedUses)
	if err := database.Query(tx.conn, "SELECT uses FROM merged WHERE identity = ? AND uses IS NOT NULL", func(row *sqlite.Stmt) error {
		return json.Unmarshal(database.ColumnBytes(row, 0), &added)
	}, m.identity); err != nil {
		return fmt.Errorf("reading what was added before: %w", err)
	}
	for i := range m.things {
		if err := tx.mergeThing(&m.things[i], added); err != nil {
			return err
		}
	}
	for _, a := range m.actions {
		theirs := a.uses
		if theirs == (actionUses{}) {
			continue
		}
		if err := tx.storeAction(a.action); err != nil {
			return err
		}
		tx.touch(a.action)
		ours := &a.action.next
		ours.made.add(added.more(addedMade, a.name, theirs.made.count), theirs.made.first, theirs.made.last)
		ours.delivered += added.more(addedDelivered, a.name, theirs.delivered)
		ours.failed += added.more(addedFailed, a.name, theirs.failed)
		ours.expired += added.more(addedExpired, a.name, theirs.expired)
	}
	text, err := json.Marshal(added)
	if err != nil {
		return fmt.Errorf("encoding what was added: %w", err)
	}
	return database.Query(tx.conn, "INSERT INTO merged (identity, counted, uses) VALUES (?, -1, ?) ON CONFLICT DO UPDATE SET uses = excluded.uses",
		func(*sqlite.Stmt) error { return nil }, m.identity, string(text))
}

// mergeThing adds a thing of another database. It exists as long as it did in
// either.
func (tx *transaction) mergeThing(theirs *thing, added addedUses) error {
	ours := tx.db.things.find(&theirs.Thing)
	if ours == nil {
		ours = &thing{Thing: theirs.Thing, since: theirs.since, gone: theirs.gone}
		if ours.gone == 0 {
			ours.gone = tx.now
		}
		if err := tx.addThing(ours); err != nil {
			return err
		}
	} else if theirs.since < ours.since {
		if err := tx.changeThing(ours, ours.Place, theirs.since, ours.gone); err != nil {
			return err
		}
	}
	tx.use(ours, added.more(string(theirs.Kind), theirs.Name, theirs.uses.count), theirs.uses.first, theirs.uses.last)
	return nil
}
