package postgres

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// readActions makes the actions of some events known by their ids.
func (im *importer) readActions(ctx context.Context, events []queue.ArchivedEvent) error {
	names := make(map[string]struct{})
	for i := range events {
		for _, d := range events[i].Deliveries {
			names[d.Action] = struct{}{}
			for _, step := range d.Steps {
				names[step.Action] = struct{}{}
			}
		}
	}
	return im.storeActions(ctx, names)
}

// storeActions makes actions known by their ids. It is not undone with what needs them:
// an action without deliveries does no harm.
func (im *importer) storeActions(ctx context.Context, names map[string]struct{}) error {
	maps.DeleteFunc(names, func(name string, _ struct{}) bool { return im.actions[name] != 0 })
	if len(names) == 0 {
		return nil
	}
	var unknown []string
	for name := range names {
		unknown = append(unknown, encodeText(name))
	}
	if _, err := im.db.pool.Exec(ctx, storeActions, unknown); err != nil {
		return err
	}
	rows, err := im.db.pool.Query(ctx, "SELECT id, name FROM actions WHERE name = ANY($1)", unknown)
	if err != nil {
		return err
	}
	var id int32
	var name string
	_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		im.actions[decodeText(name)] = id
		return nil
	})
	return err
}

// putSwitches turns off what was off, unless it is off already. It reports whether
// nodes have to learn of something, and of which actions.
func (im *importer) putSwitches(ctx context.Context, tx pgx.Tx, switches []queue.Switch) (turned bool, paused []string, err error) {
	actions := make(map[string]struct{})
	for _, s := range switches {
		if s.Kind == queue.SwitchAction {
			actions[s.Name] = struct{}{}
		}
	}
	if err := im.storeActions(ctx, actions); err != nil || len(switches) == 0 {
		return false, nil, err
	}
	if _, err := tx.Exec(ctx, lockSwitches); err != nil {
		return false, nil, err
	}
	for _, s := range switches {
		var until *int64
		if !s.Until.IsZero() {
			until = pointer(layout.DueAt(s.Until))
		}
		tag, err := tx.Exec(ctx, "INSERT INTO switches (kind, name, since, until, reason) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, name) DO NOTHING",
			string(s.Kind), encodeText(s.Name), layout.Micros(s.Since), until, nullText(s.Reason))
		if err != nil {
			return false, nil, err
		}
		if tag.RowsAffected() == 0 {
			continue
		}
		if turned = true; s.Kind == queue.SwitchAction {
			if _, err := tx.Exec(ctx, pauseAction, encodeText(s.Name), true); err != nil {
				return false, nil, err
			}
			paused = append(paused, s.Name)
		}
	}
	return turned, paused, nil
}

// putMarks stores dedupe keys, but those that a node has stored.
func (im *importer) putMarks(ctx context.Context, tx pgx.Tx, marks []queue.DedupeMark) error {
	if len(marks) == 0 {
		return nil
	}
	var keys [][]byte
	var uuids []uuid.UUID
	var stored, expires []int64
	for i := range marks {
		u, err := layout.ParseID(marks[i].Event)
		if err != nil {
			return fmt.Errorf("a dedupe key belongs to the event %w", err)
		}
		keys, uuids = append(keys, marks[i].Key[:]), append(uuids, u)
		stored, expires = append(stored, layout.Micros(marks[i].Stored)), append(expires, layout.Micros(marks[i].Expires))
	}
	_, err := tx.Exec(ctx, `INSERT INTO dedupe (key, uuid, stored, expires) SELECT * FROM unnest($1::bytea[], $2::uuid[], $3::bigint[], $4::bigint[]) AS u(key, uuid, stored, expires) ORDER BY key
		ON CONFLICT (key) DO UPDATE SET uuid = excluded.uuid, stored = excluded.stored, expires = excluded.expires WHERE dedupe.expires <= now_us()`, keys, uuids, stored, expires)
	return err
}

// listHeadless lists the order keys of which all deliveries are behind another.
const listHeadless = `SELECT action, key_hash FROM waiting WHERE key_hash IS NOT NULL GROUP BY action, key_hash HAVING min(place) >= 4611686018427387904`

// releaseHeadless gives the first delivery of each such key its place.
func (im *importer) releaseHeadless(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, listHeadless)
	if err != nil {
		return err
	}
	var action int32
	var hash int64
	var actions []int32
	var hashes []int64
	if _, err := pgx.ForEachRow(rows, []any{&action, &hash}, func() error {
		actions, hashes = append(actions, action), append(hashes, hash)
		return nil
	}); err != nil || len(hashes) == 0 {
		return err
	}
	batch := new(pgx.Batch)
	queueLocks(batch, hashes)
	batch.Queue(releaseKeys, actions, hashes)
	return tx.SendBatch(ctx, batch).Close()
}

