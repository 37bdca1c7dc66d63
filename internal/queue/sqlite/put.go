package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// maxRow bounds what is stored of one event; SQLite's own bound is 1 GB.
const maxRow = 512 << 20

// put is one call of Put on its way through the writer. All encoding is done
// by the caller, so that the writer only writes.
type put struct {
	entries  []entry
	receipts []queue.Receipt
	size     int64               // roughly the bytes that it will write
	keys     map[[16]byte]string // dedupe keys of the entries that are no duplicates
	refused  error
	done     chan error

	// text holds the texts of the entries, encoded. A put that is used again writes over
	// those of the one before.
	text []byte

	// one is where the entry of a single event stands, as nearly all calls have.
	one [1]entry
}

// maxText bounds in bytes the texts for which a put keeps its memory.
const maxText = 64 << 10

// putOf returns a put of n events. Its receipts are the caller's to keep.
func (db *DB) putOf(n int) *put {
	p, again := db.puts.Get().(*put)
	if !again {
		p = &put{done: make(chan error, 1)}
	}
	if p.entries = p.one[:]; n != 1 {
		p.entries = make([]entry, n)
	}
	p.receipts = make([]queue.Receipt, n)
	return p
}

// reuse ends the use of a put that was answered: the writer does not look at it again.
func (db *DB) reuse(p *put) {
	text := p.text[:0]
	if cap(text) > maxText {
		text = nil
	}
	*p = put{done: p.done, text: text}
	db.puts.Put(p)
}

// entry is one event as it will be stored.
type entry struct {
	layout.Entry
	span database.Span // the times that may be used to look for it

	deliveries []scheduler.Delivery
	actions    []*action
	due        []int64
}

// Put implements queue.Queue.
func (db *DB) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("storing events: %w", err)
	}
	if err := db.takesEvents(); err != nil {
		return nil, fmt.Errorf("storing events: %w", err)
	}
	p := db.putOf(len(entries))
	for i := range entries {
		if err := p.encode(i, &entries[i]); err != nil {
			return nil, fmt.Errorf("storing events: %w", err)
		}
		p.size += p.entries[i].size()
	}
	if err := db.enqueue(p); err != nil {
		return nil, fmt.Errorf("storing events: %w", err)
	}
	select {
	case err := <-p.done:
		receipts := p.receipts
		db.reuse(p)
		if err != nil {
			return nil, fmt.Errorf("storing events: %w", err)
		}
		return receipts, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("storing events: they may be stored or not: %w", ctx.Err())
	}
}

// encode prepares what will be written of one entry.
func (p *put) encode(i int, from *queue.Entry) (err error) {
	e := &p.entries[i]
	if e.Entry, p.text, err = layout.EncodeEntry(from, p.text); err != nil {
		return err
	}
	e.span = database.Span{Oldest: e.Received, Newest: e.Received}
	e.span.Include(database.TimeOfUUID(e.Event.ID))
	if size := len(e.Record) + len(e.Event.RawBody) + len(e.Verdict); size > maxRow {
		return fmt.Errorf("event %s takes %d bytes; at most %d can be stored", e.Event.ID, size, maxRow)
	}
	return e.encodeDeliveries(from.Deliveries)
}

func (e *entry) size() int64 {
	return int64(len(e.Record) + len(e.Event.RawBody) + len(e.Verdict) + len(e.Plans) + len(e.Event.Subject) + 128)
}

func (e *entry) encodeDeliveries(deliveries []queue.Delivery) (err error) {
	if len(deliveries) == 0 {
		return nil
	}
	plans := make([]layout.Plan, len(deliveries))
	e.deliveries = make([]scheduler.Delivery, len(deliveries))
	e.due = make([]int64, len(deliveries))
	size := layout.EventSize(len(e.Record), len(e.Event.RawBody))
	for i, d := range deliveries {
		if plans[i], err = layout.PlanOf(&d, e.Event.ID); err != nil {
			return err
		}
		d.Attempts, d.FirstAttempt = 0, time.Time{}
		e.span.Include(database.TimeOfUUID(d.ID))
		e.due[i] = plans[i].Due
		e.deliveries[i] = scheduler.Delivery{Delivery: d, Event: e.Event, Size: size}
	}
	e.EncodePlans(plans)
	return nil
}

func (*put) needsRoom() bool { return true }

// prepare finds the actions in memory. DB.mu is held.
func (p *put) prepare(db *DB) {
	for i := range p.entries {
		e := &p.entries[i]
		if len(e.deliveries) == 0 {
			continue
		}
		e.actions = make([]*action, len(e.deliveries))
		for j := range e.deliveries {
			e.actions[j] = db.action(e.deliveries[j].Action)
		}
	}
}

