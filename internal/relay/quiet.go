package relay

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// watchedSource is a source that is not to be silent for long.
type watchedSource struct {
	// last is the time of the source's last event that was found in the history,
	// zero if there is none: later ones are counted as they come.
	last time.Time
	// reported says that a silence was reported, and reportedLast after which last
	// event.
	reported     bool
	reportedLast time.Time
}

// lookBack is how many events of the relay are looked at to find out whether a
// silence was reported before a restart.
const lookBack = 200

// learnSources finds out when the last event of each source that is new here came,
// and whether its silence was reported already.
func (w *watch) learnSources(ctx context.Context, generation *Generation, now time.Time) {
	for _, configured := range generation.Configuration.Sources {
		if configured.Quiet <= 0 {
			continue
		}
		source := configured.Name
		w.mutex.Lock()
		known := w.sources[source] != nil
		w.mutex.Unlock()
		if known {
			continue
		}
		found, err := w.learn(ctx, source)
		if err != nil && ctx.Err() == nil {
			w.runtime.logger.Warn("finding out when the last event of a source came; its quiet counts from the start",
				zap.String("source", source), zap.Error(err))
		}
		w.mutex.Lock()
		w.sources[source] = found
		w.mutex.Unlock()
	}
}

func (w *watch) learn(ctx context.Context, source string) (*watchedSource, error) {
	found := new(watchedSource)
	page, err := w.runtime.engine.Page(ctx, queue.Filter{Source: source}, queue.NewestFirst, "", 20)
	if err != nil {
		return found, err
	}
	for _, event := range page.Events {
		if !event.Test {
			found.last = event.Received
			break
		}
	}
	reports, err := w.runtime.engine.Events(ctx, queue.Filter{Source: names.RelaySource, Event: SourceQuiet, Since: found.last}, queue.NewestFirst, "", lookBack)
	if err != nil {
		return found, err
	}
	for _, stored := range reports.Events {
		if stored.Event == nil || stored.Summary.Test {
			continue
		}
		if body, _ := stored.Event.Body.(map[string]any); body["source"] == source && stored.Event.Received.After(found.last) {
			found.reported, found.reportedLast = true, found.last
			break
		}
	}
	return found, nil
}

// lastEvent returns when the last event of a source came, zero for never. The
// caller holds the mutex.
func (w *watch) lastEvent(source string) time.Time {
	var last time.Time
	if known := w.sources[source]; known != nil {
		last = known.last
	}
	if at := time.Unix(0, w.runtime.metrics.source(source).last.Load()); at.Unix() > 0 && at.After(last) {
		last = at
	}
	return last
}

// quietFacts are the silences to be reported. The caller holds the mutex.
func (w *watch) quietFacts(generation *Generation, now time.Time, later func(time.Time)) (facts []fact) {
	for _, configured := range generation.Configuration.Sources {
		source, quiet := configured.Name, time.Duration(configured.Quiet)
		if quiet <= 0 {
			continue
		}
		known := w.sources[source]
		last := w.lastEvent(source)
		since := last
		if since.IsZero() {
			since = w.started
		}
		due := since.Add(quiet)
		switch {
		case now.Before(due):
			later(due)
		case known.reported && known.reportedLast.Equal(last):
			// It is reported. Whether another event came is seen in time for the next
			// silence.
			later(now.Add(quiet))
		default:
			known.reported, known.reportedLast = true, last
			facts = append(facts, fact{SourceQuiet, map[string]any{
				"source": source, "since": generation.moment(since), "silent_for": seconds(now.Sub(since)), "quiet": seconds(quiet),
			}})
			later(now.Add(quiet))
		}
	}
	return facts
}

// silent returns the sources that are silent for longer than their quiet, in
// the order of the configuration.
func (w *watch) silent(generation *Generation, now time.Time) []QuietSource {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	silent := []QuietSource{}
	for _, source := range generation.Configuration.Sources {
		quiet := time.Duration(source.Quiet)
		if quiet <= 0 || w.sources[source.Name] == nil {
			continue
		}
		last := w.lastEvent(source.Name)
		since := last
		if since.IsZero() {
			since = w.started
		}
		if now.Sub(since) > quiet {
			silent = append(silent, QuietSource{Source: source.Name, Last: last})
		}
	}
	return silent
}
