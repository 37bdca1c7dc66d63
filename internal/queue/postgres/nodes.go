package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/cluster"
)

// nodes is what this node knows of itself and of the others.
type nodes struct {
	// self is this process among the others. It tells what may be handed out from
	// memory.
	self *cluster.Node

	session int32 // sessions.id: the owner of its leases
}

// id is nodes.id of the name that this node has now. It gets another once it has lost
// its name.
func (n *nodes) id() int32 { return n.self.Number() }

// newNode makes this process a node, which joins the others once the database is open.
func (db *DB) newNode() {
	db.nodes.self = cluster.New(cluster.Options{
		Name: db.options.Node, Schema: db.options.Schema, Lease: db.options.Lease, Pool: db.pool, Connect: db.connectApart,
		Beat: db.options.limits.beat, Clock: db.options.limits.clock, Logger: db.logger, Encode: encodeText, Decode: decodeText, Reached: reached,
		Hooks: cluster.Hooks{Changed: db.takeBack, Due: db.wake, Told: db.watchers.Pass},
	})
}

// connectApart makes a connection that is none of the pool.
func (db *DB) connectApart(ctx context.Context) (*pgx.Conn, error) {
	config := db.pool.Config()
	// By what Adjust took over, if it did.
	conn, err := pgx.ConnectConfig(ctx, db.connConfig().Copy())
	if err != nil {
		return nil, noConnection(err)
	}
	if err := config.AfterConnect(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// register has this node join the others.
func (db *DB) register(ctx context.Context) error {
	if db.nodes.session == 0 {
		if err := db.nodes.self.Join(ctx); err != nil {
			return err
		}
		db.nodes.session = db.nodes.self.Session()
	}
	return nil
}

// unregister tells the others that this node is gone. Its leases are given back.
func (db *DB) unregister(ctx context.Context) error { return db.nodes.self.Close(ctx) }

// epoch is a change that all nodes must obey.
type epoch = cluster.Epoch

// raise is the last that is called in the transaction of a change that all nodes must
// obey: one of some actions, or one that turned a switch. Nodes learn of it once it is
// committed.
func (db *DB) raise(ctx context.Context, tx pgx.Tx, switched bool, actions ...string) (epoch, error) {
	return db.nodes.self.Raise(ctx, tx, switched, actions...)
}

// obeyed waits until all nodes that live obey a change that is committed.
func (db *DB) obeyed(ctx context.Context, epoch epoch) error {
	return db.nodes.self.Obeyed(ctx, epoch)
}

// left tells the other nodes that deliveries of an action are left for them to take.
func (db *DB) left(action string) { db.nodes.self.Left(action) }

// mark is a moment, by what this node knows of changes. It is taken before a statement
// is sent that leases deliveries.
type mark = cluster.Mark

func (db *DB) mark() mark { return db.nodes.self.Mark() }

// lends reports whether deliveries of an action may be handed out from memory that a
// statement leased which was sent after a mark: whether no change of any node may
// forbid it since.
func (db *DB) lends(l *lane, since mark) bool { return db.nodes.self.Lends(l.name, since) }

// oneNode is what statements are given that lease deliveries: the action if one node
// at a time takes it, else nil.
func (db *DB) oneNode(action string) *string {
	if !db.nodes.self.OneNodeTakes(action) {
		return nil
	}
	written := encodeText(action)
	return &written
}

// Node implements queue.Cluster.
func (db *DB) Node() string { return db.nodes.self.Name() }

// Describe implements queue.Cluster.
func (db *DB) Describe(d queue.Description) { db.nodes.self.Describe(d) }

// Nodes implements queue.Cluster.
func (db *DB) Nodes(ctx context.Context) (nodes []queue.Node, err error) {
	err = db.withConnection(ctx, func(conn *pgxpool.Conn) error {
		nodes, err = db.nodes.self.Nodes(ctx, conn)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", reached(err))
	}
	return nodes, nil
}

// OneNode implements queue.Cluster.
func (db *DB) OneNode(actions []string) { db.nodes.self.OneNode(actions) }

// OnSwitches implements queue.Cluster.
func (db *DB) OnSwitches(obey func(ctx context.Context) error) { db.nodes.self.OnSwitches(obey) }

// Leads implements queue.Cluster.
func (db *DB) Leads() bool { return db.nodes.self.Leads() }

// Ahead implements queue.Cluster.
func (db *DB) Ahead() time.Duration { return db.nodes.self.Ahead() }

// once reports whether this node is to do what each node is asked to do each minute,
// and one of them does.
func (db *DB) once(ctx context.Context) (first bool, err error) {
	err = db.withConnection(ctx, func(conn *pgxpool.Conn) error {
		first, err = db.nodes.self.Once(ctx, conn)
		return err
	})
	return first, reached(err)
}

// Exclusive implements queue.Engine.
func (db *DB) Exclusive(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if err := db.usable(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("waiting for the turn of %s: %w", name, err)
	}
	return db.nodes.self.Exclusive(ctx, name, f)
}
