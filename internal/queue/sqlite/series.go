package sqlite

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
func (db *DB) Series(ctx context.Context, since, until time.Time, n int) (series queue.Series, err error) {
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
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) error {
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

// sampling is one call of Sample on its way through the writer.
type sampling struct {
	waiter
	backlog map[string]database.Sample
}

// Sample implements queue.History.
func (db *DB) Sample(ctx context.Context) error {
	var backlog []queue.Backlog
	err := db.readers.Read(ctx, func(conn *sqlite.Conn) (err error) {
		backlog, err = readBacklog(conn)
		return err
	})
	if err == nil && len(backlog) > 0 {
		s := &sampling{backlog: make(map[string]database.Sample)}
		now := db.now()
		for _, b := range backlog {
			s.backlog[b.Action] = database.Sample{Count: b.Count, Age: max(now.Sub(b.Oldest), 0).Microseconds()}
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

// pruneCounts removes the counts from before a time, some at a time.
func (db *DB) pruneCounts(ctx context.Context, before int64) error {
	for _, minutes := range database.CountedMinutes {
		for {
			var last int64
			if err := db.readers.Read(ctx, func(conn *sqlite.Conn) (err error) {
				last, err = database.QueryInt(conn, "SELECT max(at) FROM (SELECT at FROM counts WHERE minutes = ? AND at < ? ORDER BY at LIMIT 1000)", minutes, before-minutes*database.Minute)
				return err
			}); err != nil {
				return err
			}
			if last == 0 {
				break
			}
			if err := db.rest(ctx, &script{sql: "DELETE FROM counts WHERE minutes = ? AND at <= ?", args: []any{minutes, last}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// point returns the counts as queue.Series has them.
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
			p.Deliveries[database.States[i-database.CountedStates]] = int(n)
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
