package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

const (
	// reportEvery is how often one action's failures, or the same target going
	// down, are worth an event: a dead target must not send ten thousand mails.
	reportEvery = time.Minute
	// reportWithin bounds how long an own event may take to be stored.
	reportWithin = 30 * time.Second
	// mostToEmit bounds what waits to be emitted.
	mostToEmit = 1024
	// longestName bounds what of an event's own texts is repeated, in
	// characters.
	longestName = 200
)

// The names that Configuration.Emit is called with.
const (
	EmitFailed     = "event_relay_failed"
	EmitTargetDown = "event_relay_target_down"
)

// watch notices what the relay reports of itself, and one goroutine reports it.
// What notices is on the way of attempts: it takes a short lock and never waits.
//
// Deliveries of own events that fail are reported to the log and to Emit only,
// and a target that such a delivery finds down is reported once: otherwise a mail
// service that is down would be the reason for mails about itself.
type watch struct {
	runtime *Runtime
	started time.Time
	// changed wakes the goroutine.
	changed chan struct{}
	// reporting is held while facts are reported, by one caller at a time.
	reporting sync.Mutex

	mutex    sync.Mutex
	failures map[string]*gathered
	targets  map[string]*watchedTarget
	sources  map[string]*watchedSource

	emissions chan emission
	// missed counts what was not emitted because too much waited.
	missed atomic.Int64
}

// emission is a call of Configuration.Emit.
type emission struct {
	call func(name string, data map[string]any)
	name string
	data map[string]any
}

// gathered are the deliveries of one action that failed since the last event
// about them.
type gathered struct {
	count int
	since time.Time
	last  forward.Outcome
	// reported is when the last event about them was made.
	reported time.Time
}

// watchedTarget is a target that is down, or was a short while ago.
type watchedTarget struct {
	// endpoints counts the ways to the target that are down: actions with
	// different TLS settings find out for themselves. It is below zero for the
	// moment in which news that a way is up came before the news that it is down:
	// two attempts bring them, and neither waits for the other.
	endpoints int
	TargetDown
	// silent says that this time it is not reported.
	silent bool
	// reportedDown says that the last event about the target says that it is down,
	// and reported when that was made.
	reportedDown bool
	reported     time.Time
}

func newWatch(r *Runtime) *watch {
	return &watch{
		runtime: r, started: time.Now(), changed: make(chan struct{}, 1),
		failures: map[string]*gathered{}, targets: map[string]*watchedTarget{}, sources: map[string]*watchedSource{},
		emissions: make(chan emission, mostToEmit),
	}
}

// look makes the goroutine look for something to report.
func (w *watch) look() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// failed takes note of a delivery that failed for good.
func (w *watch) failed(outcome forward.Outcome) {
	now := time.Now()
	if generation := w.runtime.newest.Load(); generation != nil && generation.Configuration.Emit != nil {
		w.emit(generation, EmitFailed, failureBody(generation, &outcome))
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if outcome.Event == nil || outcome.Event.Source != names.RelaySource {
		known := w.failuresOf(outcome.Action)
		if known.count == 0 {
			known.since = now
			w.look()
		}
		known.count++
		known.last = outcome
	}
}

// failuresOf returns what is known of the failures of an action. The caller holds the
// mutex.
func (w *watch) failuresOf(action string) *gathered {
	known := w.failures[action]
	if known == nil {
		known = new(gathered)
		w.failures[action] = known
	}
	return known
}

// target takes note of a target that went down or came up.
func (w *watch) target(change forward.TargetChange) {
	now := time.Now()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	known := w.targets[change.Target]
	if known == nil {
		known = new(watchedTarget)
		w.targets[change.Target] = known
	}
	if !change.Down {
		known.endpoints--
	} else if known.endpoints++; known.endpoints == 1 {
		known.TargetDown = TargetDown{Target: change.Target, Action: change.Action, Since: now, Error: change.Error}
		known.silent = isAbout(change.Event, change.Target)
	}
	w.look()
}

// isAbout reports whether an event says itself that a target is down or up. If
// it is on the way to that very target, what becomes of it is no news.
func isAbout(event *event.Event, target string) bool {
	if event == nil || event.Source != names.RelaySource || event.Name != TargetIsDown && event.Name != TargetIsUp {
		return false
	}
	body, _ := event.Body.(map[string]any)
	return body["target"] == target
}

// run reports until ctx ends.
func (w *watch) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-timer.C:
		}
		now := time.Now()
		if next := w.report(ctx, now); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.Sub(now))
		}
	}
}

// fact is something to be reported.
type fact struct {
	name string
	body map[string]any
	// about is the action, target or source that it is about.
	about string
	// failures are those of delivery_failed.
	failures gathered
	// key and window make it one fact for all nodes. See once.
	key    string
	window time.Duration
}

// report reports what there is to report, and returns when to look again even if
// nothing changes, zero for never.
func (w *watch) report(ctx context.Context, now time.Time) (next time.Time) {
	w.reporting.Lock()
	defer w.reporting.Unlock()
	generation := w.runtime.newest.Load()
	if generation == nil {
		return time.Time{}
	}
	w.learnSources(ctx, generation, now)
	later := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	w.mutex.Lock()
	facts := w.failureFacts(generation, now, later)
	facts = append(facts, w.targetFacts(generation, now, later)...)
	facts = append(facts, w.quietFacts(generation, now, later)...)
	w.mutex.Unlock()

	for i := range facts {
		fact := &facts[i]
		if !w.once(ctx, now, fact) || !w.store(ctx, generation, now, fact) {
			continue
		}
		if fact.name == TargetIsDown {
			w.emit(generation, EmitTargetDown, fact.body)
		}
	}
	return next
}

