package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/cluster"
)

// A put writes all that it counts into one new row, a tally, and each second its node
// adds its tallies to the tables that count. A put would otherwise write four rows or
// more that exist, which takes longer than ten events do. Who reads what is counted adds
// the tallies up that are not added yet.
//
// A node adds those that it has written since the last time, and nodes.tallied says up to
// where that is. Who reads need not look at those before it, of which the server keeps
// all while some transaction is open for long. A tally can be committed late all the same,
// when the outcome of its commit was in doubt, and a node can vanish before it adds its
// own. So all nodes look from time to time for what is left of any.
const (
	untallied = `nodes n JOIN tallies t ON t.node = n.id AND t.id > n.tallied`

	allCounts = `(SELECT minutes, at, name, n FROM counts UNION ALL
		SELECT 1::smallint, t.at - t.at % 60000000, u.name, u.n FROM ` + untallied + ` CROSS JOIN LATERAL unnest(t.names, t.numbers) AS u(name, n))`

	allUses = `(SELECT thing, count, first, last FROM uses UNION ALL
		SELECT x.id, u.count, u.first, u.last FROM ` + untallied + ` CROSS JOIN LATERAL unnest(t.kinds, t.things, t.uses, t.first_uses, t.last_uses) AS u(kind, name, count, first, last)
		JOIN things x ON x.kind = u.kind AND x.name = u.name)`

	allSizes = `(SELECT block, part, bytes, oldest, newest FROM sizes UNION ALL
		SELECT u.id >> 12, 0::smallint, u.bytes, u.oldest, u.newest FROM ` + untallied + ` CROSS JOIN LATERAL unnest(t.ids, t.bytes, t.oldest, t.newest) AS u(id, bytes, oldest, newest))`

	allActionCounts = `(SELECT action, waiting, made, first, last, delivered, failed, expired FROM action_counts UNION ALL
		SELECT u.action, u.waiting, u.made, u.first, u.last, 0, 0, 0 FROM ` + untallied + ` CROSS JOIN LATERAL unnest(t.actions, t.waiting, t.made, t.first_made, t.last_made) AS u(action, waiting, made, first, last))`
)

// addTallies adds tallies of a node to the tables that count: those behind a number, and
// behind those that are added. The row of the node is locked, so that of two nodes that
// add the same at once the second waits, and finds nothing.
const addTallies = `WITH n AS MATERIALIZED (
		SELECT id, tallied FROM nodes WHERE id = $1 FOR NO KEY UPDATE
	), t AS (
		DELETE FROM tallies t USING n WHERE t.node = n.id AND t.id > least(n.tallied, $2::bigint) RETURNING t.*
	), up AS (
		UPDATE nodes SET tallied = greatest(nodes.tallied, m.id) FROM (SELECT max(id) AS id FROM t) AS m WHERE nodes.id = $1 AND m.id > nodes.tallied
	), c AS (
		INSERT INTO counts (minutes, at, name, node, n)
		SELECT 1, at, name, $1, sum(n) FROM (SELECT at - at % 60000000 AS at, unnest(names) AS name, unnest(numbers) AS n FROM t) AS u GROUP BY at, name ORDER BY at, name
		ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n
	), s AS (
		INSERT INTO uses (thing, node, part, count, first, last)
		SELECT x.id, $1, 0, sum(u.count), min(u.first), max(u.last)
		FROM (SELECT unnest(kinds) AS kind, unnest(things) AS name, unnest(uses) AS count, unnest(first_uses) AS first, unnest(last_uses) AS last FROM t) AS u
		JOIN things x ON x.kind = u.kind AND x.name = u.name GROUP BY x.id ORDER BY x.id
		ON CONFLICT (thing, node, part) DO UPDATE SET count = uses.count + excluded.count, first = least(uses.first, excluded.first), last = greatest(uses.last, excluded.last)
	), z AS (
		INSERT INTO sizes (block, node, part, bytes, oldest, newest)
		SELECT id >> 12, $1, 0, sum(bytes), min(oldest), max(newest)
		FROM (SELECT unnest(ids) AS id, unnest(bytes) AS bytes, unnest(oldest) AS oldest, unnest(newest) AS newest FROM t) AS u GROUP BY 1 ORDER BY 1
		ON CONFLICT (block, node, part) DO UPDATE SET bytes = sizes.bytes + excluded.bytes, oldest = least(sizes.oldest, excluded.oldest), newest = greatest(sizes.newest, excluded.newest)
	)
	INSERT INTO action_counts (action, node, part, waiting, made, first, last)
	SELECT action, $1, 0, sum(waiting), sum(made), min(first), max(last)
	FROM (SELECT unnest(actions) AS action, unnest(waiting) AS waiting, unnest(made) AS made, unnest(first_made) AS first, unnest(last_made) AS last FROM t) AS u GROUP BY action ORDER BY action
	ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting, made = action_counts.made + excluded.made,
		first = least(action_counts.first, excluded.first), last = greatest(action_counts.last, excluded.last)`

// findLeft finds the nodes that have left tallies: such as were committed late, and such
// as are older than half a minute, which a node that works has added long ago.
const findLeft = `SELECT n.id FROM nodes n WHERE EXISTS (SELECT 1 FROM tallies t WHERE t.node = n.id AND (t.id <= n.tallied OR t.at < now_us() - 30000000)) ORDER BY n.id`

// tally adds what this node has counted to the tables that count.
func (db *DB) tally(ctx context.Context, to sender) error {
	if !db.untallied.Swap(false) {
		return nil
	}
	err := addTo(ctx, to, db.nodes.id(), math.MaxInt64)
	if err != nil {
		db.untallied.Store(true)
	}
	return err
}

// addTo does not wait for the disk: after a crash of the server the tallies are there
// again.
func addTo(ctx context.Context, to sender, node int32, behind int64) error {
	b := &pgx.Batch{}
	b.Queue(cluster.WithoutSync)
	b.Queue(addTallies, node, behind)
	if err := to.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("adding up what is counted: %w", err)
	}
	return nil
}

// tallyLeft adds what nodes have left.
func (db *DB) tallyLeft(ctx context.Context, conn *pgxpool.Conn) error {
	rows, err := conn.Query(ctx, findLeft)
	if err != nil {
		return err
	}
	nodes, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if err := addTo(ctx, conn, node, 0); err != nil {
			return err
		}
	}
	return nil
}
