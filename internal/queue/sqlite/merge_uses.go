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
	theirs := things{events: make(map[eventName]*thing), others: make(map[thingName]*thing)}
	if err := listUses(from, func(t thing) { theirs.add(&t) }); err != nil {
		return err
	}
	counted, err := countedUpTo(from)
	if err != nil {
		return err
	}
	if err := countUses(from, counted, func(of *queue.Thing, received int64) {
		if t := theirs.find(of); t != nil {
			t.uses.add(1, received, received)
		}
	}); err != nil {
		return err
	}
	theirs.all(func(t *thing) { c.things = append(c.things, *t) })
	if err := database.Query(from, "SELECT name, "+actionUsesColumns+" FROM actions", func(row *sqlite.Stmt) error {
		c.actions = append(c.actions, mergingAction{name: row.ColumnText(0), uses: readActionUses(row, 1)})
		return nil
	}); err != nil {
		return err
	}
	return db.rest(ctx, c)
}

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
	added := make(map[string]int64)
	if err := database.Query(tx.conn, "SELECT uses FROM merged WHERE identity = ? AND uses IS NOT NULL", func(row *sqlite.Stmt) error {
		return json.Unmarshal(database.ColumnBytes(row, 0), &added)
	}, m.identity); err != nil {
		return fmt.Errorf("reading what was added before: %w", err)
	}
	// more returns how much of a count was not added before.
	more := func(kind, name string, count int64) int64 {
		key := kind + " " + name
		n := max(count-added[key], 0)
		if n > 0 {
			added[key] = count
		}
		return n
	}
	for i := range m.things {
		if err := tx.mergeThing(&m.things[i], more); err != nil {
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
		ours.made.add(more("made", a.name, theirs.made.count), theirs.made.first, theirs.made.last)
		ours.delivered += more("delivered", a.name, theirs.delivered)
		ours.failed += more("failed", a.name, theirs.failed)
		ours.expired += more("expired", a.name, theirs.expired)
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
func (tx *transaction) mergeThing(theirs *thing, more func(kind, name string, count int64) int64) error {
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
	tx.use(ours, more(string(theirs.Kind), theirs.Name, theirs.uses.count), theirs.uses.first, theirs.uses.last)
	return nil
}
