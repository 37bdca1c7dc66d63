package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Checked is what a check of a running relay found.
type Checked struct {
	// Database are the faults of the database.
	Database []string `json:"database"`
	// Warnings are about the configuration: fields that rules and templates use
	// and no stored event of theirs had, parameters without a value, unused
	// actions, and so on.
	Warnings []string `json:"warnings"`
	// Notes are about what may be as it should be: rules that have never held.
	Notes []string `json:"notes"`
}

// newestForCheck is how many events of each name are looked at for the fields
// that rules and templates refer to.
const newestForCheck = 500

// Check checks the database, and the newest configuration against the events
// that are stored.
func Check(ctx context.Context, runtime *relay.Runtime) (Checked, error) {
	generation := runtime.Generation()
	if generation == nil {
		return Checked{}, relay.ErrNotInService
	}
	checked := Checked{Database: []string{}, Warnings: []string{}, Notes: []string{}}
	if err := runtime.Unavailable(); err != nil {
		checked.Database = append(checked.Database, err.Error())
		return checked, nil
	}
	var err error
	if verifier, can := runtime.Store().(queue.Verifier); can {
		faults, err := verifier.Verify(ctx)
		if err != nil {
			return Checked{}, fmt.Errorf("checking the database: %w", err)
		}
		checked.Database = append(checked.Database, faults...)
	}
	if checked.Warnings, err = warnings(ctx, runtime, generation); err != nil {
		return Checked{}, err
	}
	notes, err := noteIdle(ctx, runtime, generation, relay.Now(runtime))
	if err != nil {
		return Checked{}, err
	}
	checked.Notes = append(checked.Notes, notes...)
	return checked, nil
}

// warnings are about a configuration, in the light of what is stored.
func warnings(ctx context.Context, runtime *relay.Runtime, generation *relay.Generation) ([]string, error) {
	absent, err := warnOfAbsent(ctx, runtime, generation)
	if err != nil {
		return nil, fmt.Errorf("checking the configuration against the stored events: %w", err)
	}
	backlog, err := BacklogOf(ctx, runtime)
	if err != nil {
		return nil, fmt.Errorf("checking what waits: %w", err)
	}
	nodes, err := relay.Nodes(ctx, runtime)
	if err != nil {
		return nil, err
	}
	var zone []string
	if doubt := generation.Configuration.ZoneDoubt; doubt != "" {
		zone = append(zone, doubt)
	}
	return slices.Concat(loadWarnings(generation), zone, absent, warnOfUndefined(generation), warnOfUnescaped(generation), warnOfUnused(generation),
		warnOfSwitches(generation, runtime.Switches()), warnOfUnknown(backlog, len(nodes) > 1), nodeWarnings(nodes, relay.Now(runtime), generation.Configuration.Zone)), nil
}

type eventName struct{ source, event string }

// question asks whether stored events ever had what a rule or action refers to.
type question struct {
	// asks says what is asked for it, place where that stands, events what it is for.
	asks      string
	place     string
	events    []rules.EventRules
	reference language.Reference
	// expression is the reference, compiled.
	expression *language.Expression
	// looked counts the events that were looked at in vain.
	looked   int
	answered bool
}

// questions are those of all rules and actions that are in use.
func questions(g *relay.Generation) []*question {
	var all []*question
	ask := func(asks, place string, events []rules.EventRules, expressions ...string) {
		var seen []string
		for _, expression := range expressions {
			for _, reference := range g.Language.References(expression) {
				if slices.Contains(seen, reference.Text) || !mayBeAbsent(g.Language, reference) {
					continue
				}
				seen = append(seen, reference.Text)
				// A reference that is too long for a message does not compile.
				if compiled, err := g.Language.Compile(reference.Text); err == nil {
					all = append(all, &question{asks: asks, place: place, events: events, reference: reference, expression: compiled})
				}
			}
		}
	}
	written := g.Ruleset.Rules()
	byEvent := g.Ruleset.ByEvent()
	for i, rule := range written {
		if rule.Disabled {
			continue
		}
		var events []rules.EventRules
		for _, event := range byEvent {
			if slices.Contains(event.Rules, i) {
				events = append(events, event)
			}
		}
		ask("a rule asks for ", rule.Place, events, rule.When...)
	}
	for _, action := range g.Actions {
		var expressions []string
		for _, expression := range action.Expressions() {
			expressions = append(expressions, expression.String())
		}
		ask("action "+action.Name()+" asks for ", action.Action().Place, eventsAsking(g, action.Name()), expressions...)
	}
	return all
}

// mayBeAbsent reports whether a reference is to something that only some events
// have.
func mayBeAbsent(language *language.Language, reference language.Reference) bool {
	switch reference.Name {
	case "body", "query", "headers":
		return len(reference.Steps) > 0
	}
	_, isParameter := event.ParameterByName(reference.Name)
	return isParameter || slices.Contains(language.Fields(), reference.Name)
}

