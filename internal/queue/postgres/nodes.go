package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// nodes is what this node knows of itself and of the others.
type nodes struct {
	id      int32 // nodes.id: the same for each process of this name
	session int32 // nodes.session: of this process alone
}

// register enters this node in the table nodes, with a session of its own.
func (db *DB) register(ctx context.Context, conn *pgxpool.Conn) error {
	return conn.QueryRow(ctx, `INSERT INTO nodes (name, session, started, seen) VALUES ($1, nextval('sessions'), now_us(), now_us())
		ON CONFLICT (name) DO UPDATE SET session = excluded.session, started = excluded.started, seen = excluded.seen, closed = false
		RETURNING id, session`, encodeText(db.options.Node)).Scan(&db.nodes.id, &db.nodes.session)
}

// unregister notes that this node is gone.
func (db *DB) unregister(ctx context.Context, conn *pgxpool.Conn) error {
	_, err := conn.Exec(ctx, "UPDATE nodes SET closed = true, seen = now_us() WHERE id = $1 AND session = $2", db.nodes.id, db.nodes.session)
	return err
}

// live gives this node's signs of life until the queue closes.
func (db *DB) live() {}

// raise is called in the transaction of a change that all nodes must obey, and returns
// the epoch that they must have reached.
func (db *DB) raise(ctx context.Context, tx pgx.Tx) (epoch int64, err error) {
	err = tx.QueryRow(ctx, "UPDATE control SET epoch = epoch + 1 RETURNING epoch").Scan(&epoch)
	return epoch, err
}

// confirmed waits until all nodes that live obey an epoch. A node that learns of a new
// one calls obey, and confirms it then.
func (db *DB) confirmed(ctx context.Context, epoch int64) error { return nil }

// mayTake reports whether this node may take deliveries of an action now, as far as
// OneNode says. DB.mu is held.
func (db *DB) mayTake(action string) bool { return true }

// Node implements queue.Cluster.
func (db *DB) Node() string { return db.options.Node }

// Describe implements queue.Cluster.
func (db *DB) Describe(queue.Description) {}

// Nodes implements queue.Cluster.
func (db *DB) Nodes(ctx context.Context) ([]queue.Node, error) { return nil, errNotBuilt }

// OneNode implements queue.Cluster.
func (db *DB) OneNode(actions []string) {}

// OnSwitches implements queue.Cluster.
func (db *DB) OnSwitches(obey func(ctx context.Context) error) {}

// Leads implements queue.Cluster.
func (db *DB) Leads() bool { return true }

// Exclusive implements queue.Engine.
func (db *DB) Exclusive(ctx context.Context, name string, f func(ctx context.Context) error) error {
	return errNotBuilt
}
