package relay

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Status is how the relay is, at one glance.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Loaded is when the newest configuration was loaded, Configuration the
	// digest of its snapshot.
	Loaded        time.Time `json:"loaded"`
	Configuration string    `json:"configuration,omitempty"`
	// Off says that the configuration has the relay switched off (active off).
	// Switches are what was switched off at run time.
	Off      bool           `json:"off,omitempty"`
	Switches []queue.Switch `json:"switches"`
	// Backlog is what waits for each action that has unfinished deliveries.
	Backlog []BacklogLine `json:"backlog"`
	// Down are the targets that cannot be reached or give no proper answer.
	Down []TargetDown `json:"down"`
	// Warnings are about what may lose events: requests that nothing takes and that
	// are answered 200, secrets that were left out, files of secrets that have
	// changed since they were read.
	Warnings []string `json:"warnings"`
	// Quiet are the sources that have been silent for longer than their quiet.
	Quiet []QuietSource `json:"quiet"`
	// LastHour counts events and ended deliveries of the last sixty minutes.
	LastHour map[string]int `json:"last_hour"`
	Queue    queue.Usage    `json:"queue"`
	// Troubles are what is wrong with the queue, and whether events are refused
	// because of it. While it is unavailable, Backlog and LastHour are empty.
	Troubles []queue.Trouble `json:"troubles"`
	// RetentionSeconds and RetentionBytes are how much history is kept, and
	// MaxPending and MinFree what the queue takes.
	RetentionSeconds int64 `json:"retention_seconds"`
	RetentionBytes   int64 `json:"retention_bytes"`
	MaxPending       int   `json:"max_pending"`
	MinFree          int64 `json:"min_free"`
}

// BacklogLine is what waits for one action, and why it may.
type BacklogLine struct {
	queue.Backlog
	// Unknown says that no such action is configured any more: its deliveries
	// wait until they are moved or cancelled or it comes back.
	Unknown bool `json:"unknown,omitempty"`
}

// TargetDown is a target that cannot be reached or gives no proper answer. Error
// says which.
type TargetDown struct {
	Target string    `json:"target"`
	Action string    `json:"action"`
	Since  time.Time `json:"since"`
	Error  string    `json:"error"`
}

// QuietSource is a source that was not heard for longer than its quiet.
type QuietSource struct {
	Source string    `json:"source"`
	Last   time.Time `json:"last,omitzero"`
}

// Status returns how the relay is.
func (r *Runtime) Status(ctx context.Context) (Status, error) {
	generation := r.newest.Load()
	if generation == nil {
		return Status{}, ErrNotInService
	}
	now := time.Now()
	configuration := &generation.Configuration
	status := Status{
		Version: configuration.Version, Started: r.watch.started,
		Off: generation.Configuration.Off, Switches: r.Switches(),
		Warnings: generation.loadWarnings(),
		Backlog:  []BacklogLine{}, Down: r.watch.down(generation), Quiet: r.watch.silent(generation, now),
		LastHour: map[string]int{}, Queue: r.engine.Usage(), Troubles: r.troubles(),
		RetentionSeconds: int64(generation.Configuration.Retention.Age / time.Second), RetentionBytes: generation.Configuration.Retention.Size,
		MaxPending: generation.Configuration.Limits.MaxPending, MinFree: generation.Configuration.Limits.MinFree,
	}
	status.Loaded, status.Configuration = r.loaded()
	if status.Switches == nil {
		status.Switches = []queue.Switch{}
	}
	if !r.entered.Load() {
		return status, nil
	}
	backlog, err := r.engine.Backlog(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("reading the backlog: %w", err)
	}
	for _, line := range backlog {
		status.Backlog = append(status.Backlog, BacklogLine{Backlog: line, Unknown: generation.Action(line.Action) == nil})
	}
	series, err := r.engine.Series(ctx, now.Add(-time.Hour), now, 60)
	if err != nil {
		return Status{}, fmt.Errorf("counting the last hour: %w", err)
	}
	for _, point := range series.Points {
		for decision, n := range point.Events {
			status.LastHour[string(decision)] += n
		}
		for state, n := range point.Deliveries {
			status.LastHour[string(state)] += n
		}
	}
	return status, nil
}

// troubles returns what is wrong with the queue.
func (r *Runtime) troubles() []queue.Trouble {
	return append(append([]queue.Trouble{}, r.engine.Troubles()...), r.clock.trouble()...)
}

// down returns the targets that are down and that an action of the
// generation calls, the one that is down for longest first.
func (w *watch) down(generation *Generation) []TargetDown {
	called := map[string]bool{}
	for _, action := range generation.Actions {
		for _, target := range action.Targets() {
			called[withPort(target)] = true
		}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	down := []TargetDown{}
	for _, target := range w.targets {
		if target.endpoints > 0 && called[withPort(target.Target)] {
			down = append(down, target.TargetDown)
		}
	}
	slices.SortFunc(down, func(a, b TargetDown) int { return a.Since.Compare(b.Since) })
	return down
}

// withPort writes out the port of a target, because a default one may be left
// out.
func withPort(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Port() != "" {
		return target
	}
	if u.Scheme == "https" {
		return target + ":443"
	}
	return target + ":80"
}
