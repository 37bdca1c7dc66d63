package language

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// maxParameterSize bounds the value of a custom parameter, in bytes, once the
// parameters in it are put in. Parameters that hold each other twice, and so
// on, would otherwise grow without end.
const maxParameterSize = 64 << 10

// makeParameters puts the custom parameters that others hold as {{name}} into
// them. Secret values are taken as they are: what stands in an environment variable
// or a file is no template.
func makeParameters(defined []config.Parameter) (map[string]*parameter, error) {
	m := parameterMaker{
		defined: make(map[string]*config.Parameter, len(defined)),
		made:    make(map[string]*parameter, len(defined)),
		failed:  map[string]bool{},
	}
	for i := range defined {
		m.defined[defined[i].Name] = &defined[i]
	}
	for _, p := range defined {
		m.make(p.Name, nil)
	}
	return m.made, errors.Join(m.errs...)
}

type parameterMaker struct {
	defined map[string]*config.Parameter
	made    map[string]*parameter
	failed  map[string]bool
	errs    []error
}

func (m *parameterMaker) fail(name string, err error) {
	m.failed[name] = true
	m.errs = append(m.errs, fmt.Errorf("defining parameter %s: %w%s", name, err, config.At(m.defined[name].Place)))
}

// make makes one parameter. within names the parameters that are being made and led
// here. It returns false when the parameter cannot be used; why has been reported
// then.
func (m *parameterMaker) make(name string, within []string) (*parameter, bool) {
	if p, ok := m.made[name]; ok {
		return p, true
	}
	if m.failed[name] {
		return nil, false
	}
	if i := slices.Index(within, name); i >= 0 {
		m.fail(name, fmt.Errorf("it holds itself: %s", strings.Join(append(within[i:], name), " → ")))
		return nil, false
	}
	p, err := m.putIn(m.defined[name], append(within, name))
	if err != nil {
		if errors.Is(err, errReported) {
			m.failed[name] = true
		} else {
			m.fail(name, err)
		}
		return nil, false
	}
	m.made[name] = p
	return p, true
}

// errReported means that a parameter cannot be used because one in it cannot.
var errReported = errors.New("reported already, where it went wrong")

// putIn returns a parameter with the parameters in its values put in. It then
// has a value for each tenant that makes a difference.
func (m *parameterMaker) putIn(p *config.Parameter, within []string) (*parameter, error) {
	result := newParameter(p.Name)
	var standard holding
	var err error
	tenants := map[string]bool{}
	if p.HasDefault() {
		if standard, err = m.cut(parameterValue{p.Value, p.IsSecret("")}, within); err != nil {
			return result, err
		}
		value, missing, err := standard.forTenant("")
		if err != nil {
			return result, err
		}
		if missing == "" {
			result.setDefault(value)
		}
		for _, held := range standard.held {
			for tenant := range held.value.tenants {
				tenants[tenant] = true
			}
		}
	}
	for tenant := range p.Tenants {
		tenants[tenant] = true
	}
	for _, tenant := range slices.Sorted(maps.Keys(tenants)) {
		if tenant == "" {
			return result, errors.New("the code of a tenant is empty; events without a tenant have the default")
		}
		holds := standard
		own, listed := p.Tenants[tenant]
		if listed {
			holds, err = m.cut(parameterValue{own, p.IsSecret(tenant)}, within)
		}
		var value parameterValue
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
			result.set(tenant, value)
		case listed:
			return result, fmt.Errorf("for tenant %s: {{%s}} has neither a value for that tenant nor a default", tenant, missing)
		}
	}
	if !result.hasDefault() && len(result.value.tenants) == 0 {
		return result, errors.New("there is no tenant for which all the parameters that it holds have a value")
	}
	return result, nil
}

// holding is a value of a parameter, cut at the parameters that it holds.
type holding struct {
	// texts stand around the parameters: there is one more of them.
	texts  []string
	held   []*parameter
	secret bool
}

// cut cuts a value at the parameters that it holds, and makes those.
func (m *parameterMaker) cut(value parameterValue, within []string) (holding, error) {
	result := holding{secret: value.secret}
	rest := value.text
	for !value.secret {
		before, tagAndRest, opened := strings.Cut(rest, "{{")
		tag, after, closed := strings.Cut(tagAndRest, "}}")
		if !opened || !closed {
			break
		}
		inner, err := m.inner(strings.TrimSpace(tag))
		if err != nil {
			return result, err
		}
		held, ok := m.make(inner, within)
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
func (h *holding) forTenant(tenant string) (result parameterValue, missing string, err error) {
	if len(h.held) == 0 {
		return parameterValue{h.texts[0], h.secret}, "", nil
	}
	var text strings.Builder
	for i, held := range h.held {
		value, ok := held.valueFor(tenant)
		if !ok {
			return result, held.name, nil
		}
		text.WriteString(h.texts[i])
		text.WriteString(value.text)
		if text.Len() > maxParameterSize {
			return result, "", fmt.Errorf("its value is larger than %d KiB", maxParameterSize>>10)
		}
		result.secret = result.secret || value.secret
	}
	text.WriteString(h.texts[len(h.held)])
	result.text = text.String()
	return result, "", nil
}

// secretsOf returns the values that are secret by themselves, each once.
func secretsOf(parameters []config.Parameter) []string {
	var secrets []string
	add := func(value string, secret bool) {
		if secret && value != "" {
			secrets = append(secrets, value)
		}
	}
	for _, p := range parameters {
		add(p.Value, p.IsSecret(""))
		for tenant, value := range p.Tenants {
			add(value, p.IsSecret(tenant))
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

// inner checks that a tag names a custom parameter and returns the name.
func (m *parameterMaker) inner(tag string) (string, error) {
	if _, ok := m.defined[tag]; ok {
		return tag, nil
	}
	if _, ok := event.ParameterByName(tag); ok {
		return "", fmt.Errorf("{{%s}} comes with each event; the value of a parameter may hold other custom parameters only", tag)
	}
	if !names.IsIdentifier(tag) {
		return "", fmt.Errorf("{{%s}} is not the name of a custom parameter; the value of a parameter may hold other custom parameters as {{name}}, and no expressions", tag)
	}
	suggestion := names.DidYouMean(names.Nearest(tag, slices.Sorted(maps.Keys(m.defined))))
	return "", fmt.Errorf("{{%s}} is not defined%s; to define it, add: parameter %s VALUE", tag, suggestion, tag)
}
