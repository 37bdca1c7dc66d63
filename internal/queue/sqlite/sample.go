package sqlite

import (
	"context"
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// sampling is one call of Sample on its way through the writer.
type sampling struct {
	waiter
	backlog map[string]layout.Sample
}

// Sample implements queue.History.
func (db *DB) Sample(ctx context.Context) error {
	backlog, err := db.Backlog(ctx)
	if err == nil && len(backlog) > 0 {
		s := &sampling{backlog: make(map[string]layout.Sample)}
		now := db.now()
		for _, b := range backlog {
			s.backlog[b.Action] = layout.Sample{Count: b.Count, Age: max(now.Sub(b.Oldest), 0).Microseconds()}
		}
		err = db.do(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("noting the backlog: %w", err)
	}
	return nil
}

func (*sampling) needsRoom() bool { return true }
func (s *sampling) prepare(*DB)   {}
func (s *sampling) apply(*DB)     {}

func (s *sampling) write(tx *transaction) error {
	c, err := tx.countNow()
	if err != nil {
		return err
	}
	c.Sample(s.backlog)
	return nil
}
