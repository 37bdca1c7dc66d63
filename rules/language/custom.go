package language

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
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
	p, err := r.putIn(r.defined[name], append(within, name))
	if err != nil {
		if errors.Is(err, errReported) {
			r.failed[name] = true
		} else {
			r.fail(name, err)
		}
		return CustomParameter{}, false
	}
	r.resolved[name] = p
	return p, true
}

// errReported means that a parameter cannot be used because one in it cannot.
var errReported = errors.New("reported already, where it went wrong")

// putIn returns a parameter with the parameters in its values put in. It then
// has a value for each tenant that makes a difference.
func (r *parameterResolver) putIn(p CustomParameter, within []string) (CustomParameter, error) {
	result := CustomParameter{Name: p.Name, NoDefault: p.NoDefault}
	if p.NoDefault && len(p.Tenants) == 0 {
		return result, errors.New("it has neither a default nor a value for a tenant")
	}
	var standard holding
	var err error
	tenants := map[string]bool{}
	if !p.NoDefault {
		if standard, err = r.cut(TenantValue{Value: p.Value, Secret: p.Secret}, within); err != nil {
			return result, err
		}
		value, missing, err := standard.forTenant("")
		if err != nil {
			return result, err
		}
		if result.NoDefault = missing != ""; missing == "" {
			result.Value, result.Secret = value.Value, value.Secret
		}
		for _, held := range standard.held {
			for tenant := range held.Tenants {
				tenants[tenant] = true
			}
		}
	}
	for tenant := range p.Tenants {
		tenants[tenant] = true
	}
	if len(tenants) > 0 {
		result.Tenants = make(map[string]TenantValue, len(tenants))
	}
	for _, tenant := range slices.Sorted(maps.Keys(tenants)) {
		if tenant == "" {
			return result, errors.New("the code of a tenant is empty; events without a tenant have the default")
		}
		holds := standard
		own, listed := p.Tenants[tenant]
		if listed {
			holds, err = r.cut(own, within)
		}
		var value TenantValue
		var missing string
		if err == nil {
			value, missing, err = holds.forTenant(tenant)
		}
		switch {
		case errors.Is(err, errReported):
			return result, err
		case err != nil:
			return result, fmt.Errorf("for tenant %s: %w", tenant, err)
		case missing == "":
			result.Tenants[tenant] = value
		case listed:
			return result, fmt.Errorf("for tenant %s: {{%s}} has neither a value for that tenant nor a default", tenant, missing)
		}
	}
	if result.NoDefault && len(result.Tenants) == 0 {
		return result, errors.New("there is no tenant for which all the parameters that it holds have a value")
	}
	return result, nil
}

// holding is a value of a parameter, cut at the parameters that it holds.
type holding struct {
	// texts stand around the parameters: there is one more of them.
	texts  []string
	held   []CustomParameter
	secret bool
}

// cut cuts a value at the parameters that it holds, and resolves those.
func (r *parameterResolver) cut(value TenantValue, within []string) (holding, error) {
	result := holding{secret: value.Secret}
	rest := value.Value
	for !value.Secret {
		before, tagAndRest, opened := strings.Cut(rest, "{{")
		tag, after, closed := strings.Cut(tagAndRest, "}}")
		if !opened || !closed {
			break
		}
		inner, err := r.inner(strings.TrimSpace(tag))
		if err != nil {
			return result, err
		}
		held, ok := r.resolve(inner, within)
		if !ok {
			return result, errReported
		}
		result.texts, result.held = append(result.texts, before), append(result.held, held)
		rest = after
	}
	result.texts = append(result.texts, rest)
	return result, nil
}

// forTenant puts the parameters' values for a tenant in. missing names one that
// has none.
func (h *holding) forTenant(tenant string) (result TenantValue, missing string, err error) {
	if len(h.held) == 0 {
		return TenantValue{Value: h.texts[0], Secret: h.secret}, "", nil
	}
	var text strings.Builder
	for i, held := range h.held {
		value, ok := held.valueFor(tenant)
		if !ok {
			return result, held.Name, nil
		}
		text.WriteString(h.texts[i])
		text.WriteString(value.Value)
		if text.Len() > maxParameterSize {
			return result, "", fmt.Errorf("its value is larger than %d KiB", maxParameterSize>>10)
		}
		result.Secret = result.Secret || value.Secret
	}
	text.WriteString(h.texts[len(h.held)])
	result.Value = text.String()
	return result, "", nil
}

// secretsOf returns the values that are secret by themselves, each once.
func secretsOf(parameters []CustomParameter) []string {
	var secrets []string
	add := func(value string, secret bool) {
		if secret && value != "" {
			secrets = append(secrets, value)
		}
	}
	for _, p := range parameters {
		add(p.Value, p.Secret)
		for _, value := range p.Tenants {
			add(value.Value, value.Secret)
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

// inner checks that a tag names a custom parameter and returns the name.
func (r *parameterResolver) inner(tag string) (string, error) {
	if _, ok := r.defined[tag]; ok {
		return tag, nil
	}
	if _, ok := event.ParameterByName(tag); ok {
		return "", fmt.Errorf("{{%s}} comes with each event; the value of a parameter may hold other custom parameters only", tag)
	}
	if !names.IsIdentifier(tag) {
		return "", fmt.Errorf("{{%s}} is not the name of a custom parameter; the value of a parameter may hold other custom parameters as {{name}}, and no expressions", tag)
	}
	suggestion := names.DidYouMean(names.Nearest(tag, slices.Sorted(maps.Keys(r.defined))))
	return "", fmt.Errorf("{{%s}} is not defined%s; to define it, add: parameter %s VALUE", tag, suggestion, tag)
}
