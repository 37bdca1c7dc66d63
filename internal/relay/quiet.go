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
	// heard is the source's last event that was found in the history, zero if
	// there is none: later ones are counted as they come.
	heard time.Time
	// told says for which last event a silence was told.
	told     bool
	toldLast time.Time
}

// lookBack is how many events of the relay are looked at to find out whether a
// silence was told before a restart.
const lookBack = 200

// meetSources finds out when sources that are new here were heard last, and
// whether their silence was told already.
func (w *watch) meetSources(ctx context.Context, generation *Generation, now time.Time) {
	for source := range generation.Configuration.Quiet {
		w.mutex.Lock()
		known := w.sources[source] != nil
		w.mutex.Unlock()
		if known {
			continue
		}
		met, err := w.meet(ctx, source)
		if err != nil && ctx.Err() == nil {
			w.runtime.logger.Warn("finding out when a source was heard last; its quiet counts from the start",
				zap.String("source", source), zap.Error(err))
		}
		w.mutex.Lock()
		w.sources[source] = met
		w.mutex.Unlock()
	}
}

func (w *watch) meet(ctx context.Context, source string) (*watchedSource, error) {
	met := new(watchedSource)
	page, err := w.runtime.engine.Page(ctx, queue.Filter{Source: source}, queue.NewestFirst, "", 20)
	if err != nil {
		return met, err
	}
	for _, event := range page.Events {
		if !event.Test {
			met.heard = event.Received
			break
		}
	}
	told, err := w.runtime.engine.Events(ctx, queue.Filter{Source: names.RelaySource, Event: SourceQuiet, Since: met.heard}, queue.NewestFirst, "", lookBack)
	if err != nil {
		return met, err
	}
	for _, stored := range told.Events {
		if stored.Event == nil || stored.Summary.Test {
			continue
		}
		if body, _ := stored.Event.Body.(map[string]any); body["source"] == source && stored.Event.Received.After(met.heard) {
			met.told, met.toldLast = true, met.heard
			break
		}
	}
	return met, nil
}

// lastHeard returns when a source was heard last, zero for never. The caller
// holds the mutex.
func (w *watch) lastHeard(source string) time.Time {
	var last time.Time
	if known := w.sources[source]; known != nil {
		last = known.heard
	}
	if at := time.Unix(0, w.runtime.metrics.source(source).last.Load()); at.Unix() > 0 && at.After(last) {
		last = at
	}
	return last
}

// quietFacts are the silences to be told. The caller holds the mutex.
func (w *watch) quietFacts(generation *Generation, now time.Time, later func(time.Time)) (facts []fact) {
	for source, quiet := range generation.Configuration.Quiet {
		known := w.sources[source]
		last := w.lastHeard(source)
		since := last
		if since.IsZero() {
			since = w.started
		}
		due := since.Add(quiet)
		switch {
		case now.Before(due):
			later(due)
		case known.told && known.toldLast.Equal(last):
			// It is told. Whether it is heard again is seen in time for the next
			// silence.
			later(now.Add(quiet))
		default:
			known.told, known.toldLast = true, last
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
		quiet := generation.Configuration.Quiet[source.Name]
		if quiet <= 0 || w.sources[source.Name] == nil {
			continue
		}
		last := w.lastHeard(source.Name)
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
