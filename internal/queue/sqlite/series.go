package sqlite

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
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
	from, to := micros(since), microsUp(until)
	wanted := (to - from + int64(n) - 1) / int64(n)
	minutes := countedMinutes[0]
	for _, m := range countedMinutes {
		if wanted >= m*minute {
			minutes = m
		}
	}
	unit := minutes * minute
	from -= mod(from, unit)
	step := (wanted + unit - 1) / unit * unit
	steps := make([]counts, (to-from+step-1)/step)
	for i := range steps {
		steps[i].at = from + int64(i)*step
	}
	err = db.readers.read(ctx, func(conn *sqlite.Conn) error {
		for i := range steps {
			steps[i] = counts{at: steps[i].at}
		}
		add := func(row *sqlite.Stmt) error {
			c := readCounts(row)
			steps[(c.at-from)/step].add(&c)
			return nil
		}
		if err := query(conn, listCounts, add, minutes, from, to); err != nil {
			return err
		}
		// The present minute stands in a row of its own.
		return query(conn, listCounts, add, int64(0), from, to)
	})
	if err != nil {
		return series, fmt.Errorf("counting over time: %w", err)
	}
	series.Step = time.Duration(step) * time.Microsecond
	series.Points = make([]queue.Point, len(steps))
	for i := range steps {
		series.Points[i] = steps[i].point()
	}
	return series, nil
}

// sampling is one call of Sample on its way through the writer.
type sampling struct {
	waiter
	backlog map[string]sample
}

// Sample implements queue.History.
func (db *DB) Sample(ctx context.Context) error {
	var backlog []queue.Backlog
	err := db.readers.read(ctx, func(conn *sqlite.Conn) (err error) {
		backlog, err = readBacklog(conn)
		return err
	})
	if err == nil && len(backlog) > 0 {
		s := &sampling{backlog: make(map[string]sample)}
		now := db.now()
		for _, b := range backlog {
			s.backlog[b.Action] = sample{b.Count, max(now.Sub(b.Oldest), 0).Microseconds()}
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
	c.sample(s.backlog)
	return nil
}

// pruneCounts removes the counts from before a time, some at a time.
func (db *DB) pruneCounts(ctx context.Context, before int64) error {
	for _, minutes := range countedMinutes {
		for {
			var last int64
			if err := db.readers.read(ctx, func(conn *sqlite.Conn) (err error) {
				last, err = queryInt(conn, "SELECT max(at) FROM (SELECT at FROM counts WHERE minutes = ? AND at < ? ORDER BY at LIMIT 1000)", minutes, before-minutes*minute)
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
