package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// agreeWithin is how far the clock of this machine and that of the database may be apart
// and still count as the same. NTP keeps them closer.
const agreeWithin = time.Second

// Ahead implements queue.Cluster.
func (n *Node) Ahead() time.Duration {
	ahead := time.Duration(n.ahead.Load())
	if ahead.Abs() < agreeWithin {
		return 0
	}
	return ahead
}

// compareClocks asks the database for its time.
func (n *Node) compareClocks(ctx context.Context, q Querier) error {
	asked := n.options.Clock()
	rows, err := q.Query(ctx, "SELECT now_us()")
	if err != nil {
		return fmt.Errorf("reading the clock of the database: %w", err)
	}
	shown, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("reading the clock of the database: %w", err)
	}
	n.showed(asked, shown)
	return nil
}

// showed takes note of what the clock of the database showed, in microseconds since 1970, at
// some time after this node asked, and before now. What was believed of the two clocks
// stays as long as it may be true, so that it does not change with each answer that is slow.
func (n *Node) showed(asked time.Time, shown int64) {
	at := time.UnixMicro(shown)
	// Round strips the monotonic part: this is about what the clocks show.
	least, most := asked.Round(0).Sub(at), n.options.Clock().Round(0).Sub(at)
	if ahead := time.Duration(n.ahead.Load()); ahead < least || ahead > most {
		n.ahead.Store(int64(least + (most-least)/2))
	}
}
