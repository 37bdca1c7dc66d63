// Package cluster makes the processes that have one schema open the nodes of one
// cluster: each gives signs of life, learns what an administrator changed on
// another before the command that changed it returns, and hears what the others
// stored. It holds what is to be done once for the cluster: rows with a lease, not
// locks of a session, so that they outlive a lost connection and work through
// PgBouncer.
//
// All times in the tables are the database's. What a node believes of itself it
// measures from before it asked, so that it stops believing before others do.
package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// remembered is how long a node that does not live is listed.
const remembered = 7 * 24 * time.Hour

// Options says what a node is and whom it tells.
type Options struct {
	// Name is what the node is to be called. While another node of that name lives,
	// this one gets a number added.
	Name string
	// Schema is the schema that the nodes share. Those of another do not hear them.
	Schema string
	// Lease is how long a node counts as alive after its last sign of life.
	Lease time.Duration

	// Pool has the tables in its search path. Connect makes a connection beside it
	// that has them too: the node keeps one of its own, so that a pool that is
	// busy cannot make it seem dead.
	Pool    *pgxpool.Pool
	Connect func(ctx context.Context) (*pgx.Conn, error)

	// Beat is how long it is at most from one sign of life to the next, and Clock is
	// this machine's.
	Beat  time.Duration
	Clock func() time.Time

	// Encode returns a name as the tables have it, and Decode the name. PostgreSQL's
	// text cannot hold every name.
	Encode, Decode func(string) string
	// Reached makes an error of the database into one that callers distinguish.
	Reached func(error) error

	Logger *zap.Logger
	Hooks
}

// Hooks are what the engine does when another node, or this one, did something.
// They are called by one goroutine at a time at most for each, and must not wait
// for the database: the other node's command waits for them.
type Hooks struct {
	// Changed says that actions were paused or not, cancelled, moved or made due,
	// or go to one node from now on or no more: what was leased for them before and is still
	// in memory is not to be handed out (Lends says so too), and takers look again.
	Changed func(actions []string)
	// Due says that another node stored deliveries of these actions for others to
	// take.
	Due func(actions []string)
	// Told passes on what other nodes changed, for those who watch.
	Told func(queue.Changes)
}

// Node is this process as a node of the cluster.
type Node struct {
	options Options
	// session stands for this opening of the schema. It is the owner of its leases.
	session int32
	joined  atomic.Bool
	channel string

	called      atomic.Pointer[called]
	description atomic.Pointer[queue.Description]

	// refreshing is held while a state is put in the place of the one before. Nothing
	// waits for the database meanwhile.
	refreshing sync.Mutex
	state      atomic.Pointer[state]
	// obeyed is the epoch up to which switches of other nodes are obeyed, and
	// confirmed up to which everything is.
	obeyed, confirmed atomic.Int64
	obey              atomic.Pointer[func(ctx context.Context) error]
	// alive lasts as long as no other node may take this one for dead, and leads as
	// long as no other may lead.
	alive, leads atomic.Pointer[span]
	others       atomic.Int64 // that live
	ahead        atomic.Int64 // by how many nanoseconds this machine's clock is ahead of the database's
	turns        sync.Map     // of Exclusive: name -> chan struct{}
	lanes        lanes
	feed         feed

	stop     context.CancelFunc
	stopped  context.Context
	stopping sync.RWMutex // nothing begins to run once it is stopped
	running  sync.WaitGroup
}

// called is a name and its number, by which rows say which node made them.
type called struct {
	name   string
	number int32
}

// New returns a node that has not joined the others yet.
func New(o Options) *Node {
	n := &Node{options: o, channel: channel(o.Schema)}
	if o.Clock == nil {
		n.options.Clock = time.Now
	}
	if o.Encode == nil {
		as := func(name string) string { return name }
		n.options.Encode, n.options.Decode = as, as
	}
	if o.Reached == nil {
		n.options.Reached = func(err error) error { return err }
	}
	n.called.Store(&called{name: n.options.Name})
	n.description.Store(&queue.Description{Delivers: true})
	n.state.Store(&state{})
	n.alive.Store(&span{})
	n.leads.Store(&span{})
	n.lanes.held = make(map[string]span)
	n.feed.start()
	n.stopped, n.stop = context.WithCancel(context.Background())
	return n
}

