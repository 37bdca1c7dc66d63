package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

const (
	// Events whose UUID is there already are left out.
	importEvents = `WITH e AS (
			INSERT INTO events AS e (id, kind, node, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum)
			SELECT id, kind, 0, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum
			FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::uuid[], $5::bool[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::text[], $11::text[], $12::bytea[], $13::bytea[], $14::bigint[])
				AS u(id, kind, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum) ORDER BY id
			ON CONFLICT (uuid) DO NOTHING RETURNING e.id, e.received, ` + sizeOfEvent + ` AS bytes
		), s AS (
			INSERT INTO sizes (block, node, part, bytes, oldest, newest) SELECT id >> 12, 0, 0, sum(bytes), min(received), max(received) FROM e GROUP BY 1 ORDER BY 1
			ON CONFLICT (block, node, part) DO UPDATE SET bytes = sizes.bytes + excluded.bytes, oldest = least(sizes.oldest, excluded.oldest), newest = greatest(sizes.newest, excluded.newest)
		)
		SELECT id FROM e`

	importAdditions = `INSERT INTO additions (uuid, event) SELECT * FROM unnest($1::uuid[], $2::bigint[]) ON CONFLICT (uuid) DO NOTHING`

	// A delivery is behind if another of its key can be taken. Its key is locked.
	importWaiting = `INSERT INTO waiting (action, delivery, place, since, attempts, first_attempt, order_key, key_hash)
		SELECT action, delivery, coalesce(due, least(received, now_us())) + CASE WHEN key_hash IS NOT NULL AND (behind
				OR row_number() OVER (PARTITION BY action, key_hash, behind ORDER BY delivery) > 1
				OR EXISTS (SELECT 1 FROM waiting w WHERE w.action = u.action AND w.key_hash = u.key_hash AND w.place < 4611686018427387904))
			THEN 4611686018427387904 ELSE 0 END, since, attempts, first_attempt, order_key, key_hash
		FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::bigint[], $8::bytea[], $9::bigint[], $10::bool[])
			AS u(action, delivery, due, received, since, attempts, first_attempt, order_key, key_hash, behind) ORDER BY delivery`

	importAttempts = `WITH a AS (
			INSERT INTO attempts AS a (id, action, state, at, began, took, status, error, request, response, empty)
			SELECT * FROM unnest($1::bigint[], $2::int[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[], $8::text[], $9::bytea[], $10::bytea[], $11::text[])
			RETURNING a.id >> 35 AS block, ` + sizeOfAttempt + ` AS bytes
		)
		INSERT INTO sizes (block, node, part, bytes) SELECT block, 0, 1, sum(bytes) FROM a GROUP BY 1 ORDER BY 1
		ON CONFLICT (block, node, part) DO UPDATE SET bytes = sizes.bytes + excluded.bytes`

	importBacklog = `INSERT INTO action_counts (action, node, part, waiting) SELECT action, 0, 0, n FROM unnest($1::int[], $2::bigint[]) AS u(action, n) ORDER BY action
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting`
)

// importing are the columns of what is imported at once.
type importing struct {
	ids, received        []int64
	kinds                []int32
	uuids                []uuid.UUID
	tests                []bool
	tenants, parseErrors []*string
	subjects, plans      []*string
	duplicates           []*uuid.UUID
	verdicts             []string
	records, bodies      [][]byte
	checksums            []int64
	stored               map[int64]bool
	added                []uuid.UUID
	addedTo              []int64
	waiting              waitingRows
	attempts             importedAttempts
	backlog              map[int32]int64
	keyed                []int64 // hashes of order keys
}

// waitingRows are rows of the table waiting.
type waitingRows struct {
	actions    []int32
	deliveries []int64
	due        []*int64
	received   []int64
	since      []*int64
	attempts   []int32
	first      []*int64
	keys       [][]byte
	hashes     []*int64
	behind     []bool
}

type importedAttempts struct {
	ids       []int64
	actions   []int32
	states    []int16
	at        []int64
	began     []*int64
	took      []*int64
	status    []*int32
	errors    []*string
	requests  [][]byte
	responses [][]byte
	empty     []*string
}

