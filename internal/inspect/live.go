package inspect

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// LiveBatch is what a live view has to show: events that are new or changed.
type LiveBatch struct {
	// Events are at most 200, oldest first.
	Events []queue.Summary `json:"events"`
	// Missed says that there were more than a view can follow: read the page
	// again.
	Missed bool `json:"missed,omitempty"`
}

const (
	// liveEvery is how long changes are gathered, so that an event that comes and
	// is delivered at once is shown once.
	liveEvery = 250 * time.Millisecond
	// mostLive is how many events are shown at once, and mostChanged how many are
	// looked up for that: a view need not follow a flood, and it must not cost
	// those who are accepted meanwhile.
	mostLive    = 200
	mostChanged = 1000
)

// Live shows events that pass the filter as they come and change, a few
// times a second at most, until ctx ends or the relay stops; then the channel is
// closed. An event that changes so that it does not pass any more is not shown.
// Whether Text passes cannot be seen from a change: with it, every batch is
// empty and says that something was missed.
func Live(ctx context.Context, runtime *relay.Runtime, filter queue.Filter) <-chan LiveBatch {
	ctx, end := context.WithCancel(ctx)
	changes := runtime.Store().Watch(ctx)
	batches := make(chan LiveBatch)
	go func() {
		defer close(batches)
		defer end()
		follow(ctx, runtime, filter, changes, batches)
	}()
	return batches
}

// follow turns changes into batches until ctx or the changes end.
func follow(ctx context.Context, runtime *relay.Runtime, filter queue.Filter, changes <-chan queue.Changes, batches chan<- LiveBatch) {
	var gathered gatheredChanges
	var timer <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case change, open := <-changes:
			if !open {
				return
			}
			gathered.add(change)
			if timer == nil {
				timer = time.After(liveEvery)
			}
			continue
		case <-timer:
		}
		timer = nil
		batch := batch(ctx, runtime, filter, gathered)
		gathered = gatheredChanges{}
		if len(batch.Events) == 0 && !batch.Missed {
			continue
		}
		// While the reader takes nothing, changes gather in the queue, within its bound.
		select {
		case batches <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// gatheredChanges are the ids of changed events, each once.
type gatheredChanges struct {
	events map[string]bool
	missed bool
}

func (g *gatheredChanges) add(change queue.Changes) {
	g.missed = g.missed || change.Missed
	if g.events == nil {
		g.events = make(map[string]bool, len(change.Events))
	}
	for _, id := range change.Events {
		if len(g.events) == mostChanged && !g.events[id] {
			g.missed = true
			return
		}
		g.events[id] = true
	}
}

// batch looks up what changed.
func batch(ctx context.Context, runtime *relay.Runtime, filter queue.Filter, gathered gatheredChanges) LiveBatch {
	batch := LiveBatch{Events: []queue.Summary{}, Missed: gathered.missed}
	if filter.Text != "" {
		batch.Missed = true
		return batch
	}
	ids := make([]string, 0, len(gathered.events))
	for id := range gathered.events {
		ids = append(ids, id)
	}
	summaries, err := runtime.Store().Summaries(ctx, ids)
	if err != nil {
		if ctx.Err() == nil {
			runtime.Logger().Debug("looking up events for a live view", zap.Error(err))
		}
		batch.Missed = true
		return batch
	}
	SayWhy(runtime, summaries)
	for i := range summaries {
		if filter.Passes(&summaries[i]) {
			batch.Events = append(batch.Events, summaries[i])
		}
	}
	slices.SortFunc(batch.Events, func(a, b queue.Summary) int {
		return cmp.Or(a.Received.Compare(b.Received), cmp.Compare(a.ID, b.ID))
	})
	if more := len(batch.Events) - mostLive; more > 0 {
		// The newest are those that a view shows.
		batch.Events, batch.Missed = slices.Clone(batch.Events[more:]), true
	}
	return batch
}
