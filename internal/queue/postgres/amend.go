package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// amendment is what is added to one stored event.
type amendment struct {
	id         string
	uuid       uuid.UUID
	verdict    *string
	decision   string
	held       []string // rules
	deliveries []delivery
}

// Amend implements queue.Queue.
func (db *DB) Amend(ctx context.Context, amendments []queue.Amendment) error {
	if err := db.amend(ctx, amendments); err != nil {
		return fmt.Errorf("adding to stored events: %w", err)
	}
	return nil
}

func (db *DB) amend(ctx context.Context, amendments []queue.Amendment) error {
	if err := db.usable(ctx); err != nil || len(amendments) == 0 {
		return err
	}
	list := make([]amendment, len(amendments))
	var lanes []*lane
	var hashes []int64
	more := 0
	for i := range amendments {
		if err := list[i].encode(&amendments[i]); err != nil {
			return err
		}
		more += len(list[i].deliveries)
	}
	if err := db.refusePending(0, int64(more)); err != nil {
		return err
	}
	db.mu.Lock()
	for i := range list {
		for j := range list[i].deliveries {
			d := &list[i].deliveries[j]
			d.lane = db.lane(d.Action)
			lanes = append(lanes, d.lane)
			if d.keyHash != nil {
				hashes = append(hashes, *d.keyHash)
			}
		}
	}
	db.mu.Unlock()
	if len(hashes) > 0 {
		// A head that was settled gives its place to the one that follows it now.
		if err := db.flush(ctx); err != nil {
			return err
		}
	}
	if err := db.withConnection(ctx, func(conn *pgxpool.Conn) error { return db.storeActionsOf(ctx, conn, lanes) }); err != nil {
		return reached(err)
	}
	if err := db.write(ctx, func(tx pgx.Tx) error { return db.amendIn(ctx, tx, list, hashes) }); err != nil {
		return err
	}
	db.mu.Lock()
	for _, l := range lanes {
		db.due(l, db.now())
	}
	db.mu.Unlock()
	for name := range names(lanes) {
		db.left(name)
	}
	db.pending.settled(-int64(more))
	if db.watched() {
		db.changed(func(add func(string)) {
			for _, a := range list {
				add(a.id)
			}
		})
	}
	return nil
}

// names are the actions of lanes, each once.
func names(lanes []*lane) map[string]bool {
	set := make(map[string]bool)
	for _, l := range lanes {
		set[l.name] = true
	}
	return set
}

func (a *amendment) encode(from *queue.Amendment) (err error) {
	a.id = from.Event
	if a.uuid, err = layout.ParseID(from.Event); err != nil {
		return fmt.Errorf("event %s: %w", from.Event, queue.ErrNotFound)
	}
	if len(from.Deliveries) > layout.MaxDeliveries {
		return fmt.Errorf("event %s: %w: %d deliveries were to be added, and it can have %d", from.Event, queue.ErrRefused, len(from.Deliveries), layout.MaxDeliveries)
	}
	if from.Verdict != nil {
		verdict, err := json.Marshal(from.Verdict)
		if err != nil {
			return fmt.Errorf("encoding the verdict on event %s: %w", from.Event, err)
		}
		text := encodeText(string(verdict))
		a.verdict, a.decision, a.held = &text, string(from.Verdict.Decision), from.Verdict.Held
	}
	a.deliveries = make([]delivery, len(from.Deliveries))
	for i := range from.Deliveries {
		if err := a.deliveries[i].encode(&from.Deliveries[i], from.Event); err != nil {
			return err
		}
	}
	return nil
}

// storedEvent is what may change of an event.
type storedEvent struct {
	id           int64
	uuid         uuid.UUID
	test         bool
	repeats      bool // another
	kind, before layout.Kind
	verdict      string
	amended      *string // the new verdict
	plans        []layout.Plan
	err          error // why plans cannot be read
	changed      bool  // plans were
}

// storedEvents locks events, which another node may be about to change, and reads them.
const lockEvents = `SELECT e.id, e.uuid, e.test, e.duplicate_of IS NOT NULL, k.source, k.event, k.decision, k.actions, coalesce(e.verdict, ''), e.deliveries
	FROM events e JOIN kinds k ON k.id = e.kind WHERE `