// Join makes this process a node. It lives when Join returns. After an error it may
// be called again.
func (n *Node) Join(ctx context.Context) error {
	if n.session == 0 {
		if err := n.options.Pool.QueryRow(ctx, "SELECT nextval('session_ids')").Scan(&n.session); err != nil {
			return fmt.Errorf("joining the other nodes: %w", err)
		}
	}
	if err := n.compareClocks(ctx, n.options.Pool); err != nil {
		return err
	}
	if err := n.enter(ctx); err != nil {
		return err
	}
	// Those that opened the queue read the switches afterwards.
	n.obeyed.Store(n.state.Load().switched)
	n.confirmed.Store(n.state.Load().epoch)
	n.joined.Store(true)
	n.run(n.live)
	n.run(n.sendDue)
	n.run(n.sendEvents)
	return nil
}

// enter adds the node to those that live, under a name that is free among them, and
// reads the state. A node that was taken for dead enters again, and obeys what was
// changed meanwhile with its next sign of life.
func (n *Node) enter(ctx context.Context) error {
	asked := n.options.Clock()
	var now called
	err := pgx.BeginFunc(ctx, n.options.Pool, func(tx pgx.Tx) error {
		// Who enters and who changes something do so one after another: a change
		// sees this node, or this node sees the change.
		if _, err := tx.Exec(ctx, "SELECT epoch FROM control FOR UPDATE"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM sessions WHERE id = $1 OR until <= now_us() AND (name = $2 OR seen < now_us() - $3::bigint)",
			n.session, n.options.Encode(n.options.Name), remembered.Microseconds()); err != nil {
			return err
		}
		// A process that was killed has no connection any more. Its name is free at
		// once, so that it keeps its name when it is started again, though a change
		// waits for its lease.
		rows, err := tx.Query(ctx, `SELECT name FROM sessions WHERE until > now_us() AND (backend IS NULL OR EXISTS (
			SELECT 1 FROM pg_stat_activity a WHERE a.pid = sessions.backend AND (a.backend_start IS NULL OR a.backend_start = sessions.connected)))`)
		if err != nil {
			return err
		}
		taken, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (name string, err error) {
			err = row.Scan(&name)
			return n.options.Decode(name), err
		})
		if err != nil {
			return err
		}
		now.name = free(n.options.Name, taken)
		written := n.options.Encode(now.name)
		if _, err := tx.Exec(ctx, "INSERT INTO nodes (name) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM nodes WHERE name = $1)", written); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT id FROM nodes WHERE name = $1", written).Scan(&now.number); err != nil {
			return err
		}
		description := n.description.Load()
		if _, err := tx.Exec(ctx, `INSERT INTO sessions (id, name, started, seen, until, epoch, version, configuration, delivers)
			VALUES ($1, $2, now_us(), now_us(), now_us() + $3, CASE WHEN $7 THEN $8 ELSE (SELECT epoch FROM control) END, $4, $5, $6)`,
			n.session, written, n.options.Lease.Microseconds(), description.Version, description.Configuration, description.Delivers, n.joined.Load(), n.confirmed.Load()); err != nil {
			return err
		}
		if n.joined.Load() {
			return nil // the next sign of life
		}
		return n.read(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("joining the other nodes: %w", err)
	}
	if now.name != n.options.Name {
		n.options.Logger.Warn("another node of the same name lives; give each node a name of its own (node, in queue postgres)",
			zap.String("node", n.options.Name), zap.String("called", now.name))
	}
	n.called.Store(&now)
	if !n.joined.Load() {
		n.alive.Store(n.believed(asked, n.options.Lease))
	}
	return nil
}

// free returns a name that is not taken: the one that is wanted, or that with a
// number.
func free(wanted string, taken []string) string {
	name := wanted
	for i := 2; slices.Contains(taken, name); i++ {
		name = fmt.Sprintf("%s-%d", wanted, i)
	}
	return name
}

// Session is the owner of the leases of this node. No other process has the same, ever.
func (n *Node) Session() int32 { return n.session }

// Name implements Node of queue.Cluster. Until the node has joined it is the name that
// it is to have.
func (n *Node) Name() string { return n.called.Load().name }

