package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// latencyName begins the names in the table counts that count latencies.
const latencyName = "l:"

const (
	listCounts = `SELECT (at - $4) / $5, name, sum(n)::bigint FROM ` + allCounts + ` AS c WHERE minutes = $1 AND at >= $2 AND at < $3 GROUP BY 1, 2`

	listSamples = `SELECT DISTINCT ON (1, action) (at - $2) / $4, action, count, age FROM samples WHERE minutes = $1 AND at >= $2 AND at < $3
		ORDER BY 1, action, at DESC`
)

// Series implements queue.History.
func (db *DB) Series(ctx context.Context, since, until time.Time, n int) (queue.Series, error) {
	steps, err := activity.NewSteps(since, until, n)
	if err == nil {
		err = db.read(ctx, func(conn querier) error {
			steps.Clear()
			if err := readCounts(ctx, conn, steps); err != nil {
				return err
			}
			return readSamples(ctx, conn, steps)
		})
	}
	if err != nil {
		return queue.Series{}, fmt.Errorf("counting over time: %w", err)
	}
	return steps.Series(), nil
}

// addCounts adds the counts of times of so many minutes.
func addCounts(ctx context.Context, conn querier, steps *activity.Steps, minutes, from, to int64) error {
	rows, err := conn.Query(ctx, listCounts, minutes, from, to, steps.From, steps.Length)
	if err != nil {
		return err
	}
	var step, n int64
	var name string
	_, err = pgx.ForEachRow(rows, []any{&step, &name, &n}, func() error {
		c := layout.Counts{At: steps.From + step*steps.Length}
		if class, is := strings.CutPrefix(name, latencyName); is {
			c.AddLatencies(class + ":" + strconv.FormatInt(n, 10))
		} else if place, known := countedPlaces[decodeText(name)]; known {
			c.Numbers[place] = n
		}
		steps.Add(&c)
		return nil
	})
	return err
}

// countedPlaces are the places in layout.Counted.
var countedPlaces = func() map[string]int {
	places := make(map[string]int)
	for i, name := range layout.Counted {
		places[name] = i
	}
	return places
}()

func readSamples(ctx context.Context, conn querier, steps *activity.Steps) error {
	rows, err := conn.Query(ctx, listSamples, steps.Minutes, steps.From, steps.To, steps.Length)
	if err != nil {
		return err
	}
	var step int64
	var action string
	var sample layout.Sample
	_, err = pgx.ForEachRow(rows, []any{&step, &action, &sample.Count, &sample.Age}, func() error {
		c := layout.Counts{At: steps.From + step*steps.Length}
		c.Sample(map[string]layout.Sample{decodeText(action): sample})
		steps.Add(&c)
		return nil
	})
	return err
}