// putNotes stores notes that are not there. What the clock of the old machine showed is
// nothing to the nodes, and refusals are those of the nodes, once there are any.
func (im *importer) putNotes(ctx context.Context, tx pgx.Tx, notes []queue.Note) error {
	batch := new(pgx.Batch)
	for i := range notes {
		n := &notes[i]
		unless := "kind = $2 AND at = $1 AND node = '' AND coalesce(name, '') = coalesce($3, '')"
		switch n.Kind {
		case queue.NoteClock:
			continue
		case queue.NoteRefusals:
			unless = "kind = $2"
		}
		batch.Queue("INSERT INTO notes (at, node, kind, name, text) SELECT $1, '', $2, $3::text, $4 WHERE NOT EXISTS (SELECT 1 FROM notes WHERE "+unless+")",
			layout.Micros(n.At), encodeText(string(n.Kind)), nullText(n.Name), nullText(n.Text))
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

const (
	importCounts = `INSERT INTO counts (minutes, at, name, node, n) SELECT minutes, at, name, 0, n FROM unnest($1::smallint[], $2::bigint[], $3::text[], $4::bigint[]) AS u(minutes, at, name, n)
		ORDER BY minutes, at, name ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n`

	importSamples = `INSERT INTO samples (minutes, at, action, count, age) SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[]) AS u(minutes, at, action, count, age)
		ORDER BY minutes, at, action ON CONFLICT (minutes, at, action) DO UPDATE SET count = excluded.count, age = excluded.age`
)

// countedTime is a name in the table counts, or an action in the table samples, at a
// time.
type countedTime struct {
	minutes int16
	at      int64
	name    string
}

// putMinutes adds what was counted, in all the lengths of time that are kept.
func (im *importer) putMinutes(ctx context.Context, tx pgx.Tx, minutes []queue.CountedMinute) error {
	counts, samples := make(map[countedTime]int64), make(map[countedTime]queue.BacklogSample)
	for i := range minutes {
		m := &minutes[i]
		for _, length := range layout.CountedMinutes {
			at := layout.Micros(m.At)
			at -= layout.Mod(at, length*layout.Minute)
			add := func(name string, n int64) {
				if n != 0 {
					counts[countedTime{int16(length), at, name}] += n
				}
			}
			for decision, n := range m.Events {
				add(string(decision), n)
			}
			for state, n := range m.Deliveries {
				add(string(state), n)
			}
			add(layout.Counted[layout.CountedRetries], m.Retries)
			for class, n := range m.Latencies {
				add(latencyName+strconv.Itoa(class), n)
			}
			for action, sample := range m.Backlog {
				samples[countedTime{int16(length), at, action}] = sample // the last of them
			}
		}
	}
	batch := new(pgx.Batch)
	lengths, times, names, numbers := []int16{}, []int64{}, []string{}, []int64{}
	for c, n := range counts {
		lengths, times, names, numbers = append(lengths, c.minutes), append(times, c.at), append(names, encodeText(c.name)), append(numbers, n)
	}
	if len(names) > 0 {
		batch.Queue(importCounts, lengths, times, names, numbers)
	}
	lengths, times, names, numbers = nil, nil, nil, nil
	var ages []int64
	for c, s := range samples {
		lengths, times, names, numbers = append(lengths, c.minutes), append(times, c.at), append(names, encodeText(c.name)), append(numbers, int64(s.Count))
		ages = append(ages, s.Age.Microseconds())
	}
	if len(names) > 0 {
		batch.Queue(importSamples, lengths, times, names, numbers, ages)
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

const (
	importThings = `INSERT INTO things (kind, name, place, since, gone) SELECT kind, name, nullif(place, ''), since, gone
		FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS u(kind, name, place, since, gone) ORDER BY kind, name
		ON CONFLICT (kind, name) DO UPDATE SET since = least(things.since, excluded.since)`

	importActionUses = `INSERT INTO action_counts (action, node, part, made, first, last, delivered, failed, expired)
		SELECT a.id, 0, 0, u.made, u.first, u.last, u.delivered, u.failed, u.expired
		FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) AS u(name, made, first, last, delivered, failed, expired)
		JOIN actions a ON a.name = u.name ORDER BY a.id
		ON CONFLICT (action, node, part) DO UPDATE SET made = action_counts.made + excluded.made, first = least(action_counts.first, excluded.first),
			last = greatest(action_counts.last, excluded.last), delivered = action_counts.delivered + excluded.delivered,
			failed = action_counts.failed + excluded.failed, expired = action_counts.expired + excluded.expired`
)

// putUses adds how often things were used. What only the archive has is there as long
// as no node says otherwise.
func (im *importer) putUses(ctx context.Context, tx pgx.Tx, uses []queue.Use) error {
	if len(uses) == 0 {
		return nil
	}
	var kinds, names, places []string
	var since []int64
	var gone []*int64
	var usedKinds, used, made []string
	var counts, first, last []int64
	var actions [6][]int64 // made, first, last, delivered, failed, expired
	named := make(map[string]struct{})
	for i := range uses {
		u := &uses[i]
		kinds, names, places, since = append(kinds, string(u.Kind)), append(names, encodeText(u.Name)), append(places, encodeText(u.Place)), append(since, layout.Micros(u.Since))
		var until *int64
		if !u.Gone.IsZero() {
			until = pointer(layout.Micros(u.Gone))
		}
		gone = append(gone, until)
		switch {
		case u.Count == 0:
		case u.Kind == queue.ActionThing:
			named[u.Name] = struct{}{}
			made = append(made, encodeText(u.Name))
			for j, n := range []int64{u.Count, layout.Micros(u.First), layout.Micros(u.Last), u.Delivered, u.Failed, u.Expired} {
				actions[j] = append(actions[j], n)
			}
		default:
			usedKinds, used = append(usedKinds, string(u.Kind)), append(used, encodeText(u.Name))
			counts, first, last = append(counts, u.Count), append(first, layout.Micros(u.First)), append(last, layout.Micros(u.Last))
		}
	}
	if err := im.storeActions(ctx, named); err != nil {
		return err
	}
	batch := new(pgx.Batch)
	batch.Queue(importThings, kinds, names, places, since, gone)
	if len(used) > 0 {
		batch.Queue(countUses, importNode, usedKinds, used, counts, first, last)
	}
	if len(made) > 0 {
		batch.Queue(importActionUses, made, actions[0], actions[1], actions[2], actions[3], actions[4], actions[5])
	}
	return tx.SendBatch(ctx, batch).Close()
}
