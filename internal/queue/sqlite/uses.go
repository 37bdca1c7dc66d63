package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// The uses of events and rules are counted in memory and written once in a while,
// one row for each that was used: each minute, and after countEvents events. The
// fact "counted" says up to which event that is done. After a crash the events
// behind it are counted again. What removes or changes one of those has all uses
// written in the same transaction.
//
// The uses of actions stand in the table actions: each transaction that makes or
// ends deliveries writes that row anyway.

// thing is an event, a rule or an action that a configuration has, or had.
type thing struct {
	queue.Thing
	since, gone int64

	uses    uses // as committed
	next    uses // as the current transaction sees them
	touched bool // by the current transaction
	dirty   bool // the table does not have uses yet
}

// uses is how often something was used, and when first and last.
type uses struct{ count, first, last int64 }

// add counts n uses from a time to another.
func (u *uses) add(n, first, last int64) {
	if n == 0 {
		return
	}
	if u.count == 0 || first < u.first {
		u.first = first
	}
	if u.count == 0 || last > u.last {
		u.last = last
	}
	u.count += n
}

// actionUses is how often an action was used, and how its deliveries ended.
type actionUses struct {
	made                       uses
	delivered, failed, expired int64
}

const (
	actionUsesColumns = "made, first, last, delivered, failed, expired"
	actionUsesCount   = 6
)

func readActionUses(row *sqlite.Stmt, column int) actionUses {
	return actionUses{
		uses{row.ColumnInt64(column), row.ColumnInt64(column + 1), row.ColumnInt64(column + 2)},
		row.ColumnInt64(column + 3), row.ColumnInt64(column + 4), row.ColumnInt64(column + 5),
	}
}

func (u *actionUses) bind(s *sqlite.Stmt, param int) {
	u.made.bind(s, param)
	s.BindInt64(param+3, u.delivered)
	s.BindInt64(param+4, u.failed)
	s.BindInt64(param+5, u.expired)
}

func (u *uses) bind(s *sqlite.Stmt, param int) {
	s.BindInt64(param, u.count)
	database.BindInt(s, param+1, u.first)
	database.BindInt(s, param+2, u.last)
}

// things are all things, found without making a text first.
type things struct {
	events map[eventName]*thing
	others map[thingName]*thing
}

type eventName struct{ source, event string }

type thingName struct {
	kind queue.ThingKind
	name string
}

func eventNameOf(t *queue.Thing) eventName {
	source, event, _ := strings.Cut(t.Name, ":") // names of sources have no colon
	return eventName{source, event}
}

func (t *things) find(of *queue.Thing) *thing {
	if of.Kind == queue.EventThing {
		return t.events[eventNameOf(of)]
	}
	return t.others[thingName{of.Kind, of.Name}]
}

func (t *things) add(new *thing) {
	if new.Kind == queue.EventThing {
		t.events[eventNameOf(&new.Thing)] = new
	} else {
		t.others[thingName{new.Kind, new.Name}] = new
	}
}

func (t *things) remove(old *thing) {
	if old.Kind == queue.EventThing {
		delete(t.events, eventNameOf(&old.Thing))
	} else {
		delete(t.others, thingName{old.Kind, old.Name})
	}
}

// all calls f for each thing.
func (t *things) all(f func(*thing)) {
	for _, thing := range t.events {
		f(thing)
	}
	for _, thing := range t.others {
		f(thing)
	}
}

// use counts uses of a thing, if there is such a thing.
func (tx *transaction) use(t *thing, n, first, last int64) {
	if t == nil {
		return
	}
	if !t.touched {
		t.next, t.touched = t.uses, true
		tx.used = append(tx.used, t)
	}
	t.next.add(n, first, last)
}

// useEvent counts an event that is being stored, and the rules that held for it.
func (tx *transaction) useEvent(source, event string, received int64, held []string) {
	tx.use(tx.db.things.events[eventName{source, event}], 1, received, received)
	for _, rule := range held {
		tx.use(tx.db.things.others[thingName{queue.RuleThing, rule}], 1, received, received)
	}
}

