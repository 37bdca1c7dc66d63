package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// amend is one call of Amend on its way through the writer.
type amend struct {
	waiter
	amendments []amendment
	refused    error
}

// amendment is what is added to one stored event.
type amendment struct {
	event    int64
	uuid     string
	decision string // '' with verdict: stays
	verdict  string
	held     []string // rules

	deliveries []queue.Delivery
	plans      []layout.Plan
	actions    []*action
}

// Amend implements queue.Queue.
func (db *DB) Amend(ctx context.Context, amendments []queue.Amendment) error {
	if err := db.amend(ctx, amendments); err != nil {
		return fmt.Errorf("adding to stored events: %w", err)
	}
	return nil
}

func (db *DB) amend(ctx context.Context, amendments []queue.Amendment) error {
	if len(amendments) == 0 {
		return nil
	}
	if err := db.takesEvents(); err != nil {
		return err
	}
	c := &amend{amendments: make([]amendment, len(amendments))}
	for i := range amendments {
		if err := c.amendments[i].encode(&amendments[i]); err != nil {
			return err
		}
	}
	if err := db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		ids := make([]string, len(c.amendments))
		for i, a := range c.amendments {
			ids[i] = a.uuid
		}
		events, err := history.EventsOf(conn, ids)
		if err != nil {
			return err
		}
		for i := range c.amendments {
			a := &c.amendments[i]
			if a.event = events[a.uuid]; a.event == 0 {
				return fmt.Errorf("event %s: %w", a.uuid, queue.ErrNotFound)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	// Deliveries of one order key go in order of receipt, also among these.
	slices.SortStableFunc(c.amendments, func(a, b amendment) int { return cmp.Compare(a.event, b.event) })
	if err := db.do(ctx, c); err != nil {
		return err
	}
	return c.refused
}

func (a *amendment) encode(from *queue.Amendment) error {
	a.uuid = from.Event
	if from.Verdict != nil {
		verdict, err := json.Marshal(from.Verdict)
		if err != nil {
			return fmt.Errorf("encoding the verdict on event %s: %w", from.Event, err)
		}
		a.verdict, a.decision, a.held = string(verdict), string(from.Verdict.Decision), from.Verdict.Held
	}
	a.deliveries = from.Deliveries
	for i := range from.Deliveries {
		p, err := layout.PlanOf(&from.Deliveries[i], from.Event)
		if err != nil {
			return err
		}
		a.plans = append(a.plans, p)
	}
	return nil
}

func (*amend) needsRoom() bool { return true }
func (c *amend) prepare(db *DB) {
	for i := range c.amendments {
		a := &c.amendments[i]
		a.actions = make([]*action, len(a.deliveries))
		for j := range a.deliveries {
			a.actions[j] = db.action(a.deliveries[j].Action)
		}
	}
}

// write checks all before it changes anything: an event can have been removed
// since it was looked up.
func (c *amend) write(tx *transaction) error {
	c.refused = nil
	added, now := make(map[int64]int), 0
	for i := range c.amendments {
		a := &c.amendments[i]
		stored, err := tx.storedEvent(a.event)
		if err != nil {
			return err
		}
		have := len(stored.plans) + added[a.event]
		switch {
		case stored.uuid != a.uuid:
			c.refused = fmt.Errorf("event %s: %w", a.uuid, queue.ErrNotFound)
		case stored.err != nil && len(a.plans) > 0:
			c.refused = fmt.Errorf("event %s: %w: %w", a.uuid, queue.ErrRefused, stored.err)
		case have+len(a.plans) > layout.MaxDeliveries:
			c.refused = fmt.Errorf("event %s: %w: it has %d deliveries, at most %d can be stored, and %d were to be added", a.uuid, queue.ErrRefused, have, layout.MaxDeliveries, len(a.plans))
		}
		if c.refused != nil {
			return nil
		}
		added[a.event] += len(a.plans)
		now += len(a.plans)
	}
	if c.refused = tx.refusePending(now); c.refused != nil {
		return nil
	}
	for i := range c.amendments {
		if err := c.amendments[i].write(tx); err != nil {
			return err
		}
	}
	return nil
}

func (a *amendment) write(tx *transaction) error {
	stored, err := tx.storedEvent(a.event)
	if err != nil {
		return err
	}
	if a.verdict != "" {
		tx.useRulesAgain(stored, a.held)
		stored.verdict, stored.kind.Decision = a.verdict, a.decision
	}
	first := len(stored.plans)
	for _, p := range a.plans {
		p.Added = tx.now
		stored.plans = append(stored.plans, p)
	}
	if err := tx.storeEvent(a.event, stored); err != nil {
		return err
	}
	for i, p := range a.plans {
		if err := tx.rememberAddition(p.ID, a.event); err != nil {
			return err
		}
		// It has a time of its own, because memory may already be past the fresh
		// deliveries of its event.
		d := &scheduler.Delivery{Delivery: a.deliveries[i], Number: layout.DeliveryID(a.event, first+i), Added: tx.now}
		if err := tx.wait(a.actions[i], d, max(p.Due, tx.now, 1)); err != nil {
			return err
		}
		if !stored.test {
			tx.useAction(a.actions[i], tx.now)
		}
		if d.Due < layout.Behind {
			tx.released = append(tx.released, a.actions[i])
		}
	}
	return nil
}

func (c *amend) apply(*DB) {}

func (c *amend) answer(err error) { c.done <- err }

// storedEvent is what may change of an event's row.
type storedEvent struct {
	uuid    string // empty: there is none
	test    bool
	repeats bool // another
	kind    layout.Kind
	verdict string
	plans   []layout.Plan
	err     error // why plans cannot be read
}

// storedEvent reads an event's row. The + keeps SQLite from preparing the join anew for
// each value of the parameter.
func (tx *transaction) storedEvent(id int64) (e storedEvent, err error) {
	err = database.Query(tx.conn, "SELECT e.uuid, k.source, k.event, k.decision, k.actions, e.verdict, e.deliveries, e.test, e.duplicate_of IS NOT NULL FROM events e CROSS JOIN kinds k ON k.id = e.kind WHERE e.id = +?",
		func(row *sqlite.Stmt) error {
			e.uuid = row.ColumnText(0)
			e.kind = layout.Kind{Source: row.ColumnText(1), Event: row.ColumnText(2), Decision: row.ColumnText(3), Actions: row.ColumnText(4)}
			e.verdict = row.ColumnText(5)
			e.plans, e.err = layout.DecodePlans(database.ColumnBytes(row, 6))
			e.test, e.repeats = row.ColumnBool(7), row.ColumnBool(8)
			return nil
		}, id)
	return e, err
}

// storeEvent writes back what storedEvent read. The kind follows the actions of
// the deliveries.
func (tx *transaction) storeEvent(id int64, e storedEvent) error {
	text := ""
	if e.err == nil && len(e.plans) > 0 {
		text = layout.EncodePlans(e.plans)
		e.kind.Actions = layout.ActionsOf(e.plans)
	}
	kindID, err := tx.kind(e.kind)
	if err != nil {
		return err
	}
	tx.bytes += int64(len(text)+len(e.verdict)) + database.PageSize
	return database.Query(tx.conn, "UPDATE events SET kind = ?, verdict = nullif(?, ''), deliveries = coalesce(nullif(?, ''), deliveries) WHERE id = ?",
		func(*sqlite.Stmt) error { return nil }, kindID, e.verdict, text, id)
}

// rememberAddition makes an event be found by the id of a delivery that was added to it.
func (tx *transaction) rememberAddition(delivery string, event int64) error {
	return database.Query(tx.conn, "INSERT OR REPLACE INTO additions (uuid, event) VALUES (?, ?)", func(*sqlite.Stmt) error { return nil }, delivery, event)
}
