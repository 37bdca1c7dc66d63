package inspect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
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
	// Inactive are the places of the rules that the configuration has switched off
	// (active off).
	Inactive []string `json:"inactive,omitempty"`
	// Backlog is what waits for each action that has unfinished deliveries.
	Backlog []BacklogLine `json:"backlog"`
	// Down are the targets that cannot be reached or give no proper answer.
	Down []relay.TargetDown `json:"down"`
	// Warnings are about what may lose events: requests that nothing takes and that
	// are answered 200, secrets that were left out, files of secrets that have
	// changed since they were read.
	Warnings []string `json:"warnings"`
	// Refused are the requests of the last hour that were refused, or that no mount took,
	// and most likely came from senders, newest first. Probes counts the others.
	Refused []relay.Rejection `json:"refused"`
	Probes  int               `json:"probes"`
	// Timezone is the name of the relay's time zone, in which rules and commands name
	// times, and UTCOffset how many seconds it is ahead of UTC now. TimezoneDoubt says,
	// if the machine does not name its zone, that times are therefore in UTC.
	Timezone      string `json:"timezone"`
	UTCOffset     int    `json:"utc_offset"`
	TimezoneDoubt string `json:"timezone_doubt,omitempty"`
	// Failed are the actions of which deliveries failed for good in the last day and
	// are not mended, tests left out.
	Failed []FailedLine `json:"failed"`
	// Quiet are the sources that have been silent for longer than their quiet.
	Quiet []relay.QuietSource `json:"quiet"`
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
	// Held is the switch that keeps all of them waiting, nil for none.
	Held *queue.Switch `json:"held,omitempty"`
}

// FailedLine is what failed for good of one action.
type FailedLine struct {
	Action string `json:"action"`
	Count  int    `json:"count"`
	// More says that there may be more: only the newest events were looked at.
	More bool      `json:"more,omitempty"`
	Last time.Time `json:"last"`
}

const (
	// failedWithin is how long a failure calls for a look. Those who have decided to
	// leave it so are not to be told for longer.
	failedWithin = 24 * time.Hour
	// mostFailed bounds how many events with a failed delivery are looked at: status
	// is asked every few seconds.
	mostFailed = 100
)

// failedLately returns what failed for good and is not mended, by action in the
// order of the newest failure.
func failedLately(ctx context.Context, runtime *relay.Runtime, now time.Time) ([]FailedLine, error) {
	filter := queue.Filter{States: []queue.State{queue.Failed}}
	// A delivery can fail long after its event came, so the time of receipt says
	// nothing.
	page, err := runtime.Store().Page(ctx, filter, queue.NewestFirst, "", mostFailed)
	if err != nil {
		return nil, fmt.Errorf("reading what failed: %w", err)
	}
	lines := []FailedLine{}
	for _, event := range page.Events {
		if event.Test {
			continue
		}
		for _, delivery := range event.Deliveries {
			if !filter.PassesDelivery(delivery) || now.Sub(delivery.Ended) > failedWithin {
				continue
			}
			at := slices.IndexFunc(lines, func(line FailedLine) bool { return line.Action == delivery.Action })
			if at < 0 {
				at = len(lines)
				lines = append(lines, FailedLine{Action: delivery.Action, More: page.Next != ""})
			}
			lines[at].Count++
			if delivery.Ended.After(lines[at].Last) {
				lines[at].Last = delivery.Ended
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b FailedLine) int { return b.Last.Compare(a.Last) })
	return lines, nil
}

// StatusOf returns how the relay is.
func StatusOf(ctx context.Context, runtime *relay.Runtime) (Status, error) {
	generation := runtime.Generation()
	if generation == nil {
		return Status{}, relay.ErrNotInService
	}
	now := time.Now()
	configuration, state := &generation.Configuration, runtime.State()
	status := Status{
		Version: configuration.Version, Started: state.Started, Loaded: state.Loaded, Configuration: state.Configuration,
		Off: configuration.Disabled, Switches: runtime.Switches(),
		Warnings: loadWarnings(generation),
		Refused:  state.Refused, Probes: state.Probes,
		Timezone: configuration.Zone.String(), TimezoneDoubt: configuration.ZoneDoubt,
		Backlog: []BacklogLine{}, Failed: []FailedLine{}, Down: state.Down, Quiet: state.Quiet,
		LastHour: map[string]int{}, Queue: runtime.Store().Usage(), Troubles: state.Troubles,
		RetentionSeconds: int64(time.Duration(configuration.Retention.Age) / time.Second), RetentionBytes: configuration.Retention.Size,
		MaxPending: configuration.MaxPending, MinFree: configuration.MinFree,
	}
	for _, rule := range generation.Ruleset.Rules() {
		if rule.Disabled {
			status.Inactive = append(status.Inactive, rule.Place)
		}
	}
	_, status.UTCOffset = now.In(configuration.Zone).Zone()
	if status.Switches == nil {
		status.Switches = []queue.Switch{}
	}
	if runtime.Unavailable() != nil {
		return status, nil
	}
	backlog, err := runtime.Store().Backlog(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("reading the backlog: %w", err)
	}
	for _, line := range backlog {
		status.Backlog = append(status.Backlog, BacklogLine{Backlog: line, Unknown: generation.Action(line.Action) == nil, Held: relay.HeldBy(runtime, line.Action)})
	}
	if status.Failed, err = failedLately(ctx, runtime, now); err != nil {
		return Status{}, err
	}
	series, err := runtime.Store().Series(ctx, now.Add(-time.Hour), now, 60)
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
