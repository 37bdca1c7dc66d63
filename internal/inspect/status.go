package inspect

import (
	"context"
	"errors"
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
	// changed since they were read. Of several nodes, they say which vanished, and
	// that these run different things.
	Warnings []string `json:"warnings"`
	// Refused are the requests of the last hour that were refused, or that no mount took,
	// and most likely came from senders, newest first. Probes counts the others.
	Refused []relay.Rejection `json:"refused"`
	Probes  int               `json:"probes"`
	// Nodes are the nodes that share the queue, ordered by name. Down and Quiet, and what
	// was refused, are those of this one.
	Nodes []relay.Node `json:"nodes,omitempty"`
	// ReceiveOnly says that this node carries out no deliveries (deliver off).
	ReceiveOnly bool `json:"receive_only,omitempty"`
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
	// Unknown says that no such action is configured any more, on any node: its
	// deliveries wait until they are moved or cancelled or it comes back.
	Unknown bool `json:"unknown,omitempty"`
	// Carriers are the nodes that carry out its deliveries, if the configuration of
	// this one does not have it.
	Carriers []string `json:"carriers,omitempty"`
	// Held is the switch that keeps all of them waiting, nil for none.
	Held *queue.Switch `json:"held,omitempty"`
}

// BacklogOf returns what waits for each action that has unfinished deliveries.
func BacklogOf(ctx context.Context, runtime *relay.Runtime) ([]BacklogLine, error) {
	generation := runtime.Generation()
	if generation == nil {
		return nil, relay.ErrNotInService
	}
	backlog, err := runtime.Store().Backlog(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the backlog: %w", err)
	}
	lines := make([]BacklogLine, len(backlog))
	for i, waits := range backlog {
		line := BacklogLine{Backlog: waits, Held: relay.HeldBy(runtime, waits.Action)}
		if generation.Action(waits.Action) == nil {
			if line.Carriers, err = relay.Carriers(ctx, runtime, waits.Action); err != nil {
				return nil, err
			}
			line.Unknown = len(line.Carriers) == 0
		}
		lines[i] = line
	}
	return lines, nil
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
	now := relay.Now(runtime)
	configuration, state := &generation.Configuration, runtime.State()
	status := Status{
		Version: configuration.Version, Started: state.Started, Loaded: state.Loaded, Configuration: state.Configuration,
		Off: configuration.Disabled, ReceiveOnly: !configuration.Delivers(), Switches: runtime.Switches(),
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
	if err := status.read(ctx, runtime, generation, now); errors.Is(err, queue.ErrUnavailable) {
		// It was open, and cannot be reached right now.
		status.Troubles = withUnavailable(status.Troubles, err, now)
		return status, nil
	} else if err != nil {
		return Status{}, err
	}
	return status, nil
}

// withUnavailable adds that the queue is unavailable, unless its engine says so itself:
// what waits is not known then.
func withUnavailable(troubles []queue.Trouble, err error, now time.Time) []queue.Trouble {
	if slices.ContainsFunc(troubles, func(t queue.Trouble) bool { return t.Kind == queue.TroubleUnavailable }) {
		return troubles
	}
	troubles = slices.Clone(troubles)
	// That nothing can be written is told already, with what to do. It is told once.
	if i := slices.IndexFunc(troubles, func(t queue.Trouble) bool { return t.Kind == queue.TroubleUnwritable }); i >= 0 {
		troubles[i].Kind = queue.TroubleUnavailable
		return troubles
	}
	return append(troubles, queue.Trouble{Kind: queue.TroubleUnavailable, Message: err.Error(), Since: now, Refusing: true})
}

// read adds what is stored.
func (status *Status) read(ctx context.Context, runtime *relay.Runtime, generation *relay.Generation, now time.Time) error {
	backlog, err := BacklogOf(ctx, runtime)
	if err != nil {
		return err
	}
	status.Backlog = backlog
	if status.Nodes, err = relay.Nodes(ctx, runtime); err != nil {
		return err
	}
	status.Warnings = append(status.Warnings, nodeWarnings(status.Nodes, now, generation.Configuration.Zone)...)
	failed, err := failedLately(ctx, runtime, now)
	if err != nil {
		return err
	}
	status.Failed = failed
	series, err := runtime.Store().Series(ctx, now.Add(-time.Hour), now, 60)
	if err != nil {
		return fmt.Errorf("counting the last hour: %w", err)
	}
	for _, point := range series.Points {
		for decision, n := range point.Events {
			status.LastHour[string(decision)] += n
		}
		for state, n := range point.Deliveries {
			status.LastHour[string(state)] += n
		}
	}
	return nil
}
