package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// DecideOptions say how to decide again.
type DecideOptions struct {
	// Configuration is what decides, as the JSON of the relay's app. Nil means
	// the running one. Its secrets are not known, so no condition may need one.
	Configuration json.RawMessage
	// Dry only lists the difference.
	Dry bool
}

// Decided is the difference that deciding again makes.
type Decided struct {
	// Events is how many were decided, Changed for how many of them the decision
	// or the actions differ.
	Events  int `json:"events"`
	Changed int `json:"changed"`
	// Fires and Stops count, by action, what fires now and did not, and
	// the other way round.
	Fires map[string]int `json:"fires"`
	Stops map[string]int `json:"stops"`
	// Differences are the first thousand that changed, oldest first.
	Differences []Difference `json:"differences"`
}

// Difference is how the verdict on one event changes.
type Difference struct {
	ID       string         `json:"id"`
	Source   string         `json:"source"`
	Event    string         `json:"event"`
	Received time.Time      `json:"received"`
	Before   rules.Decision `json:"before"`
	After    rules.Decision `json:"after"`
	Reason   string         `json:"reason"`
	Rule     string         `json:"rule,omitempty"`
	Fires    []string       `json:"fires,omitempty"`
	Stops    []string       `json:"stops,omitempty"`
}

// Decide decides stored events again. Unless it is dry, the events get the new
// verdicts, and deliveries of those actions that fire now and have none yet;
// what would not fire any more is listed and otherwise left alone. Such a
// delivery is as old as its event, so one with expires may be too old to be
// sent. Events that repeat another are left out. Switches do not apply.
//
// The running configuration makes the deliveries, also if another decides: all
// actions that fire must exist in it, or nothing is done at all and the error is
// *relay.WrongInput. Progress is counted in events; it may be nil. What was done before
// another error stays done, and is what Decided says.
func Decide(ctx context.Context, runtime *relay.Runtime, selection Selection, options DecideOptions, progress func(Progress)) (Decided, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	again := redecision{runtime: runtime, dry: options.Dry, decided: newDecided()}
	var err error
	if again.by, err = decider(runtime, options.Configuration); err != nil {
		return again.decided, fmt.Errorf("deciding again: %w", err)
	}
	total := 0
	selected := &selected{runtime: runtime, few: selection.IDs}
	if !areFew(selection.IDs) {
		if selected, err = lookThrough(ctx, runtime, selection.IDs, selection.Filter, func(event *chosen) {
			if event.Summary.DuplicateOf == "" {
				total++
			}
		}, func() { progress(Progress{}) }); err != nil {
			return again.decided, fmt.Errorf("deciding again: %w", err)
		}
	}
	if options.Configuration != nil && !options.Dry {
		trial := redecision{runtime: runtime, by: again.by, dry: true, decided: newDecided()}
		if err := selected.walk(ctx, func(ctx context.Context, events []chosen) error { return trial.decide(ctx, events) }, func() { progress(Progress{}) }); err != nil {
			return again.decided, fmt.Errorf("deciding again: %w", err)
		}
		for action := range trial.decided.Fires {
			if running := runtime.Generation(); running == nil || running.Action(action) == nil {
				return again.decided, &relay.WrongInput{Field: "configuration", Err: notRunning(action)}
			}
		}
	}
	if total > 0 {
		progress(Progress{Total: total})
	}
	err = selected.walk(ctx, func(ctx context.Context, events []chosen) error { return again.decide(ctx, events) },
		func() { progress(Progress{Done: again.decided.Events, Total: max(again.decided.Events, total)}) })
	switch {
	case err != nil && again.decided.Events == 0:
		return again.decided, fmt.Errorf("deciding again: %w", err)
	case err != nil:
		return again.decided, fmt.Errorf("deciding again, after %d events: %w", again.decided.Events, err)
	}
	return again.decided, nil
}

func newDecided() Decided {
	return Decided{Fires: map[string]int{}, Stops: map[string]int{}, Differences: []Difference{}}
}

func notRunning(action string) error {
	return fmt.Errorf("action %s fires, and the running configuration has no such action to carry out: load the new configuration first, or ask for the difference only", action)
}

// decider returns what decides.
func decider(runtime *relay.Runtime, configuration json.RawMessage) (*relay.Generation, error) {
	running := runtime.Generation()
	switch {
	case running == nil:
		return nil, relay.ErrNotInService
	case configuration == nil:
		return running, nil
	}
	by, err := running.DryRun(configuration)
	if err == nil {
		err = checkNeedsNoSecret(by)
	}
	if err != nil {
		return nil, &relay.WrongInput{Field: "configuration", Err: err}
	}
	return by, nil
}