// warnOfAbsent names what rules and actions refer to and none of the newest
// events that they are for had.
func warnOfAbsent(ctx context.Context, runtime *relay.Runtime, generation *relay.Generation) (warnings []string, err error) {
	questions := questions(generation)
	byEvent := map[eventName][]*question{}
	var order []eventName
	for _, q := range questions {
		for _, event := range q.events {
			key := eventName{event.Source, event.Event}
			if byEvent[key] == nil {
				order = append(order, key)
			}
			byEvent[key] = append(byEvent[key], q)
		}
	}
	near := map[eventName]*fields{}
	for _, key := range order {
		open := slices.DeleteFunc(slices.Clone(byEvent[key]), func(q *question) bool { return q.answered })
		if len(open) == 0 {
			continue
		}
		had := newFields()
		near[key] = had
		err := eachStored(ctx, runtime, queue.Filter{Source: key.source, Event: key.event}, newestForCheck, func(event *event.Event) bool {
			had.look(event)
			bound := generation.Language.Bind(event)
			for _, q := range open {
				q.looked++
				if value, err := bound.Evaluate(q.expression); err == nil && !isAbsent(value) {
					q.answered = true
				}
			}
			open = slices.DeleteFunc(open, func(q *question) bool { return q.answered })
			return len(open) > 0
		})
		if err != nil {
			return nil, err
		}
	}
	for _, q := range questions {
		if q.answered || q.looked == 0 {
			continue
		}
		warning := fmt.Sprintf("%s%s, which none of the newest %d stored events of its kind had", q.asks, q.reference.Text, q.looked)
		if q.looked == 1 {
			warning = fmt.Sprintf("%s%s, which the only stored event of its kind did not have", q.asks, q.reference.Text)
		}
		var known []string
		for _, event := range q.events {
			if had := near[eventName{event.Source, event.Event}]; had != nil {
				for path := range had.seen {
					known = append(known, path)
				}
			}
		}
		slices.Sort(known)
		warnings = append(warnings, warning+config.At(q.place)+names.DidYouMean(names.Nearest(q.reference.Text, slices.Compact(known))))
	}
	return warnings, nil
}

// warnOfUndefined names the custom parameters that actions use and that are still
// to be given a value.
func warnOfUndefined(g *relay.Generation) (warnings []string) {
	uses := usesOf(g)
	for _, parameter := range g.Configuration.Parameters {
		if !isUndefined(parameter) {
			continue
		}
		users := slices.DeleteFunc(uses.through(parameter.Name), func(user string) bool { return g.Action(user) == nil })
		if len(users) == 0 {
			continue
		}
		what := "it is empty"
		if parameter.Value != "" {
			what = "its value is " + g.Mask(parameter.Value) + ", which stands for a missing one"
		}
		warnings = append(warnings, fmt.Sprintf("parameter %s: %s, and actions use it (%s); fill in: parameter %[1]s VALUE%[4]s",
			parameter.Name, what, strings.Join(users, ", "), config.At(parameter.Place)))
	}
	return warnings
}

// warnOfUnescaped names the tags in JSON, XML and GraphQL that stands in another
// place, for which values are not escaped.
func warnOfUnescaped(g *relay.Generation) (warnings []string) {
	for _, action := range g.Actions {
		for _, text := range action.Unescaped() {
			warnings = append(warnings, "action "+action.Name()+", "+text+config.At(action.Action().Place))
		}
	}
	return warnings
}

// warnOfUnused names the actions and custom parameters that nothing uses.
func warnOfUnused(g *relay.Generation) (warnings []string) {
	for _, action := range g.Actions {
		if len(rulesDoing(g, action.Name())) == 0 {
			warnings = append(warnings, "action "+action.Name()+": no rule uses it; add it to do of a rule, or remove it"+config.At(action.Action().Place))
		}
	}
	uses := usesOf(g)
	for _, parameter := range g.Configuration.Parameters {
		if len(uses.of(parameter.Name)) == 0 {
			warnings = append(warnings, "parameter "+parameter.Name+": nothing uses it; remove it if it is not needed any more"+config.At(parameter.Place))
		}
	}
	return warnings
}

// warnOfSwitches names the rules whose events are all switched off.
func warnOfSwitches(g *relay.Generation, switches []queue.Switch) (warnings []string) {
	off := switchesOf(switches)
	written := g.Ruleset.Rules()
	events, disabled := make([]int, len(written)), make([][]string, len(written))
	for _, event := range g.Ruleset.ByEvent() {
		name := event.Source + ":" + event.Event
		for _, i := range event.Rules {
			events[i]++
			if off[switchKey{queue.SwitchEvent, name}] != nil {
				disabled[i] = append(disabled[i], name)
			}
		}
	}
	for i, rule := range written {
		if !rule.Disabled && events[i] > 0 && len(disabled[i]) == events[i] {
			warnings = append(warnings, fmt.Sprintf("all events of a rule are switched off (%s); to turn one on, use %s%s",
				strings.Join(disabled[i], ", "), names.Command("enable"), config.At(rule.Place)))
		}
	}
	return warnings
}

// warnOfUnknown names the actions that are gone while deliveries of them wait. Where
// several nodes share the queue, one that is not running may have the action.
func warnOfUnknown(backlog []BacklogLine, shared bool) (warnings []string) {
	why, remedy := "there is no such action any more", "bring it back"
	if shared {
		why, remedy = "no node that runs has this action", "start a node that has it"
	}
	for _, waiting := range backlog {
		if waiting.Unknown {
			warnings = append(warnings, fmt.Sprintf("action %s: %s, and deliveries of it wait (%d); "+
				"move them to another action, cancel them, or %s", waiting.Action, why, waiting.Count, remedy))
		}
	}
	return warnings
}

// loadWarnings says what may lose events under a configuration, as far as that
// was known when it was loaded.
func loadWarnings(g *relay.Generation) []string {
	return slices.Concat([]string{}, g.Configuration.EmptyAnswers, g.SecretWarnings())
}
