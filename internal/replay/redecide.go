package replay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
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
	// Only names actions. If there are any, the difference is what these change: of
	// others it is neither listed nor made.
	Only []string

	// most and within bound how many events are looked at, the newest, and for how
	// long. Zero is no bound.
	most   int
	within time.Duration
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
	// Groups are the same by action, event and rule, the most frequent first.
	Groups []Group `json:"groups"`
	// Differences are the first thousand that changed, oldest first.
	Differences []Difference `json:"differences"`
	// Oldest and Newest are when the first and the last of the events was received.
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	// Cut says, if not all chosen events were looked at, which bound there is.
	Cut Cut `json:"cut,omitempty"`

	groups map[groupKey]*Group
}

// Cut is why events were left out.
type Cut string

const (
	// CutEvents means that only the newest were looked at, as many as are at once.
	CutEvents Cut = "events"
	// CutTime means that the time was over: before all were found, so that older
	// ones are left out, or before all were decided, so that newer ones are, too.
	CutTime Cut = "time"
)

// Group counts what fires now and did not, or the other way round, for one action,
// event and rule.
type Group struct {
	Action string `json:"action"`
	Source string `json:"source"`
	Event  string `json:"event"`
	// Rule is the place of the rule that asks for the action: of what stops, in the
	// configuration of that time.
	Rule  string `json:"rule"`
	Fires int    `json:"fires,omitempty"`
	Stops int    `json:"stops,omitempty"`
	// Example is the id of the first such event.
	Example string `json:"example"`
}

type groupKey struct {
	action, source, event, rule string
	stops                       bool
}

// Difference is how the verdict on one event changes.
type Difference struct {
	ID       string         `json:"id"`
	Source   string         `json:"source"`
	Event    string         `json:"event"`
	Subject  string         `json:"subject,omitempty"`
	Received time.Time      `json:"received"`
	Before   rules.Decision `json:"before"`
	After    rules.Decision `json:"after"`
	// ReasonBefore and RuleBefore are of the stored verdict, Reason and Rule of the
	// new one.
	ReasonBefore string   `json:"reason_before,omitempty"`
	RuleBefore   string   `json:"rule_before,omitempty"`
	Reason       string   `json:"reason"`
	Rule         string   `json:"rule,omitempty"`
	Fires        []string `json:"fires,omitempty"`
	Stops        []string `json:"stops,omitempty"`

	// fires and stops are the calls that Fires and Stops name.
	fires, stops []rules.ActionCall
}

// changes reports whether there is any difference.
func (d *Difference) changes() bool {
	return d.Before != d.After || len(d.Fires) > 0 || len(d.Stops) > 0
}

