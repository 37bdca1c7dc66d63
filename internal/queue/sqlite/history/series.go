package history

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/rules"
)

// mostSteps bounds a series.
const mostSteps = 5000

// Series implements queue.History. Its steps consist of whole minutes, of ten
// minutes or of hours, and the first may begin up to one of these before since.
func (r *Reader) Series(ctx context.Context, since, until time.Time, n int) (series queue.Series, err error) {
	switch {
	case !since.Before(until):
		return series, fmt.Errorf("counting over time: it ends at %v, which is not after %v", until, since)
	case n < 1 || n > mostSteps:
		return series, fmt.Errorf("counting over time: between 1 and %d steps can be had, not %d", mostSteps, n)
	}
	from, to := database.Micros(since), database.MicrosUp(until)
	wanted := (to - from + int64(n) - 1) / int64(n)
	minutes := database.CountedMinutes[0]
	for _, m := range database.CountedMinutes {
		if wanted >= m*database.Minute {
			minutes = m
		}
	}
	unit := minutes * database.Minute
	from -= database.Mod(from, unit)
	step := (wanted + unit - 1) / unit * unit
	steps := make([]database.Counts, (to-from+step-1)/step)
	for i := range steps {
		steps[i].At = from + int64(i)*step
	}
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		for i := range steps {
			steps[i] = database.Counts{At: steps[i].At}
		}
		add := func(row *sqlite.Stmt) error {
			c := database.ReadCounts(row)
			steps[(c.At-from)/step].Add(&c)
			return nil
		}
		if err := database.Query(conn, database.ListCounts, add, minutes, from, to); err != nil {
			return err
		}
		// The present minute stands in a row of its own.
		return database.Query(conn, database.ListCounts, add, int64(0), from, to)
	})
	if err != nil {
		return series, fmt.Errorf("counting over time: %w", err)
	}
	series.Step = time.Duration(step) * time.Microsecond
	series.Points = make([]queue.Point, len(steps))
	for i := range steps {
		series.Points[i] = point(&steps[i])
	}
	return series, nil
}

// point returns counts as queue.Series has them.
func point(c *database.Counts) queue.Point {
	p := queue.Point{At: database.FromMicros(c.At), Retries: int(c.Numbers[database.CountedRetries]), P50: c.Latency(0.5), P99: c.Latency(0.99)}
	for i, n := range c.Numbers[:database.CountedRetries] {
		switch {
		case n == 0:
		case i < database.CountedDecisions:
			if p.Events == nil {
				p.Events = make(map[rules.Decision]int)
			}
			p.Events[rules.Decision(database.Counted[i])] = int(n)
		default:
			if p.Deliveries == nil {
				p.Deliveries = make(map[queue.State]int)
			}
			p.Deliveries[queue.State(database.Counted[i])] = int(n)
		}
	}
	for name, s := range c.Backlog {
		if p.Backlog == nil {
			p.Backlog = make(map[string]queue.BacklogSample)
		}
		p.Backlog[name] = queue.BacklogSample{Count: s.Count, Age: time.Duration(s.Age) * time.Microsecond}
	}
	return p
}
