package activity

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Rest waits as long as a step of upkeep took, at most 100 ms, so that storing and
// delivering get their turn before the next one. It returns queue.ErrClosed once closed is
// closed.
func Rest(ctx context.Context, took time.Duration, closed <-chan struct{}) error {
	timer := time.NewTimer(min(took, 100*time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-closed:
		return queue.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