// emit has something emitted, unless too much waits for that.
func (w *watch) emit(generation *Generation, name string, data map[string]any) {
	call := generation.Configuration.Emit
	if call == nil {
		return
	}
	select {
	case w.emissions <- emission{call, name, data}:
		if missed := w.missed.Swap(0); missed > 0 {
			w.runtime.logger.Warn("events of the server were left out", zap.Int64("missed", missed))
		}
	default:
		if w.missed.Add(1) == 1 {
			w.runtime.logger.Warn("more happens than can be emitted as events of the server; some are left out", zap.String("event", name))
		}
	}
}

// emitAll emits until ctx ends. It is not the goroutine that reports, and Close
// does not wait for it, because what it calls may take any time.
func (w *watch) emitAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.emissions:
			e.call(e.name, e.data)
		}
	}
}

// store decides about an own event and stores it, as any other. It returns false if
// another node was faster.
func (w *watch) store(ctx context.Context, generation *Generation, now time.Time, about *fact) bool {
	var receipts []queue.Receipt
	e, err := generation.OwnEvent(about.name, now, about.body)
	if err == nil {
		within, cancel := context.WithTimeout(ctx, reportWithin)
		defer cancel()
		received := &receive.Received{Source: names.RelaySource, Events: []*event.Event{e}}
		if about.key != "" {
			received.DedupeKeys, received.DedupeWindow = []string{about.key}, about.window
		}
		receipts, err = w.runtime.accept(within, generation, received)
	}
	if err != nil && ctx.Err() == nil {
		w.runtime.logger.Error("storing an event of the relay itself; it is lost", zap.String("event", about.name), zap.Error(err))
	}
	if len(receipts) == 0 || receipts[0].DuplicateOf == "" {
		return true
	}
	w.repeated(now, about)
	return false
}

// failureFacts are the failures to be reported. The caller holds the mutex.
func (w *watch) failureFacts(generation *Generation, now time.Time, later func(time.Time)) (facts []fact) {
	for action, failures := range w.failures {
		due := failures.reported.Add(reportEvery)
		switch {
		case now.Before(due):
			later(due)
		case failures.count == 0:
			delete(w.failures, action)
		default:
			body := failureBody(generation, &failures.last)
			body["count"], body["since"] = failures.count, generation.moment(failures.since)
			facts = append(facts, fact{name: DeliveryFailed, body: body, about: action, failures: *failures})
			*failures = gathered{reported: now.Add(w.yield(yieldFor))}
			later(failures.reported.Add(reportEvery))
		}
	}
	return facts
}

// failureBody describes one delivery that failed.
func failureBody(generation *Generation, outcome *forward.Outcome) map[string]any {
	body := map[string]any{
		"action": outcome.Action, "delivery": outcome.Delivery, "attempts": outcome.Attempts, "error": outcome.Error,
	}
	if outcome.Status != 0 {
		body["status"] = outcome.Status
	}
	tenant := ""
	if about := outcome.Event; about != nil {
		tenant = about.Tenant()
		of := map[string]any{
			"id": about.ID, "source": about.Source, "name": event.Shortened(about.Name, longestName), "received": generation.moment(about.Received),
		}
		if about.Subject != "" {
			of["subject"] = about.Subject
		}
		if tenant != "" {
			of["tenant"] = event.Shortened(tenant, longestName)
		}
		body["event"] = of
	}
	if action := generation.Action(outcome.Action); action != nil {
		if target, ok := action.TargetFor(tenant); ok {
			body["target"] = target.String()
		}
	}
	return body
}

// targetFacts are the changes of targets to be reported. The caller holds the
// mutex.
func (w *watch) targetFacts(generation *Generation, now time.Time, later func(time.Time)) (facts []fact) {
	for name, target := range w.targets {
		due := target.reported.Add(reportEvery)
		body := map[string]any{"target": name, "action": target.Action, "since": generation.moment(target.Since)}
		switch down := target.endpoints > 0; {
		case !down && target.reportedDown:
			body["down_for"] = seconds(now.Sub(target.Since))
			facts = append(facts, fact{name: TargetIsUp, body: body, about: name})
			target.reportedDown = false
			later(due)
		case target.endpoints < 0:
			// The news that is still to come has this looked at again.
		case !down && !now.Before(due):
			delete(w.targets, name)
		case !down:
			later(due)
		case target.reportedDown || target.silent:
		case now.Before(due):
			later(due)
		default:
			body["error"] = target.Error
			facts = append(facts, fact{name: TargetIsDown, body: body, about: name})
			target.reportedDown, target.reported = true, now
		}
	}
	return facts
}

// attempted takes note of each attempt.
func (r *Runtime) attempted(outcome forward.Outcome) {
	r.metrics.attempted(&outcome)
	if outcome.State == queue.Failed {
		r.watch.failed(outcome)
	}
}