// useRulesAgain counts the rules that hold for an event which is decided again,
// and did not hold before. The event's row does not tell what was counted, so the
// counts are written at once.
func (tx *transaction) useRulesAgain(before storedEvent, held []string) {
	tx.writesUses = true
	if before.test || before.repeats {
		return
	}
	for _, rule := range layout.NewlyHeld(before.verdict, held) {
		tx.use(tx.db.things.others[thingName{queue.RuleThing, rule}], 1, tx.now, tx.now)
	}
}

// keepCount has uses written if an event is not counted in the table yet: it is
// about to go.
func (tx *transaction) keepCount(event int64) {
	if event > tx.db.counted {
		tx.writesUses = true
	}
}

// useAction counts a delivery that is made.
func (tx *transaction) useAction(a *action, at int64) {
	tx.touch(a)
	a.next.made.add(1, at, at)
}

// endAction counts a delivery that ended.
func (tx *transaction) endAction(a *action, state int64) {
	switch state {
	case layout.Delivered:
		tx.touch(a)
		a.next.delivered++
	case layout.Failed:
		tx.touch(a)
		a.next.failed++
	case layout.Expired:
		tx.touch(a)
		a.next.expired++
	}
}

// mendAction no longer counts a delivery as one that ended in a state, because it is
// mended.
func (tx *transaction) mendAction(name string, state, event int64) error {
	stored, err := tx.storedEvent(event)
	if err != nil || stored.test {
		return err
	}
	tx.db.mu.Lock()
	a := tx.db.action(name)
	tx.db.mu.Unlock()
	if err := tx.storeAction(a); err != nil {
		return err
	}
	tx.touch(a)
	switch state {
	case layout.Failed:
		a.next.failed = max(a.next.failed-1, 0)
	case layout.Expired:
		a.next.expired = max(a.next.expired-1, 0)
	}
	return nil
}

// writeUses writes the uses that the table does not have, once in a while.
func (tx *transaction) writeUses() error {
	db := tx.db
	if tx.lastEvent-db.counted >= db.options.limits.countEvents {
		tx.writesUses = true
	}
	if !tx.writesUses {
		return nil
	}
	for _, t := range tx.used {
		if err := tx.putUses(t, &t.next); err != nil {
			return err
		}
	}
	for _, t := range db.unwritten {
		if !t.touched {
			if err := tx.putUses(t, &t.uses); err != nil {
				return err
			}
		}
	}
	if tx.lastEvent == db.counted {
		return nil
	}
	return database.Query(tx.conn, "UPDATE facts SET text = ? WHERE name = 'counted'", func(*sqlite.Stmt) error { return nil }, strconv.FormatInt(tx.lastEvent, 10))
}

func (tx *transaction) putUses(t *thing, u *uses) error {
	s := tx.statements.putUses
	u.bind(s, 1)
	s.BindText(4, string(t.Kind))
	s.BindText(5, t.Name)
	return database.Step(s)
}

// usesCommitted makes known what was counted. DB.mu is held.
func (tx *transaction) usesCommitted() {
	db := tx.db
	for _, t := range tx.used {
		t.uses, t.touched = t.next, false
		if !t.dirty {
			t.dirty = true
			db.unwritten = append(db.unwritten, t)
		}
	}
	if tx.writesUses {
		for _, t := range db.unwritten {
			t.dirty = false
		}
		clear(db.unwritten)
		db.unwritten, db.counted = db.unwritten[:0], tx.lastEvent
	}
}

// usesUndone forgets what was counted.
func (tx *transaction) usesUndone() {
	for _, t := range tx.used {
		t.touched = false
	}
	tx.db.mu.Lock()
	defer tx.db.mu.Unlock()
	for _, undo := range slices.Backward(tx.undo) {
		undo()
	}
}

// change changes what is known of things. Later commands of the transaction go by
// it already; undo is called if the transaction fails.
func (tx *transaction) change(do, undo func()) {
	tx.db.mu.Lock()
	defer tx.db.mu.Unlock()
	do()
	tx.undo = append(tx.undo, undo)
}

func (tx *transaction) addThing(t *thing) error {
	tx.bytes += database.PageSize
	things := &tx.db.things
	tx.change(func() { things.add(t) }, func() { things.remove(t) })
	return database.Query(tx.conn, "INSERT INTO uses (kind, name, place, since, gone) VALUES (?, ?, nullif(?, ''), ?, nullif(?, 0))",
		func(*sqlite.Stmt) error { return nil }, string(t.Kind), t.Name, t.Place, t.since, t.gone)
}

