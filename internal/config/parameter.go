package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Parameter is a custom parameter: a named value for templates and rules.
type Parameter struct {
	// How templates and rules call the value. It is an identifier: letters,
	// digits and underscores, not beginning with a digit or an underscore.
	// Names that every event has, such as `caller_id` or `body`, are taken.
	Name string `json:"name"`

	// The value. It may hold other custom parameters, as `{{name}}`. A value
	// that is wholly `{env.NAME}` or `{file./path}` is a secret: it is read
	// when the configuration is loaded, is never searched for tags, and is
	// masked wherever requests are shown. Default: none, so that events of
	// other tenants than those of `tenants` have no such value.
	Value string `json:"value,omitempty"`

	// The values for events of single tenants, by the tenant's code, instead of
	// `value`. They may hold what `value` may hold.
	Tenants map[string]string `json:"tenants,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. Default: empty.
	Place string `json:"place,omitempty"`
}

// Check finds what the parser of the Caddyfile refuses.
func (p *Parameter) Check() error {
	if err := names.CheckIdentifier("parameter", p.Name); err != nil {
		return err
	}
	for _, value := range slices.AppendSeq([]string{p.Value}, maps.Values(p.Tenants)) {
		if err := CheckValue(value); err != nil {
			return fmt.Errorf("reading parameter %s: %w", p.Name, err)
		}
	}
	return nil
}
