package sqlite

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// An empty queue takes every batch. One with more deliveries than the limit would
// otherwise be refused each time its sender repeats it.

// refusePending returns why more deliveries cannot be added to those that are
// unfinished, or nil.
func (tx *transaction) refusePending(more int) error {
	limit := tx.db.maxPending.Load()
	if more == 0 || tx.pending == 0 || int64(tx.pending+more) <= limit {
		return nil
	}
	tx.db.crowded.Store(int64(more))
	tx.db.tellPending(int64(tx.pending), limit)
	return fmt.Errorf("%w: there would be %d unfinished deliveries and max_pending is %d", queue.ErrFull, tx.pending+more, limit)
}

func (db *DB) tellPending(pending, limit int64) {
	if _, told := db.troubles.Get(queue.TroublePending); told {
		return
	}
	message := fmt.Sprintf("%d deliveries are unfinished and max_pending is %d: see why they wait, cancel what is not needed, or raise max_pending", pending, limit)
	if db.troubles.Begin(queue.TroublePending, message, true) {
		db.logger.Error("events are refused: too many deliveries are unfinished", zap.Int64("unfinished", pending), zap.Int64("max_pending", limit))
	}
}

// checkPending notes whether max_pending keeps events out right now, as far as
// the last event shows that it kept out.
func (db *DB) checkPending() {
	db.mu.Lock()
	pending := int64(0)
	for _, a := range db.actions {
		pending += int64(a.waiting)
	}
	db.mu.Unlock()
	limit, more := db.maxPending.Load(), max(db.crowded.Load(), 1)
	if pending > 0 && pending+more > limit {
		db.tellPending(pending, limit)
		return
	}
	db.crowded.Store(0)
	if db.troubles.End(queue.TroublePending) {
		db.logger.Info("events are taken again: fewer deliveries are unfinished", zap.Int64("unfinished", pending), zap.Int64("max_pending", limit))
	}
}
