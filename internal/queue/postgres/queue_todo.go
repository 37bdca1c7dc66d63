package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// The half that writes, until it is built.

type lane struct{ name string }

func (db *DB) loadLanes(context.Context, *pgxpool.Conn) error { return nil }

// takeBack is called when something about actions was changed, on whichever node:
// what waits in memory for their takers goes back to the table, and their takers look
// there. It does not wait for the database. Whatever is handed out from memory is
// subject to lends, and db.nodes.self.Paused says what is paused.
func (db *DB) takeBack(actions []string) {}

// wake wakes the takers of actions, or all if none is named: another node left
// something for them.
func (db *DB) wake(actions []string) {}

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

func (db *DB) Verify(context.Context) ([]string, error) { return nil, errNotBuilt }
