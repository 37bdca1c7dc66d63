package inspect

import (
	"context"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Series counts what happened. See queue.History. If it reaches to the present,
// its last step has the backlog as it is now: the last sample is up to a minute
// old, and the first minute has none.
func Series(ctx context.Context, runtime *relay.Runtime, since, until time.Time, n int) (queue.Series, error) {
	series, err := runtime.Store().Series(ctx, since, until, n)
	if err != nil || len(series.Points) == 0 {
		return series, err
	}
	last := &series.Points[len(series.Points)-1]
	now := relay.Now(runtime)
	if now.Before(last.At) || now.After(last.At.Add(series.Step)) {
		return series, nil
	}
	waiting, err := runtime.Store().Backlog(ctx)
	if err != nil {
		return queue.Series{}, err
	}
	last.Backlog = make(map[string]queue.BacklogSample, len(waiting))
	for _, backlog := range waiting {
		last.Backlog[backlog.Action] = queue.BacklogSample{Count: backlog.Count, Age: now.Sub(backlog.Oldest)}
	}
	return series, nil
}

// Notes returns starts, stops, switches and loaded configurations, to mark them
// in charts. Only switches have their Text: configurations are long.
func Notes(ctx context.Context, runtime *relay.Runtime, since, until time.Time) ([]queue.Note, error) {
	notes, err := runtime.Store().Notes(ctx, "", since, until, mostNotes, false)
	if err != nil {
		return nil, err
	}
	switches, err := runtime.Store().Notes(ctx, queue.NoteSwitch, since, until, mostNotes, true)
	if err != nil {
		return nil, err
	}
	texts := make(map[int64]string, len(switches))
	for _, note := range switches {
		texts[note.ID] = note.Text
	}
	notes = slices.DeleteFunc(notes, func(note queue.Note) bool {
		return note.Kind == queue.NoteClock || note.Kind == queue.NoteAhead || note.Kind == queue.NoteRefusals
	})
	for i := range notes {
		notes[i].Text = texts[notes[i].ID]
	}
	return notes, nil
}

// mostNotes bounds the marks of a chart: more than these cannot be told from each other.
const mostNotes = 1000
