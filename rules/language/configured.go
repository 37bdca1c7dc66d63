package language

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/expr-lang/expr/ast"
)

// parameter is a custom parameter as expressions see it: with the parameters in it
// put in, it has a value for each tenant that it or one of those lists.
type parameter struct {
	name string
	// value holds the texts. Without a default it is optional.
	value *configured
	// secret has the tenants whose value is secret or had a secret put in, and "" if
	// the default is such a value.
	secret map[string]bool
}

func newParameter(name string) *parameter {
	p := &parameter{name: name, value: &configured{}, secret: map[string]bool{}}
	p.value.optional = []*parameter{p}
	return p
}

// setDefault gives the parameter a value for tenants that are not listed.
func (p *parameter) setDefault(value parameterValue) {
	p.value.other, p.value.optional = value.text, nil
	p.noteSecret("", value)
}

// set gives the parameter a value for a tenant.
func (p *parameter) set(tenant string, value parameterValue) {
	if p.value.tenants == nil {
		p.value.tenants = map[string]any{}
	}
	p.value.tenants[tenant] = value.text
	p.noteSecret(tenant, value)
}

func (p *parameter) noteSecret(tenant string, value parameterValue) {
	if value.secret {
		p.secret[tenant] = true
	}
}

// hasDefault reports whether there is a value for tenants that are not listed.
func (p *parameter) hasDefault() bool { return len(p.value.optional) == 0 }

// isSecret reports whether one of the values is secret.
func (p *parameter) isSecret() bool { return len(p.secret) > 0 }

// valueFor returns the value for the events of a tenant, and whether there is one.
func (p *parameter) valueFor(tenant string) (parameterValue, bool) {
	value, listed := p.value.tenants[tenant]
	if !listed {
		if !p.hasDefault() {
			return parameterValue{}, false
		}
		tenant, value = "", p.value.other
	}
	return parameterValue{value.(string), p.secret[tenant]}, true
}

// parameterValue is a value of a custom parameter, and whether it is secret.
type parameterValue struct {
	text   string
	secret bool
}

// configured is a value that the configuration alone gives: one for all events,
// or several, among which the tenant of an event chooses.
type configured struct {
	tenants map[string]any
	// other is the value for all tenants that are not listed.
	other any
	// optional are the parameters in it that have no default.
	optional []*parameter
}

// of returns the value for a tenant.
func (v *configured) of(tenant string) any {
	if value, listed := v.tenants[tenant]; listed {
		return value
	}
	return v.other
}

// value returns the value for an event, and notes the parameters that its
// tenant lacks.
func (v *configured) value(b *Bound) any {
	if len(v.tenants) == 0 {
		return v.other
	}
	tenant := b.event.Tenant()
	for _, p := range v.optional {
		if _, ok := p.valueFor(tenant); !ok {
			b.noteAbsent(p.name)
		}
	}
	return v.of(tenant)
}

// tenantsOf returns the tenants that have a value of their own in one of parts,
// sorted.
func tenantsOf(parts []*configured) []string {
	var tenants map[string]bool
	for _, part := range parts {
		if tenants == nil && len(part.tenants) > 0 {
			tenants = make(map[string]bool, len(part.tenants))
		}
		for tenant := range part.tenants {
			tenants[tenant] = true
		}
	}
	return slices.Sorted(maps.Keys(tenants))
}

// combine makes a value from parts. of gives it for a tenant, "" standing for
// all that are not listed in the parts.
func combine(parts []*configured, of func(tenant string) (any, error)) (_ *configured, err error) {
	tenants := tenantsOf(parts)
	result := &configured{}
	if result.other, err = of(""); err != nil {
		if len(tenants) > 0 {
			err = fmt.Errorf("for tenants without a value of their own: %w", err)
		}
		return nil, err
	}
	if len(tenants) == 0 {
		return result, nil
	}
	result.tenants = make(map[string]any, len(tenants))
	for _, tenant := range tenants {
		if result.tenants[tenant], err = of(tenant); err != nil {
			return nil, fmt.Errorf("for tenant %s: %w", tenant, err)
		}
	}
	for _, part := range parts {
		for _, p := range part.optional {
			if !slices.Contains(result.optional, p) {
				result.optional = append(result.optional, p)
			}
		}
	}
	return result, nil
}

// plain returns the value with what Evaluate returns in place of the language's
// own types.
func (v *configured) plain() (*configured, error) {
	isText := func(value any) bool { _, ok := value.(string); return ok || value == nil }
	shared := isText(v.other)
	for _, value := range v.tenants {
		shared = shared && isText(value)
	}
	if shared {
		return v, nil
	}
	return combine([]*configured{v}, func(tenant string) (any, error) { return plain(v.of(tenant)) })
}

// configuredOf returns the value of a node that has been rewritten, or nil if
// that is not known before an event comes.
func (c *compilation) configuredOf(node ast.Node) *configured {
	if value, ok := literal(node); ok {
		return &configured{other: value}
	}
	return c.byTenant[node]
}

// configuredNode returns a node that has the value.
func (c *compilation) configuredNode(v *configured) ast.Node {
	if len(v.tenants) == 0 {
		return constantNode(v.other)
	}
	node := c.callLater(func(args ...any) (any, error) { return v.value(args[0].(*Bound)), nil }, eventNode())
	c.byTenant[node] = v
	return node
}

// parameter returns the custom parameter that a node names, or nil.
func (c *compilation) parameter(node ast.Node) *parameter {
	if n, ok := node.(*ast.IdentifierNode); ok && !c.declared(n.Value) {
		return c.language.parameters[n.Value]
	}
	return nil
}

// settle gives a trusted expression its value: nothing in it depends on the
// event but for its tenant, so what it gives now, it gives always, and if it
// fails now, it fails always.
func (x *Expression) settle(l *Language) (err error) {
	parts := make([]*configured, len(x.named))
	for i, p := range x.named {
		parts[i] = p.value
	}
	bound := l.Bind(new(event.Event))
	x.configured, err = combine(parts, func(tenant string) (any, error) {
		bound.event.Parameters[event.Tenant] = tenant
		value, err := bound.run(x)
		return value, errors.Unwrap(err)
	})
	x.program = nil
	return err
}