// write stores the entries, unless there are too many unfinished deliveries.
func (p *put) write(tx *transaction) error {
	p.refused = nil
	if len(p.entries) > 1 {
		p.keys = make(map[[16]byte]string)
	}
	deliveries := 0
	for i := range p.entries {
		e := &p.entries[i]
		p.receipts[i] = queue.Receipt{}
		if e.Dedupe {
			original, err := p.original(tx, i)
			if err != nil {
				return err
			}
			if original == "" && len(p.entries) > 1 {
				p.keys[e.Key] = e.Event.ID
			}
			p.receipts[i].DuplicateOf = original
		}
		if p.receipts[i].DuplicateOf == "" {
			deliveries += len(e.deliveries)
		}
	}
	if p.refused = tx.refusePending(deliveries); p.refused != nil {
		return nil
	}
	for i := range p.entries {
		if err := p.entries[i].write(tx, p.receipts[i].DuplicateOf); err != nil {
			return err
		}
	}
	return nil
}

func (e *entry) write(tx *transaction, duplicateOf string) error {
	id := tx.newEvent(e.span)
	row := e
	if duplicateOf != "" {
		without := *e
		without.Kind.Actions, without.Plans = "", ""
		row = &without
	}
	if err := row.writeRow(tx, id, duplicateOf); err != nil {
		return err
	}
	if err := tx.countEvent(e.Kind.Decision, duplicateOf != ""); err != nil {
		return err
	}
	if duplicateOf != "" {
		return nil
	}
	if !e.Event.Test {
		tx.useEvent(e.Kind.Source, e.Kind.Event, e.Received, e.Held)
		for _, a := range e.actions {
			tx.useAction(a, e.Received)
		}
	}
	if e.Dedupe {
		if err := tx.remember(e); err != nil {
			return err
		}
	}
	for i := range e.deliveries {
		d := &e.deliveries[i]
		d.Number = layout.DeliveryID(id, i)
		if err := tx.wait(e.actions[i], d, e.due[i]); err != nil {
			return err
		}
	}
	return nil
}

// writeRow writes the event's row.
func (e *entry) writeRow(tx *transaction, id int64, duplicateOf string) error {
	kindID, err := tx.kind(e.Kind)
	if err != nil {
		return err
	}
	s := tx.statements.putEvent
	s.BindInt64(1, id)
	s.BindInt64(2, kindID)
	s.BindInt64(3, e.Received)
	s.BindText(4, e.Event.ID)
	if e.Event.Test {
		s.BindInt64(5, 1)
	} else {
		s.BindNull(5)
	}
	database.BindText(s, 6, e.Tenant)
	database.BindText(s, 7, e.Event.ParseError)
	database.BindText(s, 8, duplicateOf)
	s.BindText(9, e.Verdict)
	database.BindText(s, 10, e.Plans)
	s.BindText(11, e.Record)
	if len(e.Event.RawBody) > 0 {
		s.BindBytes(12, e.Event.RawBody)
	} else {
		s.BindNull(12)
	}
	if e.Checksum == layout.NoChecksum {
		s.BindNull(13)
	} else {
		s.BindInt64(13, e.Checksum)
	}
	database.BindText(s, 14, e.Event.Subject)
	if err := database.Step(s); err != nil {
		return err
	}
	tx.bytes += e.size()
	return nil
}

// wait adds a row to the table waiting.
func (tx *transaction) wait(a *action, d *scheduler.Delivery, due int64) error {
	if err := tx.storeAction(a); err != nil {
		return err
	}
	tx.count(a, 1)
	d.Due = due
	if d.OrderKey != "" {
		first, err := tx.firstOfKey(a, d.OrderKey)
		if err != nil {
			return err
		}
		if !first {
			d.Due += layout.Behind
		}
	}
	if d.Due == 0 && d.OrderKey == "" {
		s := tx.statements.wait
		s.BindInt64(1, a.row)
		s.BindInt64(2, d.Number)
		return database.Step(s)
	}
	s := tx.statements.waitTimed
	s.BindInt64(1, a.row)
	s.BindInt64(2, d.Number)
	database.BindInt(s, 3, d.Due)
	database.BindText(s, 4, d.OrderKey)
	database.BindInt(s, 5, d.Added)
	return database.Step(s)
}

func (p *put) apply(db *DB) {
	if p.refused != nil {
		return
	}
	for i := range p.entries {
		e := &p.entries[i]
		if p.receipts[i].DuplicateOf != "" {
			continue
		}
		for j := range e.deliveries {
			db.scheduler.HandOver(&e.actions[j].Action, &e.deliveries[j])
		}
	}
}

func (p *put) answer(err error) {
	if err == nil {
		err = p.refused
	}
	p.done <- err
}
