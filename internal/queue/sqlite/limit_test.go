package sqlite

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// TestLimitCountsAtOnce changes both limits of an open queue.
func TestLimitCountsAtOnce(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{
		free: func(string) (int64, error) { return 1000, nil }, freeEvery: time.Hour,
	}})
	put := func() error {
		_, err := db.Put(t.Context(), []queue.Entry{benchEntry("record")})
		return err
	}
	for _, step := range []struct {
		maxPending int
		minFree    int64
		full       bool
	}{{2, -1, false}, {1, -1, true}, {3, 500, false}, {3, 2000, true}, {3, 1000, false}} {
		db.Limit(step.maxPending, step.minFree)
		if err := put(); errors.Is(err, queue.ErrFull) != step.full || err != nil && !step.full {
			t.Errorf("with max_pending %d and min_free %d: %v, want full %t", step.maxPending, step.minFree, err, step.full)
		}
	}
}

// TestEmptyQueueTakesABatchBeyondItsLimit: refused with 503, its sender would
// come again for ever.
func TestEmptyQueueTakesABatchBeyondItsLimit(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, MaxPending: 1})
	batch := []queue.Entry{benchEntry("record"), benchEntry("record")}
	if _, err := db.Put(t.Context(), batch); err != nil {
		t.Errorf("an empty queue refused a batch: %v", err)
	}
	if _, err := db.Put(t.Context(), []queue.Entry{benchEntry("record")}); !errors.Is(err, queue.ErrFull) {
		t.Errorf("a queue beyond its limit took another event: %v", err)
	}
}
