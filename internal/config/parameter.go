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

	// secret has the tenants whose value Resolved found to be secret, and "" if Value
	// is. It is no setting: JSON has neither the record nor the values that it is about.
	secret map[string]bool
}

// Resolved returns a copy of the parameter with what lookup gives in place of each
// value, `value` first, then those of tenants in the order of their codes. lookup says
// which values are secret: IsSecret knows that afterwards. The copy must not be
// written as JSON, because it holds secrets in the clear.
func (p *Parameter) Resolved(lookup func(text string) (value string, secret bool)) Parameter {
	result := *p
	result.secret = make(map[string]bool)
	resolve := func(tenant, text string) string {
		value, secret := lookup(text)
		if secret {
			result.secret[tenant] = true
		}
		return value
	}
	result.Value = resolve("", p.Value)
	if len(p.Tenants) > 0 {
		result.Tenants = make(map[string]string, len(p.Tenants))
	}
	for _, tenant := range slices.Sorted(maps.Keys(p.Tenants)) {
		result.Tenants[tenant] = resolve(tenant, p.Tenants[tenant])
	}
	return result
}

// IsSecret reports whether the value that Tenants has for a tenant is secret, or, for
// "", whether Value is. Such a value came whole from the environment or a file: it is
// never searched for tags, and is masked wherever requests are shown. Nothing is
// secret before the parameter is resolved.
func (p *Parameter) IsSecret(tenant string) bool { return p.secret[tenant] }

// HasDefault reports whether the parameter has a value for events of tenants that
// Tenants does not list, and for events without a tenant. Without tenants an empty
// value is one as well.
func (p *Parameter) HasDefault() bool { return p.Value != "" || len(p.Tenants) == 0 }

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
