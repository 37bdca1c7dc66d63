package postgres

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
)

// maxRow bounds what is stored of one event; PostgreSQL's own bound for a value, and
// for all values of a statement, is 1 GB.
const maxRow = 256 << 20

// put is one call of Put on its way through the committer. All encoding is done by the
// caller, so that the committer only writes.
type put struct {
	ctx      context.Context
	entries  []entry
	receipts []queue.Receipt
	size     int64 // roughly the bytes that it will write
	pending  int   // how many deliveries it has
	done     chan error
}

// entry is one event as it will be stored.
type entry struct {
	event    *event.Event
	uuid     uuid.UUID
	kind     layout.Kind
	received int64
	tenant   string
	verdict  string
	held     []string // rules
	plans    string   // events.deliveries
	record   []byte
	checksum *int64 // of record and body
	size     int64

	deliveries []delivery

	dedupe bool
	key    [16]byte
	window int64
}

// delivery is one delivery of an event that is being stored or added to.
type delivery struct {
	queue.Delivery
	uuid    uuid.UUID
	lane    *lane
	due     *int64 // its own time
	keyHash *int64
	// added says that its id does not tell when its event was received.
	added bool
	// wanted says that it goes to a taker of this node once it is stored.
	wanted bool
}

// Put implements queue.Queue.
func (db *DB) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if err := db.usable(ctx); err != nil {
		return nil, fmt.Errorf("storing events: %w", err)
	}
	p := &put{ctx: ctx, entries: make([]entry, len(entries)), receipts: make([]queue.Receipt, len(entries)), done: make(chan error, 1)}
	for i := range entries {
		e := &p.entries[i]
		if err := e.encode(&entries[i]); err != nil {
			return nil, fmt.Errorf("storing events: %w", err)
		}
		p.size += e.size
		p.pending += len(e.deliveries)
	}
	if err := db.commits.enqueue(db, p); err != nil {
		return nil, fmt.Errorf("storing events: %w", err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			return nil, fmt.Errorf("storing events: %w", err)
		}
		return p.receipts, nil
	case <-ctx.Done():
		db.commits.drop(db, p)
		return nil, fmt.Errorf("storing events: they may be stored or not: %w", ctx.Err())
	}
}

// encode prepares what will be written.
func (e *entry) encode(from *queue.Entry) (err error) {
	stored := from.Event
	if stored == nil {
		return errors.New("an entry has no event")
	}
	if e.uuid, err = parseID(stored.ID); err != nil {
		return fmt.Errorf("the event's id %w", err)
	}
	if len(from.Deliveries) > layout.MaxDeliveries {
		return fmt.Errorf("event %s has %d deliveries; at most %d can be stored", stored.ID, len(from.Deliveries), layout.MaxDeliveries)
	}
	e.event = stored
	e.received = layout.Micros(stored.Received)
	e.kind = layout.Kind{Source: stored.Source, Event: stored.Name, Decision: string(from.Verdict.Decision)}
	if tenant := stored.Parameters[event.Tenant]; tenant != nil {
		e.tenant = fmt.Sprint(tenant)
	}
	verdict, err := json.Marshal(from.Verdict)
	if err != nil {
		return fmt.Errorf("encoding the verdict on event %s: %w", stored.ID, err)
	}
	e.verdict, e.held = encodeText(string(verdict)), from.Verdict.Held
	e.record = stored.Record()
	sum := layout.Checksum(e.record, stored.RawBody)
	if sum != layout.NoChecksum {
		e.checksum = &sum
	}
	if from.DedupeKey != "" && from.DedupeWindow > 0 {
		sum := sha256.Sum256([]byte(from.DedupeKey))
		e.dedupe, e.window = true, from.DedupeWindow.Microseconds()
		copy(e.key[:], sum[:])
	}
	if err := e.encodeDeliveries(from.Deliveries); err != nil {
		return err
	}
	e.size = int64(300 + len(e.record) + len(stored.RawBody) + len(e.verdict)) // as sizeOfEvent, without deliveries
	if e.size > maxRow {
		return fmt.Errorf("event %s takes %d bytes; at most %d can be stored", stored.ID, e.size, maxRow)
	}
	return nil
}

func (e *entry) encodeDeliveries(deliveries []queue.Delivery) error {
	if len(deliveries) == 0 {
		return nil
	}
	e.deliveries = make([]delivery, len(deliveries))
	plans := make([]layout.Plan, len(deliveries))
	names := make([]string, len(deliveries))
	for i := range deliveries {
		d := &e.deliveries[i]
		if err := d.encode(&deliveries[i], e.event.ID); err != nil {
			return err
		}
		apart := timeOfID(d.uuid) - e.received
		d.added = max(apart, -apart) > idSlack
		plans[i], names[i] = d.plan(0), d.Action
	}
	list, err := json.Marshal(plans)
	if err != nil {
		return fmt.Errorf("encoding the deliveries of event %s: %w", e.event.ID, err)
	}
	actions, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("encoding the actions of event %s: %w", e.event.ID, err)
	}
	e.plans, e.kind.Actions = encodeText(string(list)), string(actions)
	return nil
}

func (d *delivery) encode(from *queue.Delivery, event string) (err error) {
	if d.uuid, err = parseID(from.ID); err != nil {
		return fmt.Errorf("a delivery of event %s has the id %w", event, err)
	}
	if from.Action == "" {
		return fmt.Errorf("delivery %s of event %s has no action", from.ID, event)
	}
	d.Delivery = *from
	d.Attempts, d.FirstAttempt = 0, time.Time{}
	if !d.Due.IsZero() {
		due := dueAt(d.Due)
		d.due = &due
	}
	if d.OrderKey != "" {
		hash := hashOf(d.OrderKey)
		d.keyHash = &hash
	}
	return nil
}

// plan is the delivery as it stands in events.deliveries.
func (d *delivery) plan(added int64) layout.Plan {
	p := layout.Plan{ID: d.ID, Action: d.Action, Of: d.Of, Added: added}
	if d.due != nil {
		p.Due = *d.due
	}
	if !d.Expires.IsZero() {
		p.Expires = layout.Micros(d.Expires)
	}
	return p
}

// parseID reads an id in its usual form.
func parseID(id string) (uuid.UUID, error) {
	parsed, err := uuid.Parse(id)
	if err != nil || len(id) != 36 {
		return parsed, fmt.Errorf("%q, which is not a UUID", id)
	}
	return parsed, nil
}

// eventSize estimates the memory of a decoded event from what is stored of it.
func eventSize(record, body int) int64 { return int64(1024 + 3*(record+body)) }
