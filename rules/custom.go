package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxParameterSize bounds the value of a custom parameter, in bytes, once the
// parameters in it are put in. Parameters that hold each other twice, and so
// on, would otherwise grow without end.
const maxParameterSize = 64 << 10

// resolveParameters puts the custom parameters that others hold as {{name}}
// into them. Values of secret parameters are taken as they are: what stands in
// an environment variable or a file is nobody's template.
func resolveParameters(defined []CustomParameter) (map[string]CustomParameter, error) {
	r := parameterResolver{
		defined:  make(map[string]CustomParameter, len(defined)),
		resolved: make(map[string]CustomParameter, len(defined)),
		failed:   map[string]bool{},
	}
	for _, p := range defined {
		r.defined[p.Name] = p
	}
	for _, p := range defined {
		r.resolve(p.Name, nil)
	}
	return r.resolved, errors.Join(r.errs...)
}

type parameterResolver struct {
	defined, resolved map[string]CustomParameter
	failed            map[string]bool
	errs              []error
}

func (r *parameterResolver) fail(name string, err error) {
	r.failed[name] = true
	r.errs = append(r.errs, fmt.Errorf("defining parameter %s: %w", name, err))
}

// resolve resolves one parameter. within names the parameters that are being
// resolved and led here. It returns false when the parameter cannot be used;
// why has been reported then.
func (r *parameterResolver) resolve(name string, within []string) (CustomParameter, bool) {
	if p, ok := r.resolved[name]; ok {
		return p, true
	}
	if r.failed[name] {
		return CustomParameter{}, false
	}
	if i := slices.Index(within, name); i >= 0 {
		r.fail(name, fmt.Errorf("it holds itself: %s", strings.Join(append(within[i:], name), " → ")))
		return CustomParameter{}, false
	}
	p := r.defined[name]
	if p.Secret {
		r.resolved[name] = p
		return p, true
	}
	var value strings.Builder
	for rest := p.Value; rest != ""; {
		before, tagAndRest, opened := strings.Cut(rest, "{{")
		tag, after, closed := strings.Cut(tagAndRest, "}}")
		if !opened || !closed {
			value.WriteString(rest)
			break
		}
		value.WriteString(before)
		inner, err := r.inner(strings.TrimSpace(tag))
		if err != nil {
			r.fail(name, err)
			return CustomParameter{}, false
		}
		held, ok := r.resolve(inner, append(within, name))
		if !ok {
			// Reported already, where it went wrong.
			r.failed[name] = true
			return CustomParameter{}, false
		}
		value.WriteString(held.Value)
		p.Secret = p.Secret || held.Secret
		if value.Len() > maxParameterSize {
			r.fail(name, fmt.Errorf("its value is larger than %d KiB", maxParameterSize>>10))
			return CustomParameter{}, false
		}
		rest = after
	}
	p.Value = value.String()
	r.resolved[name] = p
	return p, true
}

// inner checks that a tag names a custom parameter and returns the name.
func (r *parameterResolver) inner(tag string) (string, error) {
	if _, ok := r.defined[tag]; ok {
		return tag, nil
	}
	if _, ok := ParameterByName(tag); ok {
		return "", fmt.Errorf("{{%s}} comes with each event; the value of a parameter may hold other custom parameters only", tag)
	}
	if !isIdentifier(tag) {
		return "", fmt.Errorf("{{%s}} is not the name of a custom parameter; the value of a parameter may hold other custom parameters as {{name}}, and no expressions", tag)
	}
	suggestion := didYouMean(Nearest(tag, slices.Sorted(maps.Keys(r.defined))))
	return "", fmt.Errorf("{{%s}} is not defined%s; to define it, add: parameter %s VALUE", tag, suggestion, tag)
}