// Number stands for the name in rows that this node makes: nodes.id. It is another one
// once the node has another name.
func (n *Node) Number() int32 { return n.called.Load().number }

// Describe implements queue.Cluster.
func (n *Node) Describe(d queue.Description) { n.description.Store(&d) }

// Others reports whether other nodes live.
func (n *Node) Others() bool { return n.others.Load() > 0 }

// Nodes implements queue.Cluster.
func (n *Node) Nodes(ctx context.Context, q Querier) ([]queue.Node, error) {
	// A node that was started again is listed once.
	rows, err := q.Query(ctx, `SELECT DISTINCT ON (name) id, name, version, configuration, delivers, started, seen, until > now_us(), closed
		FROM sessions WHERE until > now_us() OR seen >= now_us() - $1::bigint ORDER BY name, until > now_us() DESC, id DESC`, remembered.Microseconds())
	if err != nil {
		return nil, err
	}
	nodes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (node queue.Node, err error) {
		var id int32
		var started, seen int64
		err = row.Scan(&id, &node.Name, &node.Version, &node.Configuration, &node.Delivers, &started, &seen, &node.Lives, &node.Closed)
		node.Name = n.options.Decode(node.Name)
		node.Started, node.Seen, node.Self = time.UnixMicro(started).UTC(), time.UnixMicro(seen).UTC(), id == n.session
		if node.Self {
			node.Description = *n.description.Load()
		}
		return node, err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(nodes, func(a, b queue.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes, nil
}

// Stop ends what the node does by itself and tells the others nothing, as when its
// process ends. It may be called more than once.
func (n *Node) Stop() {
	n.stopping.Lock()
	n.stop()
	n.stopping.Unlock()
	n.running.Wait()
}

// run has f run beside the caller, until the node is stopped.
func (n *Node) run(f func()) {
	n.stopping.RLock()
	defer n.stopping.RUnlock()
	if n.stopped.Err() == nil {
		n.running.Go(f)
	}
}

// WithoutSync is a statement for the beginning of a transaction. Its commit waits for no
// disk and no standby, so a crash of the server may undo it.
const WithoutSync = "SELECT set_config('synchronous_commit', 'off', true)"

// Close leaves the cluster: others need not wait for this node, and do at once what
// it did for all. The engine has given back its leases.
func (n *Node) Close(ctx context.Context) error {
	n.Stop()
	n.alive.Store(&span{})
	n.leads.Store(&span{})
	b := &pgx.Batch{}
	// It does not wait for a standby that is away.
	b.Queue(WithoutSync)
	b.Queue("UPDATE sessions SET seen = now_us(), until = now_us(), closed = true, watching = false WHERE id = $1", n.session)
	b.Queue("DELETE FROM claims WHERE holder = $1", n.holder())
	b.Queue("UPDATE lanes SET until = now_us() WHERE session = $1", n.session)
	if err := n.options.Pool.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("leaving the other nodes: %w", err)
	}
	return nil
}

// ended returns why a call cannot go on: its context, or that the node stopped.
func (n *Node) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.stopped.Err() != nil {
		return queue.ErrClosed
	}
	return nil
}

// pause waits, and returns ended.
func (n *Node) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-n.stopped.Done():
	}
	return n.ended(ctx)
}

// span is a time that began and lasts a while.
type span struct {
	began time.Time
	lasts time.Duration
}

// left is how much of the time is left.
func (s *span) left(now time.Time) time.Duration { return s.lasts - Elapsed(s.began, now) }

// Elapsed returns the time from one moment to another, by the clock or by what the
// machine counts: the one can be set, and the other stands still while a machine sleeps.
// The more counts.
func Elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// over reports whether none is left.
func (s *span) over(now time.Time) bool { return s.left(now) <= 0 }

// over reports whether this node may not believe any more what it believed for a time.
func (n *Node) over(s *span) bool { return s.over(n.options.Clock()) }

// believed is how long this node may believe what holds in the database for a time
// that began after it asked. It is a tenth less, for clocks that run at different
// speed, and for a database that forgot what it did last when it was started again.
func (n *Node) believed(asked time.Time, lasts time.Duration) *span {
	return &span{began: asked, lasts: lasts - lasts/10}
}