// Decide decides stored events again. Unless it is dry, the events get the new
// verdicts, and deliveries of those actions that fire now and have none yet;
// what would not fire any more is listed and otherwise left alone. Such a
// delivery is as old as its event, so one with expires may be too old to be
// sent. Events that repeat another are left out. Switches do not apply.
//
// The running configuration makes the deliveries, also if another decides: all
// actions that fire must exist in it, or nothing is done at all and the error is
// *relay.WrongInput. With Only, events for which none of these actions fires or stops
// keep their verdict, and in the new verdict of others the actions that Only does not
// name stay as they were. Progress is counted in events; it may be nil. What was done before
// another error stays done, and is what Decided says.
func Decide(ctx context.Context, runtime *relay.Runtime, selection Selection, options DecideOptions, progress func(Progress)) (Decided, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	again := redecision{runtime: runtime, dry: options.Dry, only: options.Only, decided: newDecided()}
	var counted, decided time.Time
	if options.within > 0 {
		// Counting must leave time to decide what was counted.
		counted, decided = time.Now().Add(options.within/4), time.Now().Add(options.within)
	}
	var err error
	if again.by, err = decider(runtime, options.Configuration); err == nil {
		err = again.checkOnly()
	}
	if err != nil {
		return again.decided, fmt.Errorf("deciding again: %w", err)
	}
	total, seen, cut := 0, 0, Cut("")
	selected := &selected{runtime: runtime, few: selection.IDs}
	if !areFew(selection.IDs) {
		if selected, err = lookThrough(ctx, runtime, selection.IDs, selection.Filter, options.most, func(event *chosen) {
			seen++
			if event.Summary.DuplicateOf == "" {
				total++
			}
		}, func() (enough bool) {
			progress(Progress{})
			switch {
			case options.most > 0 && seen >= options.most:
				cut = CutEvents
			case !counted.IsZero() && time.Now().After(counted):
				cut = CutTime
			}
			return cut != ""
		}); err != nil {
			return again.decided, fmt.Errorf("deciding again: %w", err)
		}
	}
	if selected.cut {
		again.decided.Cut = cut
	}
	selected.reading = options.Dry
	again.until = decided
	if options.Configuration != nil && !options.Dry {
		trial := redecision{runtime: runtime, by: again.by, dry: true, only: again.only, decided: newDecided()}
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
	again.decided.sortGroups()
	switch {
	case errors.Is(err, errTimeOver):
		again.decided.Cut = CutTime
	case err != nil && again.decided.Events == 0:
		return again.decided, fmt.Errorf("deciding again: %w", err)
	case err != nil:
		return again.decided, fmt.Errorf("deciding again, after %d events: %w", again.decided.Events, err)
	}
	return again.decided, nil
}

func newDecided() Decided {
	return Decided{
		Fires: map[string]int{}, Stops: map[string]int{}, Groups: []Group{}, Differences: []Difference{},
		groups: map[groupKey]*Group{},
	}
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
	var wrong config.Findings
	for _, rule := range by.Ruleset.Rules() {
		for _, when := range rule.When {
			condition, err := by.Language.Compile(when)
			if err != nil {
				wrong.Add(rule.Place, err)
				continue
			}
			for _, name := range condition.Parameters() {
				if by.Language.IsSecret(name) {
					wrong.Add(rule.Place, fmt.Errorf("a condition needs parameter %s, which is a secret that only a running configuration knows: load this one first, then decide by it", name))
				}
			}
		}
	}
	return wrong.Err()
}

// errTimeOver ends deciding when the time for it is over.
var errTimeOver = errors.New("the time is over")

// redecision is one call of Decide.
type redecision struct {
	runtime *relay.Runtime
	by      *relay.Generation
	dry     bool
	only    []string
	// until is when the time is over, zero if never.
	until   time.Time
	decided Decided
}

// checkOnly checks that there are the actions that the difference is narrowed to.
func (d *redecision) checkOnly() error {
	known := d.by.ActionNames()
	if running := d.runtime.Generation(); running != nil && running != d.by {
		known = append(known, running.ActionNames()...)
	}
	for _, action := range d.only {
		if !slices.Contains(known, action) {
			return &relay.WrongInput{Field: "only", Err: names.Unknown("action", action, known, "")}
		}
	}
	return nil
}

// decide decides some events and adds them to what was done.
func (d *redecision) decide(ctx context.Context, events []chosen) error {
	if !d.until.IsZero() && time.Now().After(d.until) {
		return errTimeOver
	}
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
		if len(d.only) > 0 {
			verdict = narrowed(&summary.Verdict, verdict, d.only)
		}
		difference := compare(summary, &verdict)
		if len(d.only) > 0 {
			difference.narrow(d.only)
		}
		amendment := queue.Amendment{Event: summary.ID}
		if !d.dry {
			bound := running.Language.Bind(event)
			for _, action := range difference.Fires {
				if running.Action(action) == nil {
					return notRunning(action)
				}
				amendment.Deliveries = append(amendment.Deliveries, running.Delivery(action, bound, summary.ID, summary.Received))
			}
			if !sameVerdict(summary.Verdict, verdict) && (len(d.only) == 0 || difference.changes()) {
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

// narrowed returns a new verdict in which the actions that are not among the named
// ones are those of the verdict before.
func narrowed(before *rules.Verdict, after rules.Verdict, only []string) rules.Verdict {
	named := func(call rules.ActionCall) bool { return slices.Contains(only, call.Action) }
	var calls []rules.ActionCall
	for _, call := range after.Actions {
		if named(call) {
			calls = append(calls, call)
		}
	}
	for _, call := range before.Actions {
		if !named(call) {
			calls = append(calls, call)
		}
	}
	after.Actions = calls
	if len(calls) > 0 && after.Decision == rules.Ignored || len(calls) == 0 && after.Decision == rules.Act {
		after.Decision, after.Rule, after.Reason = before.Decision, before.Rule, before.Reason
	}
	if len(calls) == 0 && after.Decision == rules.Act {
		after.Decision, after.Rule, after.Reason = rules.Ignored, "", "decided again for some actions only"
	}
	return after
}

// narrow leaves of the difference what changes the named actions.
func (d *Difference) narrow(only []string) {
	other := func(call rules.ActionCall) bool { return !slices.Contains(only, call.Action) }
	d.setCalls(slices.DeleteFunc(d.fires, other), slices.DeleteFunc(d.stops, other))
	if len(d.Fires) == 0 && len(d.Stops) == 0 {
		d.After, d.Reason, d.Rule = d.Before, d.ReasonBefore, d.RuleBefore
	}
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
	if d.Oldest.IsZero() || difference.Received.Before(d.Oldest) {
		d.Oldest = difference.Received
	}
	if difference.Received.After(d.Newest) {
		d.Newest = difference.Received
	}
	for _, call := range difference.fires {
		d.Fires[call.Action]++
		d.group(&difference, call, false)
	}
	for _, call := range difference.stops {
		d.Stops[call.Action]++
		d.group(&difference, call, true)
	}
	if !difference.changes() {
		return
	}
	d.Changed++
	if len(d.Differences) < manyAgain {
		d.Differences = append(d.Differences, difference)
	}
}

// group counts a call that fires or stops. Groups beyond the bound are not counted:
// rules that were loaded once and are gone can be any number.
func (d *Decided) group(difference *Difference, call rules.ActionCall, stops bool) {
	key := groupKey{call.Action, difference.Source, difference.Event, call.Rule, stops}
	group := d.groups[key]
	if group == nil {
		if len(d.groups) >= manyAgain {
			return
		}
		group = &Group{Action: call.Action, Source: difference.Source, Event: difference.Event, Rule: call.Rule, Example: difference.ID}
		d.groups[key] = group
	}
	if stops {
		group.Stops++
	} else {
		group.Fires++
	}
}

func (d *Decided) sortGroups() {
	for _, group := range d.groups {
		d.Groups = append(d.Groups, *group)
	}
	slices.SortFunc(d.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Fires+b.Stops, a.Fires+a.Stops), cmp.Compare(b.Fires, a.Fires),
			cmp.Compare(a.Action, b.Action), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Event, b.Event), cmp.Compare(a.Rule, b.Rule))
	})
}