// changeThing changes all but the uses of a thing.
func (tx *transaction) changeThing(t *thing, place string, since, gone int64) error {
	before := *t
	tx.change(func() { t.Place, t.since, t.gone = place, since, gone }, func() { t.Place, t.since, t.gone = before.Place, before.since, before.gone })
	return database.Query(tx.conn, "UPDATE uses SET place = nullif(?, ''), since = ?, gone = nullif(?, 0) WHERE kind = ? AND name = ?",
		func(*sqlite.Stmt) error { return nil }, place, since, gone, string(t.Kind), t.Name)
}

func (tx *transaction) removeThing(t *thing) error {
	things := &tx.db.things
	tx.change(func() { things.remove(t) }, func() { things.add(t) })
	return database.Query(tx.conn, "DELETE FROM uses WHERE kind = ? AND name = ?", func(*sqlite.Stmt) error { return nil }, string(t.Kind), t.Name)
}

// writeLastUses writes uses at the end. If it cannot, they are counted again at the
// next start.
func (db *DB) writeLastUses() {
	if len(db.unwritten) == 0 {
		return
	}
	if err := db.commit([]command{writing{}}); err != nil {
		db.logger.Warn("how often rules and events were used cannot be written; it is counted again at the next start", zap.String("file", db.file), zap.Error(err))
	}
}

// writing has uses written.
type writing struct{}

func (writing) needsRoom() bool { return false }
func (writing) prepare(*DB)     {}
func (writing) apply(*DB)       {}
func (writing) answer(error)    {}
func (writing) write(tx *transaction) error {
	tx.writesUses = true
	return nil
}

// loadUses reads all things, and counts the events that the table does not have.
// DB.mu is held.
func (db *DB) loadUses() error {
	db.things = things{events: make(map[eventName]*thing), others: make(map[thingName]*thing)}
	db.unwritten = nil
	if err := listUses(db.conn, func(t thing) { db.things.add(&t) }); err != nil {
		return err
	}
	var err error
	if db.counted, err = countedUpTo(db.conn); err != nil {
		return err
	}
	// An id that is counted is never given again: it would not be counted.
	db.lastEvent = max(db.lastEvent, db.counted)
	return countUses(db.conn, db.counted, func(of *queue.Thing, received int64) {
		if t := db.things.find(of); t != nil {
			if t.uses.add(1, received, received); !t.dirty {
				t.dirty = true
				db.unwritten = append(db.unwritten, t)
			}
		}
	})
}

// listUses reads the table uses of a database.
func listUses(conn *sqlite.Conn, f func(thing)) error {
	return database.Query(conn, "SELECT kind, name, place, since, gone, count, first, last FROM uses", func(row *sqlite.Stmt) error {
		f(thing{
			Thing: queue.Thing{Kind: queue.ThingKind(row.ColumnText(0)), Name: row.ColumnText(1), Place: row.ColumnText(2)},
			since: row.ColumnInt64(3), gone: row.ColumnInt64(4), uses: uses{row.ColumnInt64(5), row.ColumnInt64(6), row.ColumnInt64(7)},
		})
		return nil
	})
}

// countedUpTo returns the last event that is counted in the table uses.
func countedUpTo(conn *sqlite.Conn) (int64, error) {
	return database.QueryInt(conn, "SELECT CAST(text AS INTEGER) FROM facts WHERE name = 'counted'")
}

const listUncounted = `SELECT e.received, k.source, k.event, CASE WHEN json_valid(e.verdict) THEN e.verdict -> '$.held' END
	FROM events e CROSS JOIN kinds k ON k.id = e.kind WHERE e.id > ? AND e.test IS NULL AND e.duplicate_of IS NULL`

// countUses calls f for each use of an event or rule by the events behind one.
func countUses(conn *sqlite.Conn, after int64, f func(of *queue.Thing, received int64)) error {
	return database.Query(conn, listUncounted, func(row *sqlite.Stmt) error {
		received := row.ColumnInt64(0)
		f(&queue.Thing{Kind: queue.EventThing, Name: row.ColumnText(1) + ":" + row.ColumnText(2)}, received)
		var held []string
		if text := database.ColumnBytes(row, 3); text != nil && json.Unmarshal(text, &held) != nil {
			return nil // it is no list of rules
		}
		for _, rule := range held {
			f(&queue.Thing{Kind: queue.RuleThing, Name: rule}, received)
		}
		return nil
	}, after)
}

