package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// mostFindings is how many findings of one kind are told.
const mostFindings = 10

// eventsVerified is how many ids one statement of a check goes through, so that none
// takes long.
const eventsVerified = 4096

// findings hold tables against each other. Those with parameters ask for a range of
// events.
var findings = []struct {
	what, sql string
	ranged    bool
}{
	{"an action's number of waiting deliveries is wrong", `SELECT a.name || ': ' || coalesce(c.n, 0) || ' instead of ' || coalesce(w.n, 0) FROM actions a
		LEFT JOIN (SELECT action, sum(waiting) AS n FROM ` + allActionCounts + ` AS t GROUP BY action) c ON c.action = a.id
		LEFT JOIN (SELECT action, count(*) AS n FROM waiting GROUP BY action) w ON w.action = a.id WHERE coalesce(c.n, 0) <> coalesce(w.n, 0)`, false},
	{"a waiting delivery has no event", `SELECT delivery::text FROM waiting w WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = w.delivery >> 11) LIMIT 100`, false},
	{"a waiting delivery has no action", `SELECT delivery::text FROM waiting w WHERE NOT EXISTS (SELECT 1 FROM actions WHERE id = w.action) LIMIT 100`, false},
	{"an order key has not one head", `SELECT action || '/' || key_hash FROM waiting WHERE key_hash IS NOT NULL
		GROUP BY action, key_hash HAVING count(*) FILTER (WHERE place < 4611686018427387904) <> 1 LIMIT 100`, false},
	{"an action is paused without a switch, or the reverse", `SELECT name FROM actions WHERE paused <> (name IN (SELECT name FROM switches WHERE kind = 'action'))`, false},
	{"an added delivery has no event", `SELECT uuid::text FROM additions a WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = a.event) LIMIT 100`, false},
	{"the times of a block of events are not known, so that searches by time do not find them and they stay for ever", `SELECT block::text FROM (SELECT DISTINCT id >> 12 AS block FROM events WHERE id >= $1 AND id < $2) AS b
		WHERE NOT EXISTS (SELECT 1 FROM ` + allSizes + ` AS s WHERE s.part = 0 AND s.block = b.block)`, true},
	{"an event has no kind", `SELECT uuid::text FROM events e WHERE id >= $1 AND id < $2 AND NOT EXISTS (SELECT 1 FROM kinds WHERE id = e.kind)`, true},
}

// Verify implements queue.Verifier: it holds the tables against each other, and the
// events against their checksums. What the server keeps of them it checks itself, if it
// was made with data checksums.
func (db *DB) Verify(ctx context.Context) ([]string, error) {
	v := &verification{db: db, of: make(map[string]int)}
	err := v.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("checking the database: %w", err)
	}
	return v.found, nil
}

// verification is one run of Verify.
type verification struct {
	db    *DB
	found []string
	of    map[string]int // how many findings there are of each kind
}

func (v *verification) add(what, which string) {
	if v.of[what]++; v.of[what] <= mostFindings {
		v.found = append(v.found, what+": "+decodeText(which))
	}
}

func (v *verification) run(ctx context.Context) error {
	if err := v.tables(ctx, false); err != nil {
		return err
	}
	var first, last *int64
	if err := v.db.read(ctx, func(q querier) error {
		return q.QueryRow(ctx, "SELECT min(id), max(id) FROM events").Scan(&first, &last)
	}); err != nil || first == nil {
		return err
	}
	for from := *first; from <= *last; {
		// Ids leave gaps.
		next := from + eventsVerified
		if err := v.tables(ctx, true, from, next); err != nil {
			return err
		}
		if err := v.events(ctx, from, next); err != nil {
			return err
		}
		if err := v.db.read(ctx, func(q querier) error {
			return q.QueryRow(ctx, "SELECT coalesce(min(id), $1) FROM events WHERE id >= $1", next).Scan(&from)
		}); err != nil {
			return err
		}
	}
	return nil
}

// tables runs the statements that ask for a range of events, or those that do not.
func (v *verification) tables(ctx context.Context, ranged bool, args ...any) error {
	for _, f := range findings {
		if f.ranged != ranged {
			continue
		}
		var found []string
		if err := v.db.read(ctx, func(q querier) error {
			rows, err := q.Query(ctx, f.sql, args...)
			if err != nil {
				return err
			}
			found, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		}); err != nil {
			return fmt.Errorf("%s: %w", f.what, err)
		}
		for _, which := range found {
			v.add(f.what, which)
		}
	}
	return nil
}

const listVerified = `SELECT e.id, e.uuid::text, coalesce(e.verdict, ''), e.deliveries, e.record, e.body, coalesce(e.checksum, -1),
		ARRAY(SELECT w.delivery FROM actions a JOIN waiting w ON w.action = a.id AND w.delivery >= e.id << 11 AND w.delivery < (e.id + 1) << 11 WHERE e.deliveries IS NOT NULL),
		ARRAY(SELECT DISTINCT t.id >> 12 FROM attempts t WHERE t.id >= e.id << 23 AND t.id < (e.id + 1) << 23 AND t.state <> 0 AND e.deliveries IS NOT NULL)
	FROM events e WHERE e.id >= $1 AND e.id < $2`

// events checks what each event of a range says, and that each of its deliveries either
// waits or has ended.
func (v *verification) events(ctx context.Context, from, to int64) error {
	return v.db.read(ctx, func(q querier) error {
		rows, err := q.Query(ctx, listVerified, from, to)
		if err != nil {
			return err
		}
		var id, sum int64
		var uuid string
		var verdict, plans, record, body []byte
		var waiting, ended []int64
		_, err = pgx.ForEachRow(rows, []any{&id, &uuid, &verdict, &plans, &record, &body, &sum, &waiting, &ended}, func() error {
			if layout.VerifyChecksum(sum, record, body) != nil {
				v.add("an event is damaged: its checksum does not fit its record and body", uuid)
			}
			list, err := layout.DecodePlans(decodeBytes(plans))
			if err != nil {
				v.add("an event cannot be read", uuid)
				return nil
			}
			times := make([]int, len(list))
			for _, delivery := range append(waiting, ended...) {
				if place := layout.PlaceOf(delivery); place < len(times) {
					times[place]++
				}
			}
			for place, n := range times {
				if n != 1 {
					v.add("a delivery neither waits nor has ended, or both", list[place].ID)
				}
			}
			return nil
		})
		return err
	})
}
