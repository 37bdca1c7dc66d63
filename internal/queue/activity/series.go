package activity

import (
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/rules"
)

// mostSteps bounds a series.
const mostSteps = 5000

// Steps are the steps of a series. They consist of whole minutes, of ten minutes or of
// hours, and the first may begin up to one of these before it was asked for.
type Steps struct {
	// Minutes is one of layout.CountedMinutes: how long the times are whose counts
	// are to be added.
	Minutes int64
	// From and To bound those times: From ≤ At < To.
	From, To int64
	// Length is that of a step, in microseconds.
	Length int64

	counts []layout.Counts
}

// NewSteps returns about n empty steps from since to until.
func NewSteps(since, until time.Time, n int) (*Steps, error) {
	switch {
	case !since.Before(until):
		return nil, fmt.Errorf("it ends at %v, which is not after %v", until, since)
	case n < 1 || n > mostSteps:
		return nil, fmt.Errorf("between 1 and %d steps can be had, not %d", mostSteps, n)
	}
	s := &Steps{From: layout.Micros(since), To: layout.MicrosUp(until), Minutes: layout.CountedMinutes[0]}
	wanted := (s.To - s.From + int64(n) - 1) / int64(n)
	for _, m := range layout.CountedMinutes {
		if wanted >= m*layout.Minute {
			s.Minutes = m
		}
	}
	unit := s.Minutes * layout.Minute
	s.From -= layout.Mod(s.From, unit)
	s.Length = (wanted + unit - 1) / unit * unit
	s.counts = make([]layout.Counts, (s.To-s.From+s.Length-1)/s.Length)
	s.Clear()
	return s, nil
}

// Clear takes away what was added.
func (s *Steps) Clear() {
	for i := range s.counts {
		s.counts[i] = layout.Counts{At: s.From + int64(i)*s.Length}
	}
}

// Add adds the counts of one of the times. Those of a later time come later.
func (s *Steps) Add(c *layout.Counts) { s.counts[(c.At-s.From)/s.Length].Add(c) }

// Series returns what was added.
func (s *Steps) Series() queue.Series {
	series := queue.Series{Step: time.Duration(s.Length) * time.Microsecond, Points: make([]queue.Point, len(s.counts))}
	for i := range s.counts {
		series.Points[i] = point(&s.counts[i])
	}
	return series
}

// point returns counts as queue.Series has them.
func point(c *layout.Counts) queue.Point {
	p := queue.Point{At: layout.FromMicros(c.At), Retries: int(c.Numbers[layout.CountedRetries]), P50: c.Latency(0.5), P99: c.Latency(0.99)}
	for i, n := range c.Numbers[:layout.CountedRetries] {
		switch {
		case n == 0:
		case i < layout.CountedDecisions:
			if p.Events == nil {
				p.Events = make(map[rules.Decision]int)
			}
			p.Events[rules.Decision(layout.Counted[i])] = int(n)
		default:
			if p.Deliveries == nil {
				p.Deliveries = make(map[queue.State]int)
			}
			p.Deliveries[queue.State(layout.Counted[i])] = int(n)
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
