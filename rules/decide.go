package rules

import (
	"slices"
	"strconv"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Decide returns what the rules say about the event that bound was made from.
//
// Rules for the event are read top down. One whose conditions are all true adds
// its actions, each once, or ends the reading if it says ignore. A condition
// that is false, unknown or absent does not hold; one that fails, or that is no
// condition because it gives a text or number, does not hold either and makes
// the verdict RuleError, while the other rules are read all the same.
func (s *Ruleset) Decide(bound *language.Bound) Verdict {
	e := bound.Event()
	rules, known := s.byEvent[eventKey{e.Source, e.Name}]
	if !known && e.Name != event.UnknownName {
		return Verdict{Decision: Ignored, Reason: "unknown event " + strconv.Quote(e.Name) + names.DidYouMean(s.nearest(e))}
	}
	if rules == nil || len(rules.rules) == 0 {
		reason := "no rule names this event"
		switch {
		case rules != nil && rules.inactive:
			reason = "all rules that name this event are inactive"
		case e.Name == event.UnknownName:
			reason = "the request does not say which event it is"
		}
		return Verdict{Decision: Ignored, Reason: reason}
	}

	v := Verdict{Decision: Ignored}
	var failed *compiledRule
	var failure string
	var missed misses
reading:
	for _, rule := range rules.rules {
		condition, err := rule.missed(bound)
		switch {
		case err != nil:
			v.Errors = append(v.Errors, err.Error()+config.At(rule.place))
			if failed == nil {
				failed = rule
				failure = "condition failed: " + err.Error() + bound.Values("; ", condition)
			}
		case condition != nil:
			missed.add(rule, condition)
		case rule.ignore:
			v.addHeld(rule)
			if len(v.Actions) == 0 {
				v.Rule, v.Reason = rule.place, rule.reason()
			}
			break reading
		default:
			v.addHeld(rule)
			if len(v.Actions) == 0 {
				v.Decision, v.Rule, v.Reason = Act, rule.place, rule.reason()
			}
			v.addActions(rule.actions)
		}
	}
	if failed != nil {
		v.Decision, v.Reason = RuleError, failure
		if v.Rule == "" {
			v.Rule = failed.place
		} else {
			v.Reason += config.At(failed.place)
		}
	} else if v.Reason == "" {
		v.NotHeld, v.Reason = missed.reason(bound)
	}
	v.Absent = bound.Absent()
	return v
}

// misses are the rules that did not hold for an event.
type misses struct {
	count int
	first [mostMisses]struct {
		rule      *compiledRule
		condition *language.Expression
	}
}

// mostMisses is among how many rules a near miss is looked for.
const mostMisses = 8

func (m *misses) add(rule *compiledRule, condition *language.Expression) {
	if m.count < mostMisses {
		m.first[m.count].rule, m.first[m.count].condition = rule, condition
	}
	m.count++
}

// reason returns the place of a rule that did not hold, and why: of the first one
// that was nearly met, else of the first. It is for an event for which no rule held.
func (m *misses) reason(bound *language.Bound) (place, reason string) {
	told := m.first[0]
	if m.count > 1 {
		for _, miss := range m.first[:min(m.count, mostMisses)] {
			if bound.NearMiss(miss.condition) {
				told = miss
				break
			}
		}
	}
	reason = bound.Miss(told.condition)
	switch others := m.count - 1; others {
	case 0:
	case 1:
		reason += "; 1 other rule did not hold either"
	default:
		reason += "; " + strconv.Itoa(others) + " other rules did not hold either"
	}
	return told.rule.place, reason
}

// nearest returns the declared event of the same source that the name of an event is
// likely to mean, "" if none is near.
func (s *Ruleset) nearest(e *event.Event) string {
	for _, source := range s.sources {
		if source.Name != e.Source {
			continue
		}
		declared := make([]string, len(source.Events))
		for i, known := range source.Events {
			declared[i] = known.Name
		}
		return names.Nearest(e.Name, declared)
	}
	return ""
}

// addActions adds calls of actions that are not called yet. The calls of the
// first rule are shared between verdicts, at no cost; adding to them copies.
func (v *Verdict) addActions(calls []ActionCall) {
	if len(v.Actions) == 0 {
		v.Actions = calls[:len(calls):len(calls)]
		return
	}
	for _, call := range calls {
		if !slices.ContainsFunc(v.Actions, func(c ActionCall) bool { return c.Action == call.Action }) {
			v.Actions = append(v.Actions, call)
		}
	}
}

// addHeld notes that a rule held. As with addActions, the first costs nothing.
func (v *Verdict) addHeld(rule *compiledRule) {
	if len(v.Held) == 0 {
		v.Held = rule.ids[:1:1]
		return
	}
	if !slices.Contains(v.Held, rule.ids[0]) {
		v.Held = append(v.Held, rule.ids[0])
	}
}

// reason says why the rule applies, in the administrator's words if there are
// any.
func (r *compiledRule) reason() string {
	switch {
	case r.ignore && r.ignoreReason != "":
		return r.ignoreReason
	case r.description != "":
		return r.description
	case r.ignore:
		return "a rule says ignore"
	case len(r.when) == 0:
		return "a rule without conditions"
	}
	return "all conditions of a rule held"
}

// missed returns the first condition that is not true, nil if all are.
func (r *compiledRule) missed(bound *language.Bound) (*language.Expression, error) {
	for _, condition := range r.when {
		if held, err := bound.Holds(condition); !held {
			return condition, err
		}
	}
	return nil, nil
}