// checkNeedsNoSecret checks that no condition needs a secret. A configuration that
// is not running knows none, and a comparison with *** would decide wrongly.
func checkNeedsNoSecret(by *relay.Generation) error {
	for _, rule := range by.Ruleset.Rules() {
		for _, when := range rule.When {
			condition, err := by.Language.Compile(when)
			if err != nil {
				return fmt.Errorf("rule %s: %w", rule.Place, err)
			}
			for _, name := range condition.Parameters() {
				if by.Language.IsSecret(name) {
					return fmt.Errorf("rule %s: its condition needs parameter %s, which is a secret that only a running configuration knows: load this one first, then decide by it", rule.Place, name)
				}
			}
		}
	}
	return nil
}

// redecision is one call of Decide.
type redecision struct {
	runtime *relay.Runtime
	by      *relay.Generation
	dry     bool
	decided Decided
}

// decide decides some events and adds them to what was done.
func (d *redecision) decide(ctx context.Context, events []chosen) error {
	running := d.runtime.Generation()
	if running == nil {
		return relay.ErrNotInService
	}
	var amendments []queue.Amendment
	var differences []Difference
	for i := range events {
		summary, event := &events[i].Summary, events[i].Event
		if summary.DuplicateOf != "" || event == nil {
			continue
		}
		verdict := d.by.Ruleset.Decide(d.by.Language.Bind(event))
		difference := compare(summary, &verdict)
		amendment := queue.Amendment{Event: summary.ID}
		if !d.dry {
			bound := running.Language.Bind(event)
			for _, action := range difference.Fires {
				if running.Action(action) == nil {
					return notRunning(action)
				}
				amendment.Deliveries = append(amendment.Deliveries, running.Delivery(action, bound, summary.ID, summary.Received))
			}
			if !sameVerdict(summary.Verdict, verdict) {
				verdict.Decided = time.Now().UTC()
				amendment.Verdict = &verdict
			}
		}
		differences, amendments = append(differences, difference), append(amendments, amendment)
	}
	if d.dry {
		for _, difference := range differences {
			d.decided.add(difference)
		}
		return nil
	}
	return d.store(ctx, amendments, differences)
}

// store stores those amendments that amend anything.
func (d *redecision) store(ctx context.Context, amendments []queue.Amendment, differences []Difference) error {
	var needed []queue.Amendment
	var of []Difference
	for i, amendment := range amendments {
		if amendment.Verdict == nil && len(amendment.Deliveries) == 0 {
			d.decided.add(differences[i])
			continue
		}
		needed, of = append(needed, amendment), append(of, differences[i])
	}
	if len(needed) == 0 {
		return nil
	}
	stored, err := amend(ctx, d.runtime, needed)
	for i, difference := range of {
		if stored[i] {
			d.decided.add(difference)
		}
	}
	return err
}

func (d *Decided) add(difference Difference) {
	d.Events++
	for _, action := range difference.Fires {
		d.Fires[action]++
	}
	for _, action := range difference.Stops {
		d.Stops[action]++
	}
	if difference.Before == difference.After && len(difference.Fires) == 0 && len(difference.Stops) == 0 {
		return
	}
	d.Changed++
	if len(d.Differences) < manyAgain {
		d.Differences = append(d.Differences, difference)
	}
}

// compare says what a new verdict changes. What has a delivery already does not
// fire, whatever the verdict before it said.
func compare(summary *queue.Summary, verdict *rules.Verdict) Difference {
	difference := Difference{
		ID: summary.ID, Source: summary.Source, Event: summary.Event, Received: summary.Received,
		Before: summary.Verdict.Decision, After: verdict.Decision, Reason: verdict.Reason, Rule: verdict.Rule,
	}
	for _, call := range verdict.Actions {
		if !slices.ContainsFunc(summary.Deliveries, func(d queue.DeliveryState) bool { return d.Action == call.Action }) {
			difference.Fires = append(difference.Fires, call.Action)
		}
	}
	for _, call := range summary.Verdict.Actions {
		if !slices.ContainsFunc(verdict.Actions, func(c rules.ActionCall) bool { return c.Action == call.Action }) {
			difference.Stops = append(difference.Stops, call.Action)
		}
	}
	return difference
}

// sameVerdict compares verdicts as they are stored.
func sameVerdict(a, b rules.Verdict) bool {
	a.Decided, b.Decided = time.Time{}, time.Time{}
	one, err1 := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}