const lockingEvents = ` ORDER BY e.id FOR NO KEY UPDATE OF e`

func storedEvents(ctx context.Context, tx pgx.Tx, where string, arg any) (events []*storedEvent, err error) {
	rows, err := tx.Query(ctx, lockEvents+where+lockingEvents, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		e := &storedEvent{}
		var id pgtype.UUID
		var plans *string
		k := &e.kind
		if err := rows.Scan(&e.id, &id, &e.test, &e.repeats, &k.Source, &k.Event, &k.Decision, &k.Actions, &e.verdict, &plans); err != nil {
			return nil, err
		}
		e.uuid = id.Bytes
		for _, text := range []*string{&k.Source, &k.Event, &k.Decision, &k.Actions, &e.verdict} {
			*text = decodeText(*text)
		}
		e.before = e.kind
		if plans != nil {
			e.plans, e.err = layout.DecodePlans([]byte(decodeText(*plans)))
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

const updateEvents = `UPDATE events e SET kind = u.kind, verdict = coalesce(u.verdict, e.verdict), deliveries = coalesce(u.deliveries, e.deliveries)
	FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[]) AS u(id, kind, verdict, deliveries) WHERE e.id = u.id`

// storeEvents writes back what storedEvents read. The kind follows the actions of the
// deliveries.
func (db *DB) storeEvents(ctx context.Context, tx pgx.Tx, events []*storedEvent) error {
	var ids []int64
	var verdicts, plans []*string
	var wanted []layout.Kind
	for _, e := range events {
		var list *string
		if e.changed {
			text := encodeText(layout.EncodePlans(e.plans))
			list = &text
			e.kind.Actions = layout.ActionsOf(e.plans)
		}
		ids, verdicts, plans, wanted = append(ids, e.id), append(verdicts, e.amended), append(plans, list), append(wanted, e.kind)
	}
	known, err := kindsIn(ctx, tx, wanted)
	if err != nil {
		return err
	}
	kinds := make([]int32, len(events))
	for i, e := range events {
		kinds[i] = known[e.kind]
	}
	_, err = tx.Exec(ctx, updateEvents, ids, kinds, verdicts, plans)
	return err
}

// insertAdded stores deliveries that are added to events.
const insertAdded = `WITH d AS MATERIALIZED (
		SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::uuid[]) AS d(action, delivery, due, order_key, key_hash, uuid)
	), a AS (
		INSERT INTO additions (uuid, event) SELECT uuid, delivery >> 11 FROM d ON CONFLICT (uuid) DO UPDATE SET event = excluded.event
	), t AS (
		INSERT INTO action_counts (action, node, part, waiting) SELECT action, $7, 1, count(*) FROM d GROUP BY action ORDER BY action
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting
	)
	INSERT INTO waiting (action, delivery, place, since, order_key, key_hash)
	SELECT action, delivery, greatest(due, now_us()) + CASE WHEN key_hash IS NOT NULL AND (row_number() OVER (PARTITION BY action, key_hash ORDER BY delivery) > 1
			OR EXISTS (SELECT 1 FROM waiting x WHERE x.action = d.action AND x.key_hash = d.key_hash)) THEN 4611686018427387904 ELSE 0 END,
		now_us(), order_key, key_hash FROM d`

const countMade = `INSERT INTO action_counts (action, node, part, made, first, last) SELECT action, $1, 1, count(*), now_us(), now_us() FROM unnest($2::integer[]) AS u(action) GROUP BY action ORDER BY action
	ON CONFLICT (action, node, part) DO UPDATE SET made = action_counts.made + excluded.made, first = least(action_counts.first, excluded.first), last = greatest(action_counts.last, excluded.last)`

// amendIn checks all before it changes anything.
func (db *DB) amendIn(ctx context.Context, tx pgx.Tx, list []amendment, hashes []int64) error {
	locks := &pgx.Batch{}
	queueLocks(locks, hashes)
	if err := tx.SendBatch(ctx, locks).Close(); err != nil {
		return err
	}
	ids := make([]pgtype.UUID, len(list))
	for i := range list {
		ids[i] = pgtype.UUID{Bytes: list[i].uuid, Valid: true}
	}
	events, err := storedEvents(ctx, tx, "e.uuid = ANY($1)", ids)
	if err != nil {
		return err
	}
	byID := make(map[uuid.UUID]*storedEvent, len(events))
	for _, e := range events {
		byID[e.uuid] = e
	}
	var now int64
	if err := tx.QueryRow(ctx, "SELECT now_us()").Scan(&now); err != nil {
		return err
	}
	added := make(map[uuid.UUID]int)
	for i := range list {
		a := &list[i]
		e := byID[a.uuid]
		if e == nil {
			return fmt.Errorf("event %s: %w", a.id, queue.ErrNotFound)
		}
		have := len(e.plans) + added[a.uuid]
		switch {
		case e.err != nil && len(a.deliveries) > 0:
			return fmt.Errorf("event %s: %w: %w", a.id, queue.ErrRefused, e.err)
		case have+len(a.deliveries) > layout.MaxDeliveries:
			return fmt.Errorf("event %s: %w: it has %d deliveries, at most %d can be stored, and %d were to be added", a.id, queue.ErrRefused, have, layout.MaxDeliveries, len(a.deliveries))
		}
		added[a.uuid] += len(a.deliveries)
	}
	// Deliveries of one order key go in order of receipt, also among these.
	slices.SortStableFunc(list, func(a, b amendment) int { return cmp.Compare(byID[a.uuid].id, byID[b.uuid].id) })
	var actions, made []int32
	var deliveries []int64
	var dues, keyHashes []*int64
	var keys [][]byte
	var additions []pgtype.UUID
	used := make(map[queue.Thing]*use)
	for i := range list {
		a := &list[i]
		e := byID[a.uuid]
		if a.verdict != nil {
			useAgain(used, e, a.held, now)
			e.amended, e.verdict, e.kind.Decision = a.verdict, decodeText(*a.verdict), a.decision
		}
		for j := range a.deliveries {
			d := &a.deliveries[j]
			actions, deliveries = append(actions, d.lane.id), append(deliveries, layout.DeliveryID(e.id, len(e.plans)))
			dues, keyHashes, additions = append(dues, d.due), append(keyHashes, d.keyHash), append(additions, pgtype.UUID{Bytes: d.uuid, Valid: true})
			var key []byte
			if d.keyHash != nil {
				key = []byte(d.OrderKey)
			}
			keys = append(keys, key)
			d.plan.Added = now
			e.plans, e.changed = append(e.plans, d.plan), true
			if !e.test {
				made = append(made, d.lane.id)
			}
		}
	}
	if err := db.storeEvents(ctx, tx, events); err != nil {
		return err
	}
	if len(actions) > 0 {
		if _, err := tx.Exec(ctx, insertAdded, actions, deliveries, dues, keys, keyHashes, additions, db.nodes.id()); err != nil {
			return err
		}
	}
	if len(made) > 0 {
		if _, err := tx.Exec(ctx, countMade, db.nodes.id(), made); err != nil {
			return err
		}
	}
	return db.countUsed(ctx, tx, used)
}

// useAgain counts the rules that hold for an event which is decided again, and did not
// hold before.
func useAgain(used map[queue.Thing]*use, e *storedEvent, held []string, now int64) {
	if e.test || e.repeats {
		return
	}
	for _, rule := range layout.NewlyHeld(e.verdict, held) {
		count(used, queue.Thing{Kind: queue.RuleThing, Name: rule}, now)
	}
}

func (db *DB) countUsed(ctx context.Context, tx pgx.Tx, used map[queue.Thing]*use) error {
	if len(used) == 0 {
		return nil
	}
	var kinds, names []string
	var counts, firsts, lasts []int64
	for thing, u := range used {
		kinds, names = append(kinds, string(thing.Kind)), append(names, encodeText(thing.Name))
		counts, firsts, lasts = append(counts, u.count), append(firsts, u.first), append(lasts, u.last)
	}
	_, err := tx.Exec(ctx, countUses, db.nodes.id(), kinds, names, counts, firsts, lasts)
	return err
}
