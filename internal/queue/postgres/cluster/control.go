package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// state is what an administrator changed, as far as this node knows. It is replaced
// as a whole.
type state struct {
	// epoch counts what was changed in the cluster. A node confirms the epoch that
	// it obeys.
	epoch int64
	// switched is the epoch in which a switch was turned last.
	switched int64
	paused   map[string]bool
	// changed says for each action in which epoch something about it was changed.
	changed map[string]int64
	// alone holds the actions of which one node at a time takes.
	alone map[string]bool
}

// Mark is a moment, by what the node knew then.
type Mark int64

// Mark is taken before a statement is sent that leases deliveries, and kept with
// them.
func (n *Node) Mark() Mark { return Mark(n.state.Load().epoch) }

// Lends reports whether deliveries of an action may be handed out from memory that a
// statement leased which was sent after a mark. It is asked before deliveries are
// stored as leased, and again when one is handed out: then it holds that no change
// returned in between, on any node, unless it left the action as it was. If it does
// not lend, what is leased is given back, and the tables say what may be taken.
//
// A node that others may take for dead does not lend: a change does not wait for it.
func (n *Node) Lends(action string, since Mark) bool {
	s := n.state.Load()
	return s.changed[action] <= int64(since) && !s.paused[action] && !s.alone[action] && n.Lives()
}

// Lives reports whether no other node may take this one for dead. One that others may
// take for dead may have missed that switches were turned.
func (n *Node) Lives() bool { return !n.over(n.alive.Load()) }

// Paused reports whether an action is paused, as far as this node knows.
func (n *Node) Paused(action string) bool { return n.state.Load().paused[action] }

// Querier is a connection, a pool or a transaction.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Epoch is a change that the nodes are to obey.
type Epoch struct {
	at int64
	// turned is whether it turned a switch, and before the epoch in which one was
	// turned last before.
	turned bool
	before int64
}

// Raise is the last statement of a transaction that changes something about actions,
// or turns a switch. It wakes the nodes once that is committed; Obeyed waits for
// them. Changes are raised one after another, until the end of their transactions.
func (n *Node) Raise(ctx context.Context, tx Querier, switched bool, actions ...string) (epoch Epoch, err error) {
	epoch.turned = switched
	err = tx.QueryRow(ctx, `WITH before AS MATERIALIZED (
			SELECT switched FROM control FOR UPDATE
		), raised AS (
			UPDATE control SET epoch = epoch + 1, switched = CASE WHEN $1 THEN epoch + 1 ELSE control.switched END FROM before RETURNING epoch, before.switched
		), named AS (
			INSERT INTO changed (action, epoch) SELECT action, epoch FROM raised, unnest($2::text[]) AS u(action)
			ON CONFLICT (action) DO UPDATE SET epoch = excluded.epoch
		) SELECT epoch, switched, pg_notify($3, $4)::text FROM raised`, switched, n.encoded(actions), n.channel, n.message(controlMessage)).Scan(&epoch.at, &epoch.before, nil)
	return epoch, err
}

// Obeyed waits until every node that lives obeys a change: this one, and those that
// confirm it or whose life ends. The change is committed. If the context ends
// before, the error names a node that it waited for.
//
// A node that was killed, is cut off or cannot obey is waited for until its lease is
// over. To wait for less is not possible: from here a node that was killed looks like one
// that is cut off and still hands out what it has in memory.
func (n *Node) Obeyed(ctx context.Context, epoch Epoch) error {
	if epoch.turned {
		// This node obeys its own switch without being asked.
		n.obeyed.CompareAndSwap(epoch.before, epoch.at)
	}
	pause := time.Millisecond
	waitedFor := n.Name()
	for {
		err := n.refresh(ctx, n.options.Pool, epoch.at)
		if err == nil {
			if waitedFor, err = n.behind(ctx, epoch.at); err == nil && waitedFor == "" {
				return nil
			}
		}
		pause = min(2*pause, 100*time.Millisecond)
		if ended := n.pause(ctx, pause); ended != nil {
			return fmt.Errorf("it is stored; waiting until node %s obeys it: %w", waitedFor, errors.Join(ended, err))
		}
	}
}

