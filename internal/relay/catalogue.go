package relay

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// SourceEvents is a source with the events that it is known to send.
type SourceEvents struct {
	Source string        `json:"source"`
	Preset string        `json:"preset,omitempty"`
	Place  string        `json:"place,omitempty"`
	Events []EventListed `json:"events"`
}

// EventListed is one event of the catalogue.
type EventListed struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Active says that rules act on the event and nothing switches it off.
	Active bool          `json:"active"`
	Switch *queue.Switch `json:"switch,omitempty"`
	Rules  []RuleListed  `json:"rules,omitempty"`
}

// RuleListed is a rule that names an event.
type RuleListed struct {
	Place       string   `json:"place"`
	Description string   `json:"description,omitempty"`
	Inactive    bool     `json:"inactive,omitempty"`
	When        []string `json:"when,omitempty"`
	Do          []string `json:"do,omitempty"`
	Ignore      bool     `json:"ignore,omitempty"`
	Reason      string   `json:"reason,omitempty"`
}

// Catalogue returns the events of all sources, the relay's own too, with their
// rules and actions.
func (r *Runtime) Catalogue() []SourceEvents { return nil }

// ActionListed is a configured action. Secrets are masked.
type ActionListed struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Place       string `json:"place,omitempty"`
	Method      string `json:"method"`
	URL         string `json:"url"`
	// Targets are the scheme, host and port that it can call.
	Targets []string `json:"targets"`
	// UsedBy are the places of the rules that name it. An action without one is
	// unused.
	UsedBy []string `json:"used_by"`
	// Settings are its delivery settings as the Caddyfile has them, in the
	// order of the manual, defaults too.
	Settings [][2]string    `json:"settings"`
	Backlog  *queue.Backlog `json:"backlog,omitempty"`
	Switch   *queue.Switch  `json:"switch,omitempty"`
	Down     *TargetDown    `json:"down,omitempty"`
}

// Actions returns the configured actions, in the order of the configuration.
func (r *Runtime) Actions(ctx context.Context) ([]ActionListed, error) { return nil, errNotBuilt }

// Example renders the request of an action for an event: the newest stored one
// that the action was carried out for, or else any of a name whose rules ask for
// it, or else one that is made up. Nothing is sent.
func (r *Runtime) Example(ctx context.Context, action string) (ExampleRequest, error) {
	return ExampleRequest{}, errNotBuilt
}

// ExampleRequest is what an action would send.
type ExampleRequest struct {
	PlannedRequest
	// EventID is the stored event that it was rendered for, empty for one that
	// was made up.
	EventID string `json:"event_id,omitempty"`
}

// ParameterListed is a parameter that templates and rules can use.
type ParameterListed struct {
	Name string `json:"name"`
	// Kind is system or custom.
	Kind        string `json:"kind"`
	Description string `json:"description,omitempty"`
	Place       string `json:"place,omitempty"`
	// Value is that of a custom parameter, *** if it is a secret, and Tenants
	// those of single tenants.
	Value   string            `json:"value,omitempty"`
	Secret  bool              `json:"secret,omitempty"`
	Tenants map[string]string `json:"tenants,omitempty"`
	// UsedBy names the actions and the places of rules that use it.
	UsedBy []string `json:"used_by"`
}

// Parameters returns the system parameters and the configured ones.
func (r *Runtime) Parameters() []ParameterListed { return nil }

// FieldSeen is something that events of one name had.
type FieldSeen struct {
	// Path is how templates and rules call it, such as body.project.id.
	Path string `json:"path"`
	// Types are the JSON types it had, or text for values outside of JSON.
	Types []string `json:"types"`
	// Example is a value, as JSON and shortened.
	Example string `json:"example"`
	// Seen is in how many of the events that were looked at it was present.
	Seen int `json:"seen"`
}

// FieldsSeen is what stored events of one name had.
type FieldsSeen struct {
	// Events is how many were looked at, the newest.
	Events int         `json:"events"`
	Newest time.Time   `json:"newest,omitzero"`
	Fields []FieldSeen `json:"fields"`
}

// FieldsSeen looks at the newest events of a source and name.
func (r *Runtime) FieldsSeen(ctx context.Context, source, event string) (FieldsSeen, error) {
	return FieldsSeen{}, errNotBuilt
}
