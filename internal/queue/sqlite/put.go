package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
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
}

// entry is one event as it will be stored.
type entry struct {
	event    *event.Event
	kind     layout.Kind
	received int64
	span     database.Span // the times that may be used to look for it
	tenant   string
	verdict  string
	held     []string // rules
	plans    string   // events.deliveries
	record   string
	checksum int64 // of record and body

	deliveries []scheduler.Delivery
	actions    []*action
	due        []int64

	dedupe bool
	key    [16]byte
	window int64
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
	p := &put{entries: make([]entry, len(entries)), receipts: make([]queue.Receipt, len(entries)), done: make(chan error, 1)}
	for i := range entries {
		if err := p.entries[i].encode(&entries[i]); err != nil {
			return nil, fmt.Errorf("storing events: %w", err)
		}
		p.size += p.entries[i].size()
	}
	if err := db.enqueue(p); err != nil {
		return nil, fmt.Errorf("storing events: %w", err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			return nil, fmt.Errorf("storing events: %w", err)
		}
		return p.receipts, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("storing events: they may be stored or not: %w", ctx.Err())
	}
}

// encode prepares what will be written.
func (e *entry) encode(from *queue.Entry) error {
	stored := from.Event
	if stored == nil {
		return errors.New("an entry has no event")
	}
	if err := uuid.Validate(stored.ID); err != nil || len(stored.ID) != 36 {
		return fmt.Errorf("the event's id %q is not a UUID", stored.ID)
	}
	if len(from.Deliveries) > layout.MaxDeliveries {
		return fmt.Errorf("event %s has %d deliveries; at most %d can be stored", stored.ID, len(from.Deliveries), layout.MaxDeliveries)
	}
	e.event = stored
	e.received = layout.Micros(stored.Received)
	e.span = database.Span{Oldest: e.received, Newest: e.received}
	e.span.Include(database.TimeOfUUID(stored.ID))
	e.kind = layout.Kind{Source: stored.Source, Event: stored.Name, Decision: string(from.Verdict.Decision)}
	if tenant := stored.Parameters[event.Tenant]; tenant != nil {
		e.tenant = fmt.Sprint(tenant)
	}
	verdict, err := json.Marshal(from.Verdict)
	if err != nil {
		return fmt.Errorf("encoding the verdict on event %s: %w", stored.ID, err)
	}
	e.verdict, e.held = string(verdict), from.Verdict.Held
	record := stored.Record()
	e.record, e.checksum = string(record), layout.Checksum(record, stored.RawBody)
	if size := len(e.record) + len(stored.RawBody) + len(e.verdict); size > maxRow {
		return fmt.Errorf("event %s takes %d bytes; at most %d can be stored", stored.ID, size, maxRow)
	}
	if from.DedupeKey != "" && from.DedupeWindow > 0 {
		sum := sha256.Sum256([]byte(from.DedupeKey))
		e.dedupe, e.window = true, from.DedupeWindow.Microseconds()
		copy(e.key[:], sum[:])
	}
	return e.encodeDeliveries(from.Deliveries)
}

func (e *entry) size() int64 {
	return int64(len(e.record) + len(e.event.RawBody) + len(e.verdict) + len(e.plans) + len(e.event.Subject) + 128)
}

func (e *entry) encodeDeliveries(deliveries []queue.Delivery) error {
	if len(deliveries) == 0 {
		return nil
	}
	plans := make([]layout.Plan, len(deliveries))
	names := make([]string, len(deliveries))
	e.deliveries = make([]scheduler.Delivery, len(deliveries))
	e.due = make([]int64, len(deliveries))
	size := eventSize(len(e.record), len(e.event.RawBody))
	for i, d := range deliveries {
		if err := uuid.Validate(d.ID); err != nil || len(d.ID) != 36 {
			return fmt.Errorf("a delivery of event %s has the id %q, which is not a UUID", e.event.ID, d.ID)
		}
		if d.Action == "" {
			return fmt.Errorf("delivery %s of event %s has no action", d.ID, e.event.ID)
		}
		d.Attempts, d.FirstAttempt = 0, time.Time{}
		e.span.Include(database.TimeOfUUID(d.ID))
		plans[i] = layout.Plan{ID: d.ID, Action: d.Action, Of: d.Of}
		names[i] = d.Action
		if !d.Due.IsZero() {
			e.due[i] = scheduler.DueAt(d.Due)
			plans[i].Due = e.due[i]
		}
		if !d.Expires.IsZero() {
			plans[i].Expires = layout.Micros(d.Expires)
		}
		e.deliveries[i] = scheduler.Delivery{Delivery: d, Event: e.event, Size: size}
	}
	list, err := json.Marshal(plans)
	if err != nil {
		return fmt.Errorf("encoding the deliveries of event %s: %w", e.event.ID, err)
	}
	actions, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("encoding the actions of event %s: %w", e.event.ID, err)
	}
	e.plans, e.kind.Actions = string(list), string(actions)
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
		if e.dedupe {
			original, err := p.original(tx, i)
			if err != nil {
				return err
			}
			if original == "" && len(p.entries) > 1 {
				p.keys[e.key] = e.event.ID
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
		without.kind.Actions, without.plans = "", ""
		row = &without
	}
	if err := row.writeRow(tx, id, duplicateOf); err != nil {
		return err
	}
	if err := tx.countEvent(e.kind.Decision, duplicateOf != ""); err != nil {
		return err
	}
	if duplicateOf != "" {
		return nil
	}
	if !e.event.Test {
		tx.useEvent(e.kind.Source, e.kind.Event, e.received, e.held)
		for _, a := range e.actions {
			tx.useAction(a, e.received)
		}
	}
	if e.dedupe {
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
	kindID, err := tx.kind(e.kind)
	if err != nil {
		return err
	}
	s := tx.statements.putEvent
	s.BindInt64(1, id)
	s.BindInt64(2, kindID)
	s.BindInt64(3, e.received)
	s.BindText(4, e.event.ID)
	if e.event.Test {
		s.BindInt64(5, 1)
	} else {
		s.BindNull(5)
	}
	database.BindText(s, 6, e.tenant)
	database.BindText(s, 7, e.event.ParseError)
	database.BindText(s, 8, duplicateOf)
	s.BindText(9, e.verdict)
	database.BindText(s, 10, e.plans)
	s.BindText(11, e.record)
	if len(e.event.RawBody) > 0 {
		s.BindBytes(12, e.event.RawBody)
	} else {
		s.BindNull(12)
	}
	if e.checksum == layout.NoChecksum {
		s.BindNull(13)
	} else {
		s.BindInt64(13, e.checksum)
	}
	database.BindText(s, 14, e.event.Subject)
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
			d.Due += scheduler.Behind
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
