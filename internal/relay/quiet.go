package relay

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
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
	// looked is when the history was asked last.
	looked time.Time
}

// storedTo is how exactly the time of receipt is stored at least.
const storedTo = time.Millisecond

// lookBack is how many events of the relay are looked at to find out whether a
// silence was reported before a restart.
const lookBack = 200

// learnSources finds out when the last event of each source that is new here came,
// and whether its silence was reported already. Of several nodes that share a queue
// another may have received an event, or reported: so it does the same for each source
// that seems to be silent.
func (w *watch) learnSources(ctx context.Context, generation *Generation, now time.Time) {
	for _, configured := range generation.Configuration.Sources {
		if configured.Quiet <= 0 {
			continue
		}
		source := configured.Name
		w.mutex.Lock()
		known := w.sources[source]
		again := known != nil && w.runtime.cluster != nil && !now.Before(w.silentFrom(&configured)) && !w.fresh(known, &configured, now)
		w.mutex.Unlock()
		if known != nil && !again {
			continue
		}
		found, err := w.learn(ctx, source)
		if err != nil && ctx.Err() == nil {
			if again {
				w.runtime.logger.Warn("finding out whether another node received an event of a source; its silence is not reported until that is known",
					zap.String("source", source), zap.Error(err))
			} else {
				w.runtime.logger.Warn("finding out when the last event of a source came; its quiet counts from the start",
					zap.String("source", source), zap.Error(err))
			}
		}
		if err == nil {
			found.looked = now
		} else if again {
			continue
		}
		w.mutex.Lock()
		w.sources[source] = found
		w.mutex.Unlock()
	}
}

// lookAgainAfter is how long what is known of a silent source holds. Without other nodes
// it holds until an event comes.
func (w *watch) lookAgainAfter(source *config.Source) time.Duration {
	quiet := time.Duration(source.Quiet)
	if w.runtime.cluster == nil {
		return quiet
	}
	return min(reportEvery, quiet)
}

// fresh reports whether it is known what all nodes together received of a source.
func (w *watch) fresh(known *watchedSource, source *config.Source, now time.Time) bool {
	return w.runtime.cluster == nil || now.Sub(known.looked) < w.lookAgainAfter(source)
}

// silentFrom returns when a source is silent for longer than its quiet, if nothing
// comes. The caller holds the mutex.
func (w *watch) silentFrom(source *config.Source) time.Time {
	since := w.lastEvent(source.Name)
	if since.IsZero() {
		since = w.started
	}
	return since.Add(time.Duration(source.Quiet))
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

// leads reports whether this node reports for all nodes what none of them notices by
// itself.
func (w *watch) leads() bool { return w.runtime.cluster == nil || w.runtime.cluster.Leads() }

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
		case known.reported && last.Sub(known.reportedLast) < storedTo:
			// It is reported. Whether another event came is seen in time for the next
			// silence.
			later(now.Add(w.lookAgainAfter(&configured)))
		case !w.leads() || !w.fresh(known, &configured, now):
			later(now.Add(w.lookAgainAfter(&configured)))
		default:
			known.reported, known.reportedLast = true, last
			facts = append(facts, fact{name: SourceQuiet, about: source, body: map[string]any{
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