// behind returns the name of a node that lives and has not confirmed an epoch.
func (n *Node) behind(ctx context.Context, epoch int64) (name string, err error) {
	err = n.options.Pool.QueryRow(ctx, "SELECT coalesce(min(name), '') FROM sessions WHERE id <> $1 AND until > now_us() AND epoch < $2", n.session, epoch).Scan(&name)
	return name, err
}

// refresh reads what was changed, unless an epoch is known already, and has the
// engine obey it.
func (n *Node) refresh(ctx context.Context, q Querier, epoch int64) error {
	n.refreshing.Lock()
	known := n.state.Load().epoch
	n.refreshing.Unlock()
	if known >= epoch {
		return nil
	}
	return n.read(ctx, q)
}

// read reads the state, and puts it in the place of the one before. Nothing is held
// while the database is waited for: a node that waits for a connection would keep itself
// from giving a sign of life.
func (n *Node) read(ctx context.Context, q Querier) error {
	known := n.state.Load().epoch
	next := state{paused: make(map[string]bool)}
	rows, err := q.Query(ctx, `SELECT control.epoch, control.switched, ARRAY(SELECT name FROM switches WHERE kind = $3),
			others.n, others.watching, changed.action, changed.epoch
		FROM control CROSS JOIN (SELECT count(*) AS n, coalesce(bool_or(watching), false) AS watching FROM sessions WHERE id <> $2 AND until > now_us()) others
		LEFT JOIN changed ON changed.epoch > $1`, known, n.session, queue.SwitchAction)
	if err != nil {
		return err
	}
	since := make(map[string]int64) // what changed since what was known
	var paused []string
	var others int64
	var watched bool
	var action *string
	var epoch *int64
	if _, err := pgx.ForEachRow(rows, []any{&next.epoch, &next.switched, &paused, &others, &watched, &action, &epoch}, func() error {
		if action != nil {
			since[n.options.Decode(*action)] = *epoch
		}
		return nil
	}); err != nil {
		return err
	}
	for _, name := range paused {
		next.paused[n.options.Decode(name)] = true
	}
	n.others.Store(others)
	n.feed.watched.Store(watched)
	n.refreshing.Lock()
	defer n.refreshing.Unlock()
	before := n.state.Load()
	first := before.changed == nil
	if !first && next.epoch <= before.epoch {
		return nil // another has read as much meanwhile
	}
	next.changed = maps.Clone(before.changed)
	if first {
		next.changed = make(map[string]int64)
	}
	// What another read meanwhile is obeyed already.
	maps.DeleteFunc(since, func(_ string, epoch int64) bool { return epoch <= before.epoch })
	maps.Copy(next.changed, since)
	n.lanes.mu.Lock()
	next.alone = n.state.Load().alone
	n.state.Store(&next)
	n.lanes.mu.Unlock()
	if first {
		return nil
	}
	if len(since) > 0 {
		n.options.Changed(slices.Collect(maps.Keys(since)))
	}
	return nil
}

// OnSwitches implements queue.Cluster.
func (n *Node) OnSwitches(obey func(ctx context.Context) error) { n.obey.Store(&obey) }

// confirm has switches obeyed that other nodes turned, and confirms with the next sign
// of life what this node knows. It is called by one goroutine.
func (n *Node) confirm(ctx context.Context) error {
	s := n.state.Load()
	if s.switched > n.obeyed.Load() {
		if obey := n.obey.Load(); obey != nil {
			if err := (*obey)(ctx); err != nil {
				return err
			}
		}
		n.obeyed.Store(s.switched)
	}
	n.confirmed.Store(s.epoch)
	return nil
}

// encoded returns names of actions as the tables have them.
func (n *Node) encoded(actions []string) []string {
	written := make([]string, len(actions))
	for i, action := range actions {
		written[i] = n.options.Encode(action)
	}
	return written
}

// The kinds of messages between nodes. The kind and the sender stand before what a
// message says.
const (
	controlMessage = "control" // something was changed: the tables say what
	dueMessage     = "due"     // deliveries of the actions named may be taken
	eventsMessage  = "events"  // the events named were stored or changed
	missedMessage  = "missed"  // those and more
)

func (n *Node) message(kind string, words ...string) string {
	return strings.Join(append([]string{kind, fmt.Sprint(n.session)}, words...), "\n")
}
