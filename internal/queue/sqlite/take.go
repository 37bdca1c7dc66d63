package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// action is what the queue knows of one action: what of it is in memory, and
// what the database says.
type action struct {
	scheduler.Action       // guarded by DB.mu
	id               int64 // in the table actions, 0 until stored
	row              int64 // the same, as the current transaction sees it
	waiting          int   // committed unfinished deliveries, in memory or not
	delta            int   // how the current transaction changes waiting

	uses    actionUses // as committed
	next    actionUses // as the current transaction sees them
	touched bool       // by the current transaction
}

// action returns what is known of an action. DB.mu is held.
func (db *DB) action(name string) *action {
	a := db.actions[name]
	if a == nil {
		a = &action{}
		db.scheduler.Add(&a.Action, name)
		db.actions[name] = a
	}
	return a
}

func (db *DB) newScheduler() *scheduler.Scheduler {
	l := &db.options.limits
	return scheduler.New(scheduler.Options{
		Lease: db.options.Lease, Fresh: l.fresh, ActionBytes: l.actionBytes, TotalBytes: l.totalBytes,
		Now: db.options.Clock, Elapsed: l.elapsed, Wake: db.tickIn, Load: db.startLoad,
	})
}

// longestTimer bounds how long the timer sleeps, because the clock of the
// machine may be set meanwhile.
const longestTimer = 2 * time.Second

// tickIn has tick called in a time. DB.mu is held.
func (db *DB) tickIn(d time.Duration) {
	if !db.closing {
		db.timer.Reset(min(max(d, 0), longestTimer))
	}
}

func (db *DB) tick() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if !db.closing {
		db.scheduler.Tick()
	}
}

// Take implements queue.Queue.
func (db *DB) Take(ctx context.Context, name string, n int) ([]queue.Lease, error) {
	if n < 1 {
		return nil, fmt.Errorf("taking deliveries of %s: n is %d and must be at least 1", name, n)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	a := db.action(name)
	wake := db.scheduler.Wait(&a.Action)
	defer db.scheduler.Done(&a.Action)
	for {
		if db.closing {
			return nil, fmt.Errorf("taking deliveries of %s: %w", name, queue.ErrClosed)
		}
		if leases := db.scheduler.Take(&a.Action, n); len(leases) > 0 {
			return leases, nil
		}
		db.mu.Unlock()
		var err error
		select {
		case <-wake:
		case <-db.closed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		db.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
}

// Extend implements queue.Queue.
func (db *DB) Extend(_ context.Context, token queue.Token, d time.Duration) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	err := queue.ErrClosed
	if !db.closing {
		err = db.scheduler.Extend(token, d)
	}
	if err != nil {
		return fmt.Errorf("extending a lease: %w", err)
	}
	return nil
}
