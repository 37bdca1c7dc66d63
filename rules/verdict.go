package rules

import (
	"cmp"
	"time"
)

// Decision is the first word of a verdict.
type Decision string

const (
	// Act means that at least one action is to be carried out.
	Act Decision = "action"
	// Ignored means that no rule asked for an action, or that one said ignore.
	Ignored Decision = "ignored"
	// RuleError means that a condition could not be evaluated. Actions of
	// other rules that held are carried out all the same. The event is kept, so
	// that it can be decided again once the rule is mended.
	RuleError Decision = "rule_error"
	// Disabled means that the relay, or the event, was switched off when the event
	// came.
	Disabled Decision = "disabled"
)

// Verdict is what the rules decided about one event, with the reason. It is
// stored with the event.
type Verdict struct {
	Decision Decision `json:"decision"`

	// Decided is when the event was decided again. Zero means that this is the
	// verdict of its receipt.
	Decided time.Time `json:"decided,omitzero"`

	// Reason is one sentence for an administrator.
	Reason string `json:"reason,omitempty"`

	// Rule is the place (file:line) of the rule that decided: the first whose
	// do held, else the ignore that ended the reading, else the one that
	// failed. Empty when no rule decided.
	Rule string `json:"rule,omitempty"`

	// NotHeld is the place of the rule whose condition Reason names, if no rule
	// decided because no conditions held. Verdicts that were stored before there was
	// this have none, and "no condition held" as their reason.
	NotHeld string `json:"not_held,omitempty"`

	// Actions are the actions to carry out, each once, in the order of the
	// rules.
	Actions []ActionCall `json:"actions,omitempty"`

	// Absent names what conditions referred to and the event did not have, so
	// that a misspelt field explains itself.
	Absent []string `json:"absent,omitempty"`

	// Errors are the messages of the conditions that could not be evaluated.
	Errors []string `json:"errors,omitempty"`

	// Held are the rules that held, each once, by their ID: those whose actions
	// were asked for before, too, and an ignore that ended the reading. They are
	// what counts as a use of a rule.
	Held []string `json:"held,omitempty"`
}

// Place is the place of the rule that Reason is about, empty if it is about none.
func (v *Verdict) Place() string { return cmp.Or(v.Rule, v.NotHeld) }

// ActionCall is one action that a verdict asks for, and the rule that did.
type ActionCall struct {
	Action string `json:"action"`
	Rule   string `json:"rule"`
}
