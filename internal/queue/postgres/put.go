package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// maxRow bounds what is stored of one event; PostgreSQL's own bound for a value, and
// for all values of a statement, is 1 GB.
const maxRow = 256 << 20

// usualTexts is how many bytes the texts of most events have, encoded.
const usualTexts = 1 << 10

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
	layout.Entry
	uuid uuid.UUID
	size int64

	deliveries []delivery
}

// delivery is one delivery of an event that is being stored or added to.
type delivery struct {
	queue.Delivery
	plan    layout.Plan
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
	if !db.nodes.self.Lives() {
		// Its caller may have decided by switches that another node turned meanwhile,
		// without waiting for this one.
		return nil, fmt.Errorf("storing events: %w: this node gave no sign of life for the time of a lease and counts as dead; it takes events again as soon as it has given one", queue.ErrUnavailable)
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
	if e.Entry, _, err = layout.EncodeEntry(from, make([]byte, 0, usualTexts)); err != nil {
		return err
	}
	e.uuid = uuid.MustParse(e.Event.ID)
	e.Verdict = encodeText(e.Verdict)
	if err := e.encodeDeliveries(from.Deliveries); err != nil {
		return err
	}
	e.size = int64(300 + len(e.Record) + len(e.Event.RawBody) + len(e.Verdict)) // as sizeOfEvent, without deliveries
	if e.size > maxRow {
		return fmt.Errorf("event %s takes %d bytes; at most %d can be stored", e.Event.ID, e.size, maxRow)
	}
	return nil
}

func (e *entry) encodeDeliveries(deliveries []queue.Delivery) error {
	if len(deliveries) == 0 {
		return nil
	}
	e.deliveries = make([]delivery, len(deliveries))
	plans := make([]layout.Plan, len(deliveries))
	for i := range deliveries {
		d := &e.deliveries[i]
		if err := d.encode(&deliveries[i], e.Event.ID); err != nil {
			return err
		}
		apart := timeOfID(d.uuid) - e.Received
		d.added = max(apart, -apart) > idSlack
		plans[i] = d.plan
	}
	e.EncodePlans(plans)
	e.Plans = encodeText(e.Plans)
	return nil
}

func (d *delivery) encode(from *queue.Delivery, event string) (err error) {
	if d.plan, err = layout.PlanOf(from, event); err != nil {
		return err
	}
	d.uuid = uuid.MustParse(from.ID)
	d.Delivery = *from
	d.Attempts, d.FirstAttempt = 0, time.Time{}
	if d.plan.Due != 0 {
		d.due = &d.plan.Due
	}
	if d.OrderKey != "" {
		hash := hashOf(d.OrderKey)
		d.keyHash = &hash
	}
	return nil
}
