package rules

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Explanation says what the rules decide about an event, and why: rule by rule,
// each condition with the values of its parts. It is plain data.
type Explanation struct {
	// Verdict is what Decide returns for the event.
	Verdict Verdict `json:"verdict"`

	// Rules are the rules that name the event, in their order.
	Rules []RuleExplanation `json:"rules"`

	// OtherRules counts the rules that name other events only.
	OtherRules int `json:"other_rules"`
}

// RuleOutcome says what became of a rule.
type RuleOutcome string

// The outcomes of a rule.
const (
	// RuleApplied means that all conditions were true.
	RuleApplied RuleOutcome = "applied"
	// RuleNotHeld means that a condition was false or unknown.
	RuleNotHeld RuleOutcome = "not_held"
	// RuleFailed means that a condition could not be evaluated.
	RuleFailed RuleOutcome = "error"
	// RuleInactive means that the rule is switched off (active off).
	RuleInactive RuleOutcome = "inactive"
	// RuleNotRead means that a rule before this one said ignore.
	RuleNotRead RuleOutcome = "not_read"
)

// RuleExplanation is one rule that names the event.
type RuleExplanation struct {
	Place       string      `json:"place"`
	Description string      `json:"description,omitempty"`
	Events      []string    `json:"events"`
	Outcome     RuleOutcome `json:"outcome"`

	// Reason says in a sentence why the outcome is what it is.
	Reason string `json:"reason"`

	// When are the conditions. Rules that are inactive or not read have none
	// here: they were not evaluated.
	When []language.Part `json:"when,omitempty"`

	// Do and Ignore are what the rule leads to when it applies, Adds those of
	// its actions that no rule before it has asked for: they are carried out on
	// its account.
	Do     []string `json:"do,omitempty"`
	Adds   []string `json:"adds,omitempty"`
	Ignore bool     `json:"ignore,omitempty"`
}

// Explain returns what the rules decide about the event that bound was made
// from, and why. It evaluates more than Decide does, and compiles parts of
// conditions to do so: it is for people who ask, not for each event. Values of
// secret parameters are shown as ***, long values are cut.
func (s *Ruleset) Explain(bound *language.Bound) Explanation {
	event := bound.Event()
	result := Explanation{Verdict: s.Decide(s.language.Bind(event)), Rules: []RuleExplanation{}}
	explainer := s.language.NewExplainer(event)
	names := newRulesetBuilder(s.language, s.sources, nil)
	var asked []string
	endedBy := ""
	for i := range s.written {
		rule := &s.written[i]
		if !s.meansEvent(names, rule, event) {
			result.OtherRules++
			continue
		}
		explained := RuleExplanation{
			Place: rule.Place, Description: rule.Description, Events: rule.Events,
			Do: rule.Do, Ignore: rule.Ignore,
		}
		switch {
		case rule.Disabled:
			explained.Outcome, explained.Reason = RuleInactive, "the rule is switched off (active off)"
		case endedBy != "":
			explained.Outcome, explained.Reason = RuleNotRead, "the ignore at "+endedBy+" ended the reading"
		default:
			explained.evaluate(explainer, rule.When)
		}
		if explained.Outcome == RuleApplied {
			if rule.Ignore {
				endedBy = rule.Place
			}
			for _, action := range rule.Do {
				if !slices.Contains(asked, action) {
					asked = append(asked, action)
					explained.Adds = append(explained.Adds, action)
				}
			}
		}
		result.Rules = append(result.Rules, explained)
	}
	return result
}

// meansEvent reports whether a rule names the event.
func (s *Ruleset) meansEvent(names *rulesetBuilder, rule *config.Rule, event *event.Event) bool {
	wanted := eventKey{event.Source, event.Name}
	rules := s.byEvent[wanted]
	for _, name := range rule.Events {
		// The rules are compiled, so their names have been found before.
		keys, _ := names.find(name)
		if slices.ContainsFunc(keys, func(key eventKey) bool {
			// An event is found by its name as declared and by its normal name.
			return key == wanted || rules != nil && s.byEvent[key] == rules
		}) {
			return true
		}
	}
	return false
}

// evaluate evaluates all conditions of a rule: Decide stops at the first that
// does not hold, and so does the outcome.
func (explained *RuleExplanation) evaluate(explainer *language.Explainer, conditions []string) {
	explained.Outcome, explained.Reason = RuleApplied, "all conditions are true"
	if len(conditions) == 0 {
		explained.Reason = "the rule has no conditions"
	}
	for _, source := range conditions {
		condition := explainer.Condition(source)
		if explained.Outcome != RuleApplied {
			condition.Unread = true
		} else {
			switch condition.Result {
			case language.ResultTrue:
			case language.ResultFalse, language.ResultUnknown:
				explained.Outcome, explained.Reason = RuleNotHeld, explainer.Miss(source)
			default:
				explained.Outcome, explained.Reason = RuleFailed, condition.Error
			}
		}
		explained.When = append(explained.When, condition)
	}
}
