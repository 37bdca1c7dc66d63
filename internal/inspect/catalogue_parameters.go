package inspect

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/secret"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// ParameterListed is a parameter that templates and rules can use.
type ParameterListed struct {
	Name string `json:"name"`
	// Kind is system or custom.
	Kind        string `json:"kind"`
	Description string `json:"description,omitempty"`
	// Value is that of a custom parameter, *** if it is a secret, and Tenants
	// those of single tenants.
	Value   string            `json:"value,omitempty"`
	Secret  bool              `json:"secret,omitempty"`
	Tenants map[string]string `json:"tenants,omitempty"`
	// Undefined says that it is still to be given a value: it is empty, or has a
	// value that an import of a Postman collection put in its place.
	Undefined bool `json:"undefined,omitempty"`
	// UsedBy names the actions and the places of rules that use it, and the
	// sources and parameters.
	UsedBy []string `json:"used_by"`
}

var parameterDescriptions = map[event.Parameter]string{
	event.CalledNumber:       "The number that was called",
	event.CallerID:           "The number of the caller",
	event.CallingName:        "The name of the caller",
	event.CallCost:           "What the call cost, a number",
	event.CallID:             "The id of the call",
	event.CallRatingDuration: "The seconds of the call that are charged, a number",
	event.Date:               "The date of the event, as 2026-03-13",
	event.Direction:          "The direction of the call",
	event.Duration:           "The seconds that the call lasted, a number",
	event.Extension:          "The extension at which the call is",
	event.Tenant:             "The code of the tenant, empty where there is none",
	event.Time:               "The time of the event, as 11:41:57",
	event.UnixTime:           "The time of the event in seconds since 1970, a number",
}

// Parameters returns the system parameters and the configured ones.
func Parameters(runtime *relay.Runtime) []ParameterListed {
	generation := runtime.Generation()
	if generation == nil {
		return []ParameterListed{}
	}
	var parameters []ParameterListed
	uses := usesOf(generation)
	for _, parameter := range event.SystemParameters() {
		parameters = append(parameters, ParameterListed{
			Name: parameter.String(), Kind: "system", Description: parameterDescriptions[parameter],
			UsedBy: uses.of(parameter.String()),
		})
	}
	for _, parameter := range generation.Configuration.Parameters {
		shown := func(value string, isSecret bool) string {
			if isSecret {
				return secret.Masked
			}
			return generation.Mask(value)
		}
		listed := ParameterListed{
			Name: parameter.Name, Kind: "custom", Value: shown(parameter.Value, parameter.IsSecret("")),
			Secret: parameter.IsSecret(""), Undefined: isUndefined(parameter), UsedBy: uses.of(parameter.Name),
		}
		for tenant, value := range parameter.Tenants {
			if listed.Tenants == nil {
				listed.Tenants = make(map[string]string, len(parameter.Tenants))
			}
			listed.Tenants[tenant] = shown(value, parameter.IsSecret(tenant))
			listed.Secret = listed.Secret || parameter.IsSecret(tenant)
		}
		parameters = append(parameters, listed)
	}
	return parameters
}

// isUndefined reports whether a parameter is still to be given a value. Imports of
// collections write such values.
func isUndefined(p config.Parameter) bool {
	if p.IsSecret("") || len(p.Tenants) > 0 {
		return false
	}
	host := p.Value
	if address, err := url.Parse(p.Value); err == nil && address.Host != "" {
		host = address.Hostname()
	}
	return p.Value == "" || p.Value == "undefined" || strings.HasSuffix(host, ".invalid")
}

// uses says, by name, who uses a parameter or field.
type uses map[string][]string

// parameterUser begins the name of a user that is a parameter.
const parameterUser = "parameter "

func (u uses) of(name string) []string {
	if users := u[name]; users != nil {
		return users
	}
	return []string{}
}

// through returns who uses a parameter, and who uses a parameter that holds it,
// each once.
func (u uses) through(name string) (users []string) {
	names := []string{name}
	for i := 0; i < len(names); i++ {
		for _, user := range u.of(names[i]) {
			if holder, isParameter := strings.CutPrefix(user, parameterUser); isParameter {
				if !slices.Contains(names, holder) {
					names = append(names, holder)
				}
			} else if !slices.Contains(users, user) {
				users = append(users, user)
			}
		}
	}
	return users
}

func (u uses) add(user string, names ...string) {
	for _, name := range names {
		if !slices.Contains(u[name], user) {
			u[name] = append(u[name], user)
		}
	}
}

// uses finds out who uses what: actions by name, rules by place.
func usesOf(g *relay.Generation) uses {
	found := uses{}
	note := func(user string, expression *language.Expression) {
		found.add(user, expression.Parameters()...)
		for _, reference := range g.Language.References(expression.String()) {
			found.add(user, reference.Name)
		}
	}
	for _, action := range g.Actions {
		for _, expression := range action.Expressions() {
			note(action.Name(), expression)
		}
	}
	compiled := func(user string, sources ...string) {
		for _, source := range sources {
			if source == "" {
				continue
			}
			// It has been compiled before, so it compiles.
			if expression, err := g.Language.Compile(source); err == nil {
				note(user, expression)
			}
		}
	}
	for _, rule := range g.Ruleset.Rules() {
		compiled(rule.Place, rule.When...)
	}
	for _, source := range g.Configuration.Sources {
		user := "source " + source.Name
		compiled(user, source.NameFrom, source.Batch)
		if source.Dedupe != nil {
			compiled(user, source.Dedupe.Key)
		}
		for _, field := range source.Fields {
			compiled(user, field.Expression)
		}
	}
	for _, parameter := range g.Configuration.Parameters {
		user := parameterUser + parameter.Name
		if !parameter.IsSecret("") {
			found.add(user, heldIn(parameter.Value)...)
		}
		for tenant, value := range parameter.Tenants {
			if !parameter.IsSecret(tenant) {
				found.add(user, heldIn(value)...)
			}
		}
	}
	return found
}

var heldParameter = regexp.MustCompile(`\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)

// heldIn returns the parameters that the value of another holds.
func heldIn(value string) (names []string) {
	for _, match := range heldParameter.FindAllStringSubmatch(value, -1) {
		names = append(names, match[1])
	}
	return names
}