// Exist implements queue.History.
func (db *DB) Exist(ctx context.Context, things []queue.Thing) error {
	if err := db.do(ctx, &existence{things: things}); err != nil {
		return fmt.Errorf("noting what the configuration has: %w", err)
	}
	return nil
}

// existence is one call of Exist on its way through the writer.
type existence struct {
	waiter
	things []queue.Thing
}

func (*existence) needsRoom() bool { return false }
func (c *existence) prepare(*DB)   {}
func (c *existence) apply(*DB)     {}

func (c *existence) write(tx *transaction) error {
	things := &tx.db.things
	present := make(map[*thing]bool, len(c.things))
	for i := range c.things {
		named := &c.things[i]
		t := things.find(named)
		switch {
		case t == nil:
			t = &thing{Thing: *named, since: tx.now}
			if err := tx.addThing(t); err != nil {
				return err
			}
		case present[t]:
			continue // the place of the first counts
		case t.gone != 0 || t.Place != named.Place:
			if err := tx.changeThing(t, named.Place, t.since, 0); err != nil {
				return err
			}
		}
		present[t] = true
	}
	var gone []*thing
	things.all(func(t *thing) {
		if !present[t] && t.gone == 0 {
			gone = append(gone, t)
		}
	})
	for _, t := range gone {
		if err := tx.changeThing(t, t.Place, t.since, tx.now); err != nil {
			return err
		}
	}
	return nil
}

// Uses implements queue.History. It reads nothing from the disk.
func (db *DB) Uses(ctx context.Context) ([]queue.Use, error) {
	err := ctx.Err()
	if err == nil {
		err = db.notOpen()
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err == nil && db.closing {
		err = queue.ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("reading how often things were used: %w", err)
	}
	all := make([]queue.Use, 0, len(db.things.events)+len(db.things.others))
	db.things.all(func(t *thing) {
		var made actionUses
		if a := db.actions[t.Name]; a != nil {
			made = a.uses
		}
		all = append(all, t.use(made))
	})
	return all, nil
}

// use returns the thing as queue.History has it. made is how often an action of its
// name was used.
func (t *thing) use(made actionUses) queue.Use {
	use := queue.Use{Thing: t.Thing, Since: layout.FromMicros(t.since)}
	if t.gone != 0 {
		use.Gone = layout.FromMicros(t.gone)
	}
	count := t.uses
	if t.Kind == queue.ActionThing {
		count = made.made
		use.Delivered, use.Failed, use.Expired = made.delivered, made.failed, made.expired
	}
	if use.Count = count.count; use.Count > 0 {
		use.First, use.Last = layout.FromMicros(count.first), layout.FromMicros(count.last)
	}
	return use
}

// pruneUses forgets the events and rules that are gone since before a time.
// Actions stay: their deliveries may still be in the history.
func (db *DB) pruneUses(ctx context.Context, before int64) error {
	p := &forgetting{before: before}
	db.mu.Lock()
	db.things.all(func(t *thing) { p.any = p.any || p.forgets(t) })
	db.mu.Unlock()
	if !p.any {
		return nil
	}
	return db.rest(ctx, p)
}

// forgetting is the part of Prune that forgets things.
type forgetting struct {
	waiter
	before int64
	any    bool
}

func (p *forgetting) forgets(t *thing) bool {
	return t.Kind != queue.ActionThing && t.gone != 0 && t.gone < p.before
}

func (*forgetting) needsRoom() bool { return false }
func (p *forgetting) prepare(*DB)   {}
func (p *forgetting) apply(*DB)     {}

func (p *forgetting) write(tx *transaction) error {
	var forgotten []*thing
	tx.db.things.all(func(t *thing) {
		if p.forgets(t) {
			forgotten = append(forgotten, t)
		}
	})
	for _, t := range forgotten {
		if err := tx.removeThing(t); err != nil {
			return err
		}
	}
	return nil
}
