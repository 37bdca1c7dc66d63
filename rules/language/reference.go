package language

import (
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/expr-lang/expr/ast"
)

// subject is the variable for the event's subject.
const subject = "subject"

// variables are the names that every event has, beside the system parameters.
var variables = map[string]func(b *Bound) any{
	"event":    func(b *Bound) any { return b.event.Name },
	"source":   func(b *Bound) any { return b.event.Source },
	"id":       func(b *Bound) any { return b.event.ID },
	subject:    func(b *Bound) any { return event.Present(b.event.Subject) },
	"received": func(b *Bound) any { return b.event.Received.In(b.language.timezone) },
	"test":     func(b *Bound) any { return b.event.Test },
	"method":   func(b *Bound) any { return b.event.Method },
	"path":     func(b *Bound) any { return b.event.Path },
	"ip":       func(b *Bound) any { return b.event.IP },
	"query":    func(b *Bound) any { return multimap{values: b.event.Query} },
	"headers":  func(b *Bound) any { return multimap{values: b.event.Headers, headers: true} },
	"body":     func(b *Bound) any { return event.Present(b.event.Body) },
	"raw_body": (*Bound).rawBody,
}

// reference is a name that comes with the event, and the members that follow
// it as far as they are written out: body.project.id, headers["X-Project"]. It
// is found in one step, without the machine.
type reference struct {
	root func(b *Bound) any
	// name is what it begins with.
	name string
	// steps are names (string) and places in lists (int64).
	steps []any
	text  *part
}

// value returns what the event has at the reference, nil if nothing, and notes
// that it was absent.
func (r *reference) value(b *Bound) any {
	v := r.find(b)
	if v == nil {
		b.noteAbsent(r.text.String())
	}
	return v
}

// find is value for those who do not want it noted.
func (r *reference) find(b *Bound) any {
	v := r.root(b)
	for _, step := range r.steps {
		v = memberOf(v, step)
	}
	return v
}

// memberOf returns the member of an object with the given name, or the element
// of a list at the given place, from the end if it is negative. It returns nil
// if there is none, if the value has another shape or if the member counts as
// absent.
func memberOf(v, key any) any {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := key.(string); ok {
			return event.Present(v[name])
		}
	case objectLike:
		return event.Present(v.get(key))
	case []any:
		if i, ok := wholeNumber(key); ok {
			if i < 0 {
				i += int64(len(v))
			}
			if i >= 0 && i < int64(len(v)) {
				return event.Present(v[i])
			}
		}
	}
	return nil
}

// redefined reports whether the configuration gives a variable's name to a field or a
// custom parameter. It can do so with subject alone. That variable came later than the
// others, and an expression in which the name means something else must go on meaning
// that.
func (l *Language) redefined(name string) bool {
	if name != subject {
		return false
	}
	_, field := l.fields[name]
	_, parameter := l.parameters[name]
	return field || parameter
}

// root returns how to find what a name stands for in an event.
func (l *Language) root(name string) (func(b *Bound) any, bool) {
	if p, ok := event.ParameterByName(name); ok {
		return func(b *Bound) any { return b.event.Parameters[p] }, true
	}
	if variable, ok := variables[name]; ok && !l.redefined(name) {
		return variable, true
	}
	if _, ok := l.fields[name]; ok {
		return func(b *Bound) any { return event.Present(b.event.Fields[name]) }, true
	}
	return nil, false
}

// reference returns the reference that a node writes out, or nil if it is
// something else.
func (c *compilation) reference(node ast.Node) *reference {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		if c.declared(n.Value) {
			return nil
		}
		if root, ok := c.language.root(n.Value); ok {
			return &reference{root: root, name: n.Value, text: partOf(n)}
		}
	case *ast.ChainNode:
		return c.reference(n.Node)
	case *ast.MemberNode:
		if n.Method {
			return nil
		}
		step, ok := c.constant(n.Property)
		if !ok {
			return nil
		}
		r := c.reference(n.Node)
		if r == nil {
			return nil
		}
		if p := c.parameter(n.Property); p != nil {
			c.name(p)
		}
		r.steps = append(r.steps, step)
		r.text = partOf(n)
		return r
	}
	return nil
}