// putEvents stores those of some events that are not stored yet, with what became of
// them.
func (im *importer) putEvents(ctx context.Context, tx pgx.Tx, shift int64, events []queue.ArchivedEvent) (stored queue.Imported, err error) {
	if len(events) == 0 {
		return stored, nil
	}
	kinds := make([]layout.Kind, len(events))
	for i := range events {
		kinds[i] = importedKind(&events[i])
	}
	known, err := im.db.kindsOf(ctx, im.db.pool, kinds)
	if err != nil {
		return stored, err
	}
	if err := im.readActions(ctx, events); err != nil {
		return stored, err
	}
	rows := importing{stored: make(map[int64]bool), backlog: make(map[int32]int64)}
	for i := range events {
		if err := rows.addEvent(&events[i], events[i].Number+shift, known[kinds[i]]); err != nil {
			return stored, err
		}
	}
	if err := rows.putEvents(ctx, tx); err != nil {
		return stored, err
	}
	for i := range events {
		id := events[i].Number + shift
		if !rows.stored[id] {
			continue
		}
		stored.Events++
		n, err := rows.addDeliveries(&events[i], id, im.actions)
		if err != nil {
			return stored, err
		}
		stored.Unfinished += n
	}
	return stored, rows.putDeliveries(ctx, tx)
}

func importedKind(e *queue.ArchivedEvent) layout.Kind {
	kind := layout.Kind{Source: e.Summary.Source, Event: e.Summary.Event, Decision: string(e.Summary.Verdict.Decision)}
	names := make([]string, len(e.Deliveries))
	for i := range e.Deliveries {
		names[i] = e.Deliveries[i].Action
	}
	if len(names) > 0 {
		kind.Actions = layout.EncodeActions(names)
	}
	return kind
}

// addEvent adds the row of an event.
func (rows *importing) addEvent(e *queue.ArchivedEvent, id int64, kind int32) error {
	s := &e.Summary
	u, err := layout.ParseID(s.ID)
	if err != nil {
		return fmt.Errorf("the event's id %w", err)
	}
	verdict, err := json.Marshal(s.Verdict)
	if err != nil {
		return fmt.Errorf("encoding the verdict on event %s: %w", s.ID, err)
	}
	plans := plansOf(e.Deliveries)
	var duplicate *uuid.UUID
	if of, err := layout.ParseID(s.DuplicateOf); err == nil {
		duplicate = &of
	}
	record, body := e.Record, e.Body
	if record == nil {
		record = []byte{} // cannot be decoded, so that nothing is sent of it
	}
	if len(body) == 0 {
		body = nil
	}
	rows.ids, rows.kinds, rows.received = append(rows.ids, id), append(rows.kinds, kind), append(rows.received, layout.Micros(s.Received))
	rows.uuids, rows.tests = append(rows.uuids, u), append(rows.tests, s.Test)
	rows.tenants, rows.parseErrors, rows.subjects = append(rows.tenants, nullText(s.Tenant)), append(rows.parseErrors, nullText(s.ParseError)), append(rows.subjects, nullText(s.Subject))
	rows.duplicates, rows.verdicts, rows.plans = append(rows.duplicates, duplicate), append(rows.verdicts, encodeText(string(verdict))), append(rows.plans, nullText(plans))
	rows.records, rows.bodies, rows.checksums = append(rows.records, record), append(rows.bodies, body), append(rows.checksums, layout.Checksum(record, body))
	return nil
}

// plansOf returns events.deliveries.
func plansOf(deliveries []queue.ArchivedDelivery) string {
	if len(deliveries) == 0 {
		return ""
	}
	plans := make([]layout.Plan, len(deliveries))
	for i := range deliveries {
		d := &deliveries[i]
		plans[i] = layout.Plan{ID: d.ID, Action: d.Action, Of: d.Of}
		if !d.Due.IsZero() {
			plans[i].Due = layout.Micros(d.Due)
		}
		if !d.Expires.IsZero() {
			plans[i].Expires = layout.Micros(d.Expires)
		}
		if !d.Added.IsZero() {
			plans[i].Added = layout.Micros(d.Added)
		}
	}
	return layout.EncodePlans(plans)
}

// putEvents stores the rows, and notes which of them were not there.
func (rows *importing) putEvents(ctx context.Context, tx pgx.Tx) error {
	result, err := tx.Query(ctx, importEvents, rows.ids, rows.kinds, rows.received, rows.uuids, rows.tests, rows.tenants, rows.parseErrors, rows.subjects, rows.duplicates,
		rows.verdicts, rows.plans, rows.records, rows.bodies, rows.checksums)
	if err != nil {
		return err
	}
	var id int64
	_, err = pgx.ForEachRow(result, []any{&id}, func() error {
		rows.stored[id] = true
		return nil
	})
	return err
}

