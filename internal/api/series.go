package api

import (
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// mostPoints bounds the steps of a series. No screen shows more.
const mostPoints = 2000

// Series is what happened over a time, with what happened to the relay itself.
type Series struct {
	StepSeconds int64        `json:"step_seconds"`
	Points      []Point      `json:"points"`
	Notes       []queue.Note `json:"notes"`
}

// Point is one step of a series. See queue.Point.
type Point struct {
	At         time.Time                 `json:"at"`
	Events     map[rules.Decision]int    `json:"events,omitempty"`
	Deliveries map[queue.State]int       `json:"deliveries,omitempty"`
	Retries    int                       `json:"retries,omitempty"`
	P50        float64                   `json:"p50_ms,omitempty"`
	P99        float64                   `json:"p99_ms,omitempty"`
	Backlog    map[string]BacklogOfPoint `json:"backlog,omitempty"`
}

// BacklogOfPoint is what waited for an action at a time.
type BacklogOfPoint struct {
	Count      int     `json:"count"`
	AgeSeconds float64 `json:"age_seconds"`
}

// series answers with the last day unless the query says otherwise.
func series(c *call) (any, error) {
	query := c.r.URL.Query()
	since, err := parseMoment("since", query.Get("since"), c.now())
	if err != nil {
		return nil, err
	}
	until, err := parseMoment("until", query.Get("until"), c.now())
	if err != nil {
		return nil, err
	}
	if until.IsZero() {
		until = c.now()
	}
	if since.IsZero() {
		since = until.Add(-24 * time.Hour)
	}
	if !since.Before(until) {
		return nil, wrong("since", "reading since: %s is not before until, %s", since.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	count, err := parseCount("n", query.Get("n"), 120, mostPoints)
	if err != nil {
		return nil, err
	}
	counted, err := inspect.Series(c.r.Context(), c.Runtime, since, until, count)
	if err != nil {
		return nil, err
	}
	notes, err := inspect.Notes(c.r.Context(), c.Runtime, since, until)
	if err != nil {
		return nil, err
	}
	answer := Series{StepSeconds: int64(counted.Step / time.Second), Points: make([]Point, len(counted.Points)), Notes: list(notes)}
	for i, point := range counted.Points {
		answer.Points[i] = pointOf(point)
	}
	return answer, nil
}

func pointOf(p queue.Point) Point {
	point := Point{
		At: p.At, Events: p.Events, Deliveries: p.Deliveries, Retries: p.Retries,
		P50: milliseconds(p.P50), P99: milliseconds(p.P99),
	}
	if len(p.Backlog) > 0 {
		point.Backlog = make(map[string]BacklogOfPoint, len(p.Backlog))
	}
	for action, sample := range p.Backlog {
		point.Backlog[action] = BacklogOfPoint{Count: sample.Count, AgeSeconds: sample.Age.Seconds()}
	}
	return point
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
