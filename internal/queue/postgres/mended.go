package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// What is mended is written down with the delivery that mends it: attempts.state
// tells those that are apart, so that a page of failures never goes through those
// that are settled. Which they are says queue.Mend.

// mayBeMended chooses of the events of which a delivery ended those with one that
// repeats another, and locks them: of two nodes that end deliveries of one event at
// once, the second must see what the first has written.
const mayBeMended = `SELECT id FROM events WHERE id = ANY($1::bigint[]) AND strpos(deliveries, '"of":') > 0 ORDER BY id FOR NO KEY UPDATE`

// markMended marks the ends of deliveries, unless that is done.
const markMended = `UPDATE attempts a SET state = a.state + 3 FROM (
		SELECT (SELECT id FROM attempts WHERE id >= d.delivery << 12 AND id < (d.delivery + 1) << 12 ORDER BY id DESC LIMIT 1) AS id
		FROM unnest($1::bigint[]) AS d(delivery)
	) AS l WHERE a.id = l.id AND a.state BETWEEN 2 AND 4 RETURNING a.id >> 23, a.action, a.state - 3, a.at`

// countMended counts deliveries as mended that had ended in a state, at the time when
// they ended, if that is still counted.
const countMended = `INSERT INTO counts (minutes, at, name, node, n)
	SELECT m.minutes, u.at - u.at % (m.minutes * 60000000), n.name, $1, sum(n.n) FROM unnest($2::bigint[], $3::text[]) AS u(at, state)
	CROSS JOIN (VALUES (1::bigint), (10), (60)) AS m(minutes) CROSS JOIN LATERAL (VALUES (u.state, -1), ('mended', 1)) AS n(name, n)
	WHERE (SELECT sum(c.n) FROM counts c WHERE c.minutes = m.minutes AND c.at = u.at - u.at % (m.minutes * 60000000) AND c.name = u.state) > 0
	GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
	ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n`

// uncountEnds takes the ends of deliveries from those of their actions.
const uncountEnds = `INSERT INTO action_counts (action, node, part, failed, expired)
	SELECT action, $1, 1, -count(*) FILTER (WHERE state = 2), -count(*) FILTER (WHERE state = 3) FROM unnest($2::int[], $3::smallint[]) AS u(action, state) GROUP BY action ORDER BY action
	ON CONFLICT (action, node, part) DO UPDATE SET failed = action_counts.failed + excluded.failed, expired = action_counts.expired + excluded.expired`

// mend marks what is mended in events of which a delivery has ended, in the transaction
// that ends it. Those of which only deliveries that repeat nothing arrived need not be
// among them.
func (db *DB) mend(ctx context.Context, tx pgx.Tx, ended []int64) error {
	if len(ended) == 0 {
		return nil
	}
	repeated, err := numbers[int64](ctx, tx, mayBeMended, ended)
	if err != nil || len(repeated) == 0 {
		return err
	}
	r := reading{conn: tx, filter: &queue.Filter{}}
	events, _, err := r.events(ctx, repeated)
	if err != nil {
		return err
	}
	var mended []int64
	tests := make(map[int64]bool)
	for _, e := range events {
		tests[e.id] = e.Test
		for place := range e.Deliveries {
			if e.Deliveries[place].Standing() == queue.Mended {
				mended = append(mended, layout.DeliveryID(e.id, place))
			}
		}
	}
	if len(mended) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, markMended, mended)
	if err != nil {
		return err
	}
	var event, at int64
	var action int32
	var state int16
	var times []int64
	var names []string
	var actions []int32
	var states []int16
	if _, err := pgx.ForEachRow(rows, []any{&event, &action, &state, &at}, func() error {
		times, names = append(times, at), append(names, string(layout.States[state]))
		if !tests[event] {
			actions, states = append(actions, action), append(states, state)
		}
		return nil
	}); err != nil {
		return err
	}
	if len(times) > 0 {
		if _, err := tx.Exec(ctx, holdRolled); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, countMended, db.nodes.id(), times, names); err != nil {
			return err
		}
	}
	if len(actions) > 0 {
		if _, err := tx.Exec(ctx, uncountEnds, db.nodes.id(), actions, states); err != nil {
			return err
		}
	}
	return nil
}
