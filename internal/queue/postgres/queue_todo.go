package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// The half that writes, until it is built.

type lane struct{}

func (db *DB) loadLanes(context.Context, *pgxpool.Conn) error { return nil }

// obey brings what this node knows in memory in line with what was changed: switches
// are read again, and what waits in memory for takers goes back to the table. After it
// returned this node hands nothing out that a change of before forbids.
func (db *DB) obey(ctx context.Context) error { return nil }

func (db *DB) Put(context.Context, []queue.Entry) ([]queue.Receipt, error) { return nil, errNotBuilt }

func (db *DB) Take(context.Context, string, int) ([]queue.Lease, error) { return nil, errNotBuilt }

func (db *DB) Extend(context.Context, queue.Token, time.Duration) error { return errNotBuilt }

func (db *DB) Settle(queue.Token, queue.Settlement) error { return errNotBuilt }

func (db *DB) Amend(context.Context, []queue.Amendment) error { return errNotBuilt }

func (db *DB) Change(context.Context, queue.Change) (queue.Changed, error) {
	return queue.Changed{}, errNotBuilt
}

func (db *DB) Switches(context.Context) ([]queue.Switch, error) { return nil, errNotBuilt }

func (db *DB) Limit(maxPending int, _ int64) {}

func (db *DB) Usage() queue.Usage { return queue.Usage{Dir: "postgres", Free: -1} }

func (db *DB) Verify(context.Context) ([]string, error) { return nil, errNotBuilt }
