package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// Uses are counted in the transaction that makes them, in rows of each node's own (see
// tally.go), so that a crash neither loses nor doubles any and no node waits for another.
// A row in the table uses is only made for what stands in the table things: nothing is
// kept for names that senders invent.

// countUses counts uses of events and rules: of the things with these kinds and names,
// so often, by this node, from a time to another. Each thing must come once.
const countUses = `INSERT INTO uses (thing, node, count, first, last)
	SELECT t.id, $1, u.count, u.first, u.last
	FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) AS u(kind, name, count, first, last) JOIN things t ON t.kind = u.kind AND t.name = u.name ORDER BY t.id
	ON CONFLICT (thing, node, part) DO UPDATE SET count = uses.count + excluded.count, first = least(uses.first, excluded.first), last = greatest(uses.last, excluded.last)`

const listUses = `SELECT t.kind, t.name, coalesce(t.place, ''), t.since, t.gone,
		coalesce(u.count, c.made, 0), coalesce(u.first, c.first, 0), coalesce(u.last, c.last, 0), coalesce(c.delivered, 0), coalesce(c.failed, 0), coalesce(c.expired, 0)
	FROM things t
	LEFT JOIN (SELECT thing, sum(count)::bigint AS count, min(first) AS first, max(last) AS last FROM ` + allUses + ` AS a GROUP BY thing) AS u ON u.thing = t.id
	LEFT JOIN actions a ON t.kind = 'action' AND a.name = t.name
	LEFT JOIN (SELECT action, sum(made)::bigint AS made, min(first) AS first, max(last) AS last, sum(delivered)::bigint AS delivered, sum(failed)::bigint AS failed,
			sum(expired)::bigint AS expired FROM ` + allActionCounts + ` AS d GROUP BY action) AS c ON c.action = a.id`

// Uses implements queue.History.
func (db *DB) Uses(ctx context.Context) (uses []queue.Use, err error) {
	err = db.read(ctx, func(conn querier) error {
		rows, err := conn.Query(ctx, listUses)
		if err != nil {
			return err
		}
		uses, err = pgx.CollectRows(rows, scanUse)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading how often things were used: %w", err)
	}
	return uses, nil
}

func scanUse(row pgx.CollectableRow) (u queue.Use, err error) {
	var since, first, last int64
	var gone *int64
	err = row.Scan(&u.Kind, &u.Name, &u.Place, &since, &gone, &u.Count, &first, &last, &u.Delivered, &u.Failed, &u.Expired)
	u.Name, u.Place, u.Since = decodeText(u.Name), decodeText(u.Place), layout.FromMicros(since)
	if gone != nil {
		u.Gone = layout.FromMicros(*gone)
	}
	if u.Count > 0 {
		u.First, u.Last = layout.FromMicros(first), layout.FromMicros(last)
	}
	return u, err
}

const (
	// Two nodes that load a configuration at once say so one after the other. Puts
	// only read the table meanwhile.
	lockThings = `LOCK TABLE things IN SHARE ROW EXCLUSIVE MODE`
	putThings  = `INSERT INTO things (kind, name, place, since) SELECT kind, name, nullif(place, ''), now_us() FROM unnest($1::text[], $2::text[], $3::text[]) AS t(kind, name, place)
		ON CONFLICT (kind, name) DO UPDATE SET place = excluded.place, gone = NULL WHERE things.gone IS NOT NULL OR things.place IS DISTINCT FROM excluded.place`
	endThings = `UPDATE things t SET gone = now_us() WHERE gone IS NULL AND NOT EXISTS (SELECT 1 FROM unnest($1::text[], $2::text[]) AS u(kind, name) WHERE u.kind = t.kind AND u.name = t.name)`
)

// Exist implements queue.History.
func (db *DB) Exist(ctx context.Context, things []queue.Thing) error {
	kinds, names, places := []string{}, []string{}, []string{}
	type name struct {
		kind queue.ThingKind
		name string
	}
	known := make(map[name]bool)
	for _, t := range things {
		if known[name{t.Kind, t.Name}] {
			continue // the place of the first counts
		}
		known[name{t.Kind, t.Name}] = true
		kinds, names, places = append(kinds, string(t.Kind)), append(names, encodeText(t.Name)), append(places, encodeText(t.Place))
	}
	if err := db.write(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockThings); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, putThings, kinds, names, places); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, endThings, kinds, names)
		return err
	}); err != nil {
		return fmt.Errorf("noting what the configuration has: %w", err)
	}
	return nil
}
