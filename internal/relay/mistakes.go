package relay

import (
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/handlers/forward/template"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// Mistakes returns what is wrong with settings, as Compile does, also of those whose
// values are not all right: a source or an action with a wrong value is known to the
// rest by its name, and its own expressions and templates are not looked at, because
// they would repeat what is wrong. It follows no reference, so it tells of no secret
// that is empty and of no file that cannot be read.
func Mistakes(settings config.Relay) config.Findings {
	// What only one of the stand-ins brings up is due to the stand-in, and so is what
	// shows it.
	var wrong config.Findings
	for i, standIn := range resolve.StandIns {
		found := mistakesWith(settings, standIn)
		if i == 0 {
			wrong = found
			continue
		}
		wrong = slices.DeleteFunc(wrong, func(err error) bool {
			return !found.Has(err) || strings.Contains(err.Error(), secret.Masked)
		})
	}
	return wrong
}

func mistakesWith(settings config.Relay, standIn string) (wrong config.Findings) {
	resolved, err := resolve.DryRun(settings, standIn)
	wrong.Add("", err)
	configuration := configurationOf(&resolved)
	configuration.Relay = configuration.Relay.WithDefaults()
	// What was refused for its name is not defined, which would repeat that.
	configuration.Parameters = namedOnce(configuration.Parameters, "parameter", func(p config.Parameter) string { return p.Name })
	configuration.Sources = slices.Clone(configuration.Sources)
	for i := range configuration.Sources {
		fields := &configuration.Sources[i].Fields
		*fields = namedOnce(*fields, "field", func(f config.Field) string { return f.Name })
	}
	g := &Generation{Configuration: configuration}
	right := func(one config.Relay) bool {
		_, err := resolve.DryRun(one, standIn)
		return err == nil
	}
	sources := slices.DeleteFunc(slices.Clone(resolved.Relay.Sources), func(s config.Source) bool {
		return !right(config.Relay{Sources: []config.Source{s}})
	})
	actions := slices.DeleteFunc(slices.Clone(configuration.Actions), func(a config.Action) bool {
		return !right(config.Relay{Actions: []config.Action{a}})
	})
	var again config.Findings
	again.Add("", g.compile(time.Now, sources, actions))
	wrong.AddNew(again...)
	return wrong
}

// namedOnce returns those of a list that have a name of their own.
func namedOnce[T any](all []T, kind string, name func(T) string) (named []T) {
	for _, one := range all {
		same := func(other T) bool { return name(other) == name(one) }
		if names.CheckIdentifier(kind, name(one)) == nil && !slices.ContainsFunc(named, same) {
			named = append(named, one)
		}
	}
	return named
}

// compile compiles what the configuration says, of these sources and actions only.
// All of them are known by name. Everything that is wrong is reported together.
func (g *Generation) compile(clock func() time.Time, sources []config.Source, actions []config.Action) error {
	var wrong config.Findings
	wrong.Add("", g.define(clock))
	wrong.Add("", g.compileRules())
	var err error
	g.Receiver, err = receive.New(sources, g.Language, receive.Options{Timezone: g.Configuration.Zone, Now: clock})
	wrong.Add("", err)
	g.targets, err = send.NewTargets(g.Configuration.Targets, g.Configuration.Admin...)
	wrong.Add("", err)
	g.Actions, err = forward.Compile(actions, g.Language, template.Settings{
		Secrets:   g.Configuration.credentials(),
		UserAgent: userAgent(g.Configuration.Version),
		Targets:   g.targets,
	})
	wrong.Add("", err)
	return wrong.Err()
}
