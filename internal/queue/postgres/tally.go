package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/cluster"
)

// A put writes all that it counts into one new row, a tally, and each second its node
// adds its tallies to the tables that count. A put that writes the rows of those itself
// stores a twentieth fewer events. Who reads what is counted adds the tallies up that are
// not added yet.
//
// A node adds those that it has written since the last time, and nodes.tallied says up to
// where that is. Who reads begins there: while some transaction is open for long, the
// server keeps those before it, though they are removed. A tally can be committed late
// all the same, when the outcome of its commit was in doubt, and a node can vanish before
// it adds its own. So all nodes look from time to time for what is left of any.
const (
	// The order keeps the server from going through all that it keeps: it plans by what a
	// table has when it is analyzed, and this one is empty then.
	untallied = `nodes n CROSS JOIN LATERAL (SELECT * FROM tallies WHERE node = n.id AND id > n.tallied ORDER BY id) AS t`

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

// addTallies adds the first $3 tallies of the node $1 to the tables that count, and
// returns how many there were: those whose number is greater than nodes.tallied - $2. The
// row of the node is locked, so that of two nodes that add the same at once the second
// waits, and finds nothing.
const addTallies = `WITH n AS MATERIALIZED (
		SELECT id, tallied FROM nodes WHERE id = $1 FOR NO KEY UPDATE
	), t AS (
		DELETE FROM tallies WHERE node = $1 AND id = ANY(ARRAY(
			SELECT t.id FROM n CROSS JOIN LATERAL (SELECT id FROM tallies WHERE node = $1 AND id > n.tallied - $2::bigint ORDER BY id LIMIT $3) AS t
		)) RETURNING *
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
	), a AS (
		INSERT INTO action_counts (action, node, part, waiting, made, first, last)
		SELECT action, $1, 0, sum(waiting), sum(made), min(first), max(last)
		FROM (SELECT unnest(actions) AS action, unnest(waiting) AS waiting, unnest(made) AS made, unnest(first_made) AS first, unnest(last_made) AS last FROM t) AS u GROUP BY action ORDER BY action
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting, made = action_counts.made + excluded.made,
			first = least(action_counts.first, excluded.first), last = greatest(action_counts.last, excluded.last)
	)
	SELECT count(*) FROM t`

const (
	// talliesAtOnce is how many tallies one statement adds, which takes about a tenth of a second.
	talliesAtOnce = 10_000
	// lateBy is how many later tallies of its node may be added before one that is
	// committed late.
	lateBy = 100_000
)

// findLeft finds the nodes that have left tallies: such as were committed late, and such
// as are older than 30 seconds, which a node that works has added long ago.
const findLeft = `SELECT n.id FROM nodes n WHERE EXISTS (
		SELECT 1 FROM (SELECT * FROM tallies WHERE node = n.id AND id > n.tallied - $1::bigint ORDER BY id) AS t WHERE t.id <= n.tallied OR t.at < now_us() - 30000000
	) ORDER BY n.id`

// tallying is what this node knows of its tallies.
type tallying struct {
	some atomic.Bool // it may have some that are not added yet
	told atomic.Bool // that they cannot be added
}

// addUp adds the tallies of this node, and those that others left. Where it cannot, they
// are counted all the same, and nothing else stops.
func (db *DB) addUp(others bool) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	err := db.connected(ctx, func(conn *pgxpool.Conn) error {
		err := db.tally(ctx, conn)
		if others {
			err = errors.Join(err, db.tallyLeft(ctx, conn))
		}
		return err
	})
	switch {
	case err == nil:
		db.tallying.told.Store(false)
	case db.isClosed() || fateOf(err) == unreached || fateOf(err) == overfull: // others tell that
	case !db.tallying.told.Swap(true):
		db.logger.Warn("what is counted cannot be added up; it is tried again each second", zap.Error(err))
	}
}

// tally adds what this node has counted to the tables that count.
func (db *DB) tally(ctx context.Context, to sender) error {
	if !db.tallying.some.Swap(false) {
		return nil
	}
	err := addTo(ctx, to, db.nodes.id(), 0)
	if err != nil {
		db.tallying.some.Store(true)
	}
	return err
}

// addTo adds all tallies of a node whose numbers are greater than nodes.tallied - behind.
// It does not wait for the disk: after a crash of the server the tallies are there again.
// Nor does it wait long for a table that someone has locked: the upkeep would stand still.
func addTo(ctx context.Context, to sender, node int32, behind int64) error {
	for {
		b := &pgx.Batch{}
		b.Queue(cluster.WithoutSync)
		b.Queue("SELECT set_config('lock_timeout', '1s', true)")
		added := 0
		b.Queue(addTallies, node, behind, talliesAtOnce).QueryRow(func(row pgx.Row) error { return row.Scan(&added) })
		if err := to.SendBatch(ctx, b).Close(); err != nil {
			return fmt.Errorf("adding up what is counted: %w", err)
		}
		if added < talliesAtOnce {
			return nil
		}
	}
}

// tallyLeft adds what nodes have left.
func (db *DB) tallyLeft(ctx context.Context, conn *pgxpool.Conn) error {
	nodes, err := numbers[int32](ctx, conn, findLeft, lateBy)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if err := addTo(ctx, conn, node, lateBy); err != nil {
			return err
		}
	}
	return nil
}
