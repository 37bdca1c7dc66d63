package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// LaneAgain is into how many parts a lease is divided: after each, a node that takes
// holds its lane anew. So when it takes, the lane lasts for all but one of them.
const LaneAgain = 10

// lanes are the actions of which one node at a time takes: the one that holds the
// lane. No lease that is given under it lasts longer than the lane, so that the next
// node begins when none is left.
type lanes struct {
	mu   sync.Mutex
	held map[string]span // while the lane lasts for most of a lease
}

// OneNode implements queue.Cluster.
func (n *Node) OneNode(actions []string) {
	alone := make(map[string]bool, len(actions))
	for _, action := range actions {
		alone[action] = true
	}
	var changed []string
	n.lanes.mu.Lock()
	next := *n.state.Load()
	for action := range alone {
		if !next.alone[action] {
			changed = append(changed, action)
		}
	}
	for action := range next.alone {
		if !alone[action] {
			changed = append(changed, action)
		}
	}
	next.alone = alone
	n.state.Store(&next)
	n.lanes.mu.Unlock()
	if len(changed) > 0 {
		n.options.Changed(changed)
	}
}

// OneNodeTakes reports whether one node at a time takes deliveries of an action.
// Before each Take of such an action, and before each Extend of a lease of it, Hold
// is called.
func (n *Node) OneNodeTakes(action string) bool { return n.state.Load().alone[action] }

// Lane is who holds the lane of an action.
type Lane int

// A lane is held by this node or another. It is free if no node could hold it yet,
// because leases are left that were given before there was a lane.
const (
	LaneOfAnother Lane = iota
	LaneOfThis
	LaneFree
)

// Hold takes the lane of an action, or keeps it, for a time from now. Leases of the
// action end no later than the lane, so that nothing of it is leased when another node
// takes the lane.
func (n *Node) Hold(ctx context.Context, q Querier, action string, lasts time.Duration) (Lane, error) {
	n.lanes.mu.Lock()
	held, ok := n.lanes.held[action]
	n.lanes.mu.Unlock()
	if ok && lasts <= n.options.Lease && !n.over(&held) {
		return LaneOfThis, nil
	}
	asked, written := n.options.Clock(), n.options.Encode(action)
	// A node that holds the lane keeps it. One that does not takes it once it is
	// free, and nothing is leased that was taken without one.
	var mine bool
	err := q.QueryRow(ctx, "UPDATE lanes SET until = greatest(until, now_us() + $3) WHERE action = $1 AND session = $2 AND until > now_us() RETURNING true",
		written, n.session, lasts.Microseconds()).Scan(&mine)
	if errors.Is(err, pgx.ErrNoRows) {
		var other bool
		err = q.QueryRow(ctx, `WITH taken AS (
				INSERT INTO lanes AS l (action, session, until) SELECT $1, $2, now_us() + $3
				WHERE NOT EXISTS (SELECT 1 FROM waiting WHERE action = (SELECT id FROM actions WHERE name = $1) AND leased_until > now_us() AND owner <> $2)
				ON CONFLICT (action) DO UPDATE SET session = excluded.session, until = excluded.until WHERE l.until <= now_us()
				RETURNING 1
			) SELECT EXISTS (SELECT 1 FROM taken), EXISTS (SELECT 1 FROM lanes WHERE action = $1 AND until > now_us())`,
			written, n.session, lasts.Microseconds()).Scan(&mine, &other)
		if err == nil && !mine {
			if other {
				return LaneOfAnother, nil
			}
			return LaneFree, nil
		}
	}
	if err != nil {
		return LaneOfAnother, err
	}
	if lasts >= n.options.Lease {
		n.lanes.mu.Lock()
		n.lanes.held[action] = span{began: asked, lasts: n.options.Lease / LaneAgain}
		n.lanes.mu.Unlock()
	}
	return LaneOfThis, nil
}