// addDeliveries adds what became of the deliveries of an event, and returns how many
// are unfinished.
func (rows *importing) addDeliveries(e *queue.ArchivedEvent, id int64, actions map[string]int32) (unfinished int64, err error) {
	states := make([]queue.DeliveryState, len(e.Deliveries))
	for place := range e.Deliveries {
		d := &e.Deliveries[place]
		states[place] = queue.DeliveryState{ID: d.ID, Of: d.Of, State: d.State}
	}
	queue.Mend(states)
	received := layout.Micros(e.Summary.Received)
	for place := range e.Deliveries {
		d := &e.Deliveries[place]
		u, err := layout.ParseID(d.ID)
		if err != nil {
			return 0, fmt.Errorf("a delivery of event %s has the id %w", e.Summary.ID, err)
		}
		if apart := timeOfID(u) - received; !d.Added.IsZero() || max(apart, -apart) > idSlack {
			rows.added, rows.addedTo = append(rows.added, u), append(rows.addedTo, id)
		}
		delivery := layout.DeliveryID(id, place)
		if d.State == queue.Pending {
			unfinished++
			rows.backlog[actions[d.Action]]++
			rows.addWaiting(d, delivery, received, actions[d.Action])
		}
		for i := range d.Steps {
			step := &d.Steps[i]
			state, ok := layout.StateNumber(step.State)
			if !ok {
				return 0, fmt.Errorf("delivery %s has the unknown state %q", d.ID, step.State)
			}
			if i == len(d.Steps)-1 && states[place].MendedBy != "" {
				state += layout.Mended
			}
			rows.attempts.add(step, layout.AttemptID(delivery, step.Number), actions[step.Action], int16(state))
		}
	}
	return unfinished, nil
}

func (rows *importing) addWaiting(d *queue.ArchivedDelivery, delivery, received int64, action int32) {
	w := &rows.waiting
	var due, since, first, hash *int64
	var key []byte
	if !d.Due.IsZero() {
		due = pointer(layout.DueAt(d.Due))
	}
	if !d.Added.IsZero() {
		since = pointer(layout.Micros(d.Added))
	}
	if !d.FirstAttempt.IsZero() {
		first = pointer(layout.Micros(d.FirstAttempt))
	}
	if d.OrderKey != "" {
		key, hash = []byte(d.OrderKey), pointer(hashOf(d.OrderKey))
		rows.keyed = append(rows.keyed, *hash)
	}
	w.actions, w.deliveries, w.due, w.received, w.since = append(w.actions, action), append(w.deliveries, delivery), append(w.due, due), append(w.received, received), append(w.since, since)
	w.attempts, w.first, w.keys, w.hashes, w.behind = append(w.attempts, int32(d.Attempts)), append(w.first, first), append(w.keys, key), append(w.hashes, hash), append(w.behind, d.Behind)
}

func pointer[T any](value T) *T { return &value }

// add adds a row.
func (a *importedAttempts) add(step *queue.Step, id int64, action int32, state int16) {
	var began, took *int64
	var status *int32
	var failed, empty *string
	var request, response []byte
	if t := step.Attempt; t != nil {
		began, took, failed = pointer(layout.Micros(t.Began)), pointer(t.Took.Microseconds()), nullText(t.Error)
		if t.Status != 0 {
			status = pointer(int32(t.Status))
		}
		if t.Request != "" {
			request = []byte(t.Request)
		}
		if t.Response != "" {
			response = []byte(t.Response)
		}
		if len(t.Empty) > 0 {
			list, _ := json.Marshal(t.Empty) // texts
			empty = nullText(string(list))
		}
	}
	a.ids, a.actions, a.states, a.at = append(a.ids, id), append(a.actions, action), append(a.states, state), append(a.at, layout.Micros(step.At))
	a.began, a.took, a.status, a.errors = append(a.began, began), append(a.took, took), append(a.status, status), append(a.errors, failed)
	a.requests, a.responses, a.empty = append(a.requests, request), append(a.responses, response), append(a.empty, empty)
}

// putDeliveries stores the other rows. The locks come first: what follows must see what
// those who had them have written.
func (rows *importing) putDeliveries(ctx context.Context, tx pgx.Tx) error {
	batch := new(pgx.Batch)
	queueLocks(batch, rows.keyed)
	if w := &rows.waiting; len(w.deliveries) > 0 {
		batch.Queue(importWaiting, w.actions, w.deliveries, w.due, w.received, w.since, w.attempts, w.first, w.keys, w.hashes, w.behind)
		var actions []int32
		var counts []int64
		for action, n := range rows.backlog {
			actions, counts = append(actions, action), append(counts, n)
		}
		batch.Queue(importBacklog, actions, counts)
	}
	if a := &rows.attempts; len(a.ids) > 0 {
		batch.Queue(importAttempts, a.ids, a.actions, a.states, a.at, a.began, a.took, a.status, a.errors, a.requests, a.responses, a.empty)
	}
	if len(rows.added) > 0 {
		batch.Queue(importAdditions, rows.added, rows.addedTo)
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}