// compare says what a new verdict changes. What has a delivery already does not
// fire, whatever the verdict before it said.
func compare(summary *queue.Summary, verdict *rules.Verdict) Difference {
	difference := Difference{
		ID: summary.ID, Source: summary.Source, Event: summary.Event, Subject: summary.Subject, Received: summary.Received,
		Before: summary.Verdict.Decision, ReasonBefore: summary.Verdict.Reason, RuleBefore: summary.Verdict.Rule,
		After: verdict.Decision, Reason: verdict.Reason, Rule: verdict.Rule,
	}
	var fires, stops []rules.ActionCall
	for _, call := range verdict.Actions {
		if !slices.ContainsFunc(summary.Deliveries, func(d queue.DeliveryState) bool { return d.Action == call.Action }) {
			fires = append(fires, call)
		}
	}
	for _, call := range summary.Verdict.Actions {
		if !slices.ContainsFunc(verdict.Actions, func(c rules.ActionCall) bool { return c.Action == call.Action }) {
			stops = append(stops, call)
		}
	}
	difference.setCalls(fires, stops)
	return difference
}

func (d *Difference) setCalls(fires, stops []rules.ActionCall) {
	d.fires, d.stops = fires, stops
	d.Fires, d.Stops = actionsOf(fires), actionsOf(stops)
}

func actionsOf(calls []rules.ActionCall) (actions []string) {
	for _, call := range calls {
		actions = append(actions, call.Action)
	}
	return actions
}

// sameVerdict compares verdicts as they are stored.
func sameVerdict(a, b rules.Verdict) bool {
	a.Decided, b.Decided = time.Time{}, time.Time{}
	one, err1 := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}
