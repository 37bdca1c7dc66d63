package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// leader is the claim of the node that leads.
const leader = "leader"

// claimSQL claims a name for a holder. It gives a row unless another holds it.
const claimSQL = `INSERT INTO claims AS c (name, holder, until) VALUES ($1, $2, now_us() + $3)
	ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE c.holder = excluded.holder OR c.until <= now_us()
	RETURNING true`

// leadFor is how long a node leads after it said so last. It is shorter than a
// lease, so that another leads within one.
func (n *Node) leadFor() time.Duration { return n.options.Lease * 2 / 3 }

// Leads implements queue.Cluster.
func (n *Node) Leads() bool { return !n.over(n.leads.Load()) }

// Once reports whether this node is to do what is done once for the cluster: as
// Leads, but it asks the database, so that it is true for one of all nodes that ask
// at the same time.
func (n *Node) Once(ctx context.Context, q Querier) (bool, error) { return n.lead(ctx, q) }

// lead leads if no other node does. Unlike what is said again with each sign of life,
// it is on disk before the node believes it.
func (n *Node) lead(ctx context.Context, q Querier) (leads bool, err error) {
	asked := n.options.Clock()
	switch err := q.QueryRow(ctx, claimSQL, leader, n.holder(), n.leadFor().Microseconds()).Scan(&leads); {
	case errors.Is(err, pgx.ErrNoRows):
		n.leads.Store(&span{})
		return false, nil
	case err != nil:
		return false, err
	}
	n.leads.Store(n.believed(asked, n.leadFor()))
	return true, nil
}

// Exclusive implements queue.Engine.
func (n *Node) Exclusive(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The goroutines of a node take their turn without the database.
	local, _ := n.turns.LoadOrStore(name, make(chan struct{}, 1))
	turn := local.(chan struct{})
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopped.Done():
		return fmt.Errorf("waiting for the turn of %s: %w", name, queue.ErrClosed)
	}
	claim, err := n.claim(ctx, name)
	if err != nil {
		return err
	}
	held, lost := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { n.keep(held, claim, lost) })
	defer func() {
		lost(nil)
		keeping.Wait()
		n.release(claim)
	}()
	return f(held)
}

// holder says in the tables which node holds a claim.
func (n *Node) holder() string { return strconv.Itoa(int(n.session)) }

// claim is what one call of Exclusive holds.
type claim struct {
	name, holder string
	valid        *span
}

// claimEach is how often a name is tried that another node holds.
const claimEach = 100 * time.Millisecond

// claim waits until the name is free.
func (n *Node) claim(ctx context.Context, name string) (c *claim, err error) {
	c = &claim{name: "exclusive " + n.options.Encode(name), holder: n.holder() + " " + uuid.NewString()}
	wrap := func(err error) error {
		if ended := ctx.Err(); ended != nil {
			return ended
		}
		return fmt.Errorf("waiting for the turn of %s: %w", name, n.options.Reached(err))
	}
	for {
		asked := n.options.Clock()
		var held bool
		// A claim that is cut off may be made or not: it must not be left behind.
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.patience())
		err := n.options.Pool.QueryRow(asking, claimSQL, c.name, c.holder, n.options.Lease.Microseconds()).Scan(&held)
		cancel()
		if err == nil {
			c.valid = n.believed(asked, n.options.Lease)
			if ctx.Err() != nil {
				n.release(c)
				return nil, ctx.Err()
			}
			return c, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			n.release(c)
			return nil, wrap(err)
		}
		if err := n.pause(ctx, claimEach); err != nil {
			return nil, wrap(err)
		}
	}
}

// keep keeps a claim until the context ends, and ends it when the claim is lost. It
// waits no longer than the claim is valid, neither between two times that it asks nor for
// an answer: another node may have the turn afterwards.
func (n *Node) keep(ctx context.Context, c *claim, lost context.CancelCauseFunc) {
	each := n.options.Lease / beatsALease
	var failed error
	for n.pause(ctx, min(each, c.valid.left(n.options.Clock()))) == nil {
		asked := n.options.Clock()
		left := c.valid.left(asked)
		if left <= 0 {
			lost(fmt.Errorf("the turn cannot be kept: %w", cmp.Or(failed, context.DeadlineExceeded)))
			return
		}
		asking, cancel := context.WithTimeout(ctx, min(max(each, time.Second), left))
		var held bool
		failed = n.options.Pool.QueryRow(asking, "UPDATE claims SET until = now_us() + $3 WHERE name = $1 AND holder = $2 RETURNING true", c.name, c.holder, n.options.Lease.Microseconds()).Scan(&held)
		cancel()
		switch {
		case failed == nil:
			c.valid = n.believed(asked, n.options.Lease)
		case errors.Is(failed, pgx.ErrNoRows):
			lost(errors.New("another node has the turn, because this one could not say for the time of a lease that it goes on"))
			return
		}
	}
	if ctx.Err() == nil {
		lost(queue.ErrClosed)
	}
}

// release gives a claim back. If it cannot, that ends with its lease.
func (n *Node) release(c *claim) {
	ctx, cancel := context.WithTimeout(context.Background(), n.patience())
	defer cancel()
	_, _ = n.options.Pool.Exec(ctx, "DELETE FROM claims WHERE name = $1 AND holder = $2", c.name, c.holder)
}
