package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// pending is how many deliveries are unfinished, as of the last commit of this node, or
// of a second ago: other nodes change it too.
type pending struct {
	mu    sync.Mutex
	count int64
	at    time.Time
	// crowded is how many deliveries the last event had that max_pending kept out,
	// 0 once there is room for them.
	crowded int64
}

const countPending = `SELECT coalesce(sum(waiting), 0)::bigint FROM ` + allActionCounts + ` AS c`

// stale reports whether others may have changed the number since it was counted.
func (p *pending) stale(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.at) > time.Second
}

// stored notes what a commit added, and what it saw before, if it counted.
func (p *pending) stored(before *int64, added int64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before != nil {
		p.count, p.at = *before, at
	}
	p.count += added
}

// settled notes that deliveries have ended.
func (p *pending) settled(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count -= n
}

// An empty queue takes every batch. One with more deliveries than the limit would
// otherwise be refused each time its sender repeats it.

// refusePending returns why more deliveries cannot be added to those that are
// unfinished and to others that are about to be, or nil.
func (db *DB) refusePending(others, more int64) error {
	limit := db.maxPending.Load()
	p := &db.pending
	p.mu.Lock()
	count := p.count + others
	if more == 0 || count <= 0 || count+more <= limit {
		p.mu.Unlock()
		return nil
	}
	p.crowded = more
	p.mu.Unlock()
	db.tellPending(count, limit)
	return fmt.Errorf("%w: there would be %d unfinished deliveries and max_pending is %d", queue.ErrFull, count+more, limit)
}

func (db *DB) tellPending(count, limit int64) {
	message := fmt.Sprintf("%d deliveries are unfinished and max_pending is %d: see why they wait, cancel what is not needed, or raise max_pending", count, limit)
	if _, told := db.troubles.Get(queue.TroublePending); !told && db.troubles.Begin(queue.TroublePending, message, true) {
		db.logger.Error("events are refused: too many deliveries are unfinished", zap.Int64("unfinished", count), zap.Int64("max_pending", limit))
	}
}

// countPending counts again, and notes whether max_pending keeps events out right now,
// as far as the last event shows that it kept out.
func (db *DB) countPending(ctx context.Context, q querier) error {
	count := int64(0)
	if err := q.QueryRow(ctx, countPending).Scan(&count); err != nil {
		return err
	}
	p := &db.pending
	p.mu.Lock()
	p.count, p.at = count, db.now()
	more := max(p.crowded, 1)
	limit := db.maxPending.Load()
	full := count > 0 && count+more > limit
	if !full {
		p.crowded = 0
	}
	p.mu.Unlock()
	if full {
		db.tellPending(count, limit)
	} else if db.troubles.End(queue.TroublePending) {
		db.logger.Info("events are taken again: fewer deliveries are unfinished", zap.Int64("unfinished", count), zap.Int64("max_pending", limit))
	}
	return nil
}

// Limit implements queue.Engine. How much room the server has is not known here, so
// minFree says nothing.
func (db *DB) Limit(maxPending int, _ int64) {
	if maxPending == 0 {
		maxPending = Options{}.withDefaults().MaxPending
	}
	db.maxPending.Store(int64(maxPending))
}
