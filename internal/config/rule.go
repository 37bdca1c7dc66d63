package config

// Rule says what some events lead to. It has either actions or `ignore`.
type Rule struct {
	// The names of the events that the rule is for. A name may be a pattern
	// with `*` at its end, and may say whose event it is: `source:event`.
	Events []string `json:"events"`

	// What the rule is for. Default: empty.
	Description string `json:"description,omitempty"`

	// Whether the rule is switched off, as if it were not there. It is checked
	// all the same. Default: `false`.
	Disabled bool `json:"disabled,omitempty"`

	// Conditions, which must all be true for the rule to hold. A condition
	// about something that an event does not have is not true. Default: none,
	// so that the rule always holds.
	When []string `json:"when,omitempty"`

	// The names of the actions to carry out.
	Do []string `json:"do,omitempty"`

	// Whether events for which the rule holds are ignored: the rules below it
	// are not read. Actions that rules above it asked for remain. Default:
	// `false`.
	Ignore bool `json:"ignore,omitempty"`

	// Why events are ignored, for the history. Default: empty.
	Reason string `json:"reason,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. The history names
	// the rule by it. Default: empty; the history then names the rule by its
	// position.
	Place string `json:"place,omitempty"`
}
