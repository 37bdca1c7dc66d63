// Package relay is the assembled engine: it joins the rooms of receiving,
// rules, queue and forwarding into one way that an event goes. It holds what
// the admin API, the commands and the console have in common, and knows
// nothing of Caddy.
package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
	"github.com/caddy-event-relay/event-relay/internal/secret"
	"github.com/caddy-event-relay/event-relay/rules"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Configuration is everything that one loaded configuration says, with its
// secrets resolved.
type Configuration struct {
	// Relay is what is configured, its parameters resolved. Compile fills in the
	// defaults.
	config.Relay

	// Admin are addresses of Caddy's admin API, which no action may call.
	Admin []netip.AddrPort

	// Zone is that of the relay, which Timezone names or the machine has: the zone of
	// received, of now() and format_time without a zone, and of sources without one.
	// Nil stands for UTC. ZoneDoubt says, if it is the machine's and the machine does
	// not say which, that this is so: a sentence for people, with a remedy.
	Zone      *time.Location
	ZoneDoubt string

	// At is for dry runs: requests are received at this time, and now() is this time.
	// Zero means that time goes on.
	At time.Time

	// Version is the relay's, for people and for the User-Agent of requests to targets.
	// It may be empty.
	Version string

	Logger *zap.Logger

	// Addresses are the URLs at which the events of sources come in, by the
	// source's name, as far as they are known. They are for people.
	Addresses map[string]string

	// EmptyAnswers says which requests the server answers with an empty 200 and
	// nothing takes. SkippedSecrets says which secrets are empty and were left out,
	// and ChangedSecrets, at any time, which are not what they were when they were
	// read; nil means none. Each is a sentence for people, with a remedy.
	EmptyAnswers   []string
	SkippedSecrets []string
	ChangedSecrets func() []string

	// Snapshot is what the configuration says, as JSON without secrets, which
	// Generation.DryRun compiles again. Nil means that no snapshot is kept.
	Snapshot json.RawMessage

	// Emit publishes what happened to the relay to subscribers in the server:
	// event_relay_failed and event_relay_target_down, with data for people. It
	// is called off the way of events, one call at a time. Nil means that nothing
	// is published.
	Emit func(name string, data map[string]any)
}

// Generation is one loaded configuration, compiled. It does nothing by itself
// and needs no closing, so that a configuration can be checked beside a
// running one. It is safe for concurrent use; its fields are to be read only.
type Generation struct {
	Configuration Configuration
	Language      *language.Language
	Receiver      *receive.Receiver
	Ruleset       *rules.Ruleset
	// Actions are in the order of the configuration.
	Actions []*forward.Prepared
	// Declared are the sources as the rules know them, the relay's own last.
	Declared []rules.Source

	byName  map[string]*forward.Prepared
	targets *send.Targets
	logger  *zap.Logger
	mask    func(text string) string
	life    life
}

// ErrNotInService answers calls that need a loaded configuration.
var ErrNotInService = errors.New("no configuration is in service")

// Action returns a configured action, or nil if there is none of that name.
func (g *Generation) Action(name string) *forward.Prepared { return g.byName[name] }

// ActionNames are the names of the actions, in the order of the configuration.
func (g *Generation) ActionNames() []string { return actionNames(g.Configuration.Actions) }

// Mask returns a text with *** in place of the secrets of the configuration.
func (g *Generation) Mask(text string) string { return g.mask(text) }

// Compile checks a configuration and compiles it. All that is wrong is reported
// together, each mistake with its place and a remedy.
func Compile(configuration Configuration) (*Generation, error) {
	configuration.Relay = configuration.Relay.WithDefaults()
	g := &Generation{Configuration: configuration, logger: configuration.Logger, life: newLife()}
	if g.logger == nil {
		g.logger = zap.NewNop()
	}
	clock := time.Now
	if at := g.Configuration.At; !at.IsZero() {
		clock = func() time.Time { return at }
	}
	if err := g.compile(clock, configuration.Sources, configuration.Actions); err != nil {
		return nil, err
	}
	secrets := slices.Concat(configuration.credentials(), g.Language.Secrets())
	g.byName = make(map[string]*forward.Prepared, len(g.Actions))
	for _, action := range g.Actions {
		secrets = append(secrets, action.Secrets()...)
		g.byName[action.Name()] = action
	}
	g.mask = secret.New(secrets).Mask
	return g, nil
}

// Resolve checks the settings of a relay and follows their references, as
// resolve.Relay does. What the settings do not say, such as the version, is left empty.
// If a value is wrong, its error also tells what else is wrong with the settings.
func Resolve(settings config.Relay, lookup resolve.Lookup, logger *zap.Logger) (Configuration, error) {
	resolved, err := resolve.Relay(settings, lookup, logger)
	configuration := configurationOf(&resolved)
	configuration.Logger = logger
	configuration.SkippedSecrets, configuration.ChangedSecrets = resolved.Skipped, resolved.Changed
	if err == nil {
		return configuration, nil
	}
	var wrong config.Findings
	wrong.Add("", err)
	wrong.AddNew(Mistakes(settings)...)
	return configuration, wrong.Err()
}

// configurationOf returns what is resolved, with the time zone.
func configurationOf(resolved *resolve.Resolved) Configuration {
	configuration := Configuration{Relay: resolved.Relay}
	// What is wrong with the zone is among what resolving finds.
	configuration.Zone, configuration.ZoneDoubt, _ = resolved.Relay.Location()
	return configuration
}

// define sets up what expressions may name. With an error, what uses the names can still
// be checked.
func (g *Generation) define(clock func() time.Time) (err error) {
	if g.Configuration.Zone == nil {
		g.Configuration.Zone = time.UTC
	}
	zone := g.Configuration.Zone
	definitions := language.Definitions{Parameters: g.Configuration.Parameters, Timezone: zone, Now: clock}
	for _, source := range g.Configuration.Sources {
		definitions.Sources = append(definitions.Sources, languageSource(source, zone))
		g.Declared = append(g.Declared, rules.Source{Name: source.Name, Events: receive.Known(source)})
	}
	definitions.Sources = append(definitions.Sources, language.Source{Name: names.RelaySource})
	g.Declared = append(g.Declared, ownSource())
	g.Language, err = language.New(definitions)
	return err
}

func (g *Generation) compileRules() (err error) {
	g.Ruleset, err = rules.New(g.Language, g.Declared, g.Configuration.Rules, actionNames(g.Configuration.Actions))
	return err
}

// languageSource is what expressions know of a source. Fields that stand for a system
// parameter are that parameter.
func languageSource(source config.Source, relay *time.Location) language.Source {
	known := language.Source{Name: source.Name}
	// What is wrong with a time zone is reported with the rest of its source.
	known.Timezone, _ = source.Location(relay)
	for _, field := range source.Fields {
		if _, overrides := event.ParameterByName(field.Name); !overrides {
			known.Fields = append(known.Fields, field.Name)
		}
	}
	return known
}

// ZoneOf returns the time zone of the times of a source: its own or the relay's.
func (g *Generation) ZoneOf(source string) *time.Location {
	for i := range g.Configuration.Sources {
		if s := &g.Configuration.Sources[i]; s.Name == source {
			if zone, err := s.Location(g.Configuration.Zone); err == nil {
				return zone
			}
		}
	}
	return g.Configuration.Zone
}

// SecretWarnings says which secrets were left out because they are empty, and
// which files of secrets have changed since they were read.
func (g *Generation) SecretWarnings() []string {
	warnings := slices.Clone(g.Configuration.SkippedSecrets)
	if g.Configuration.ChangedSecrets != nil {
		warnings = append(warnings, g.Configuration.ChangedSecrets()...)
	}
	return warnings
}

// userAgent returns what requests to targets call themselves:
// event-relay/VERSION, or event-relay alone when the version is not known.
func userAgent(version string) string {
	if version == "" {
		return "event-relay"
	}
	return "event-relay/" + version
}

func actionNames(actions []config.Action) []string {
	names := make([]string, len(actions))
	for i, action := range actions {
		names[i] = action.Name
	}
	return names
}

// credentials returns the secrets of the sources: a target may echo them.
func (c *Configuration) credentials() []string {
	var secrets []string
	for _, source := range c.Sources {
		for _, credential := range source.Auth {
			secrets = append(secrets, credential.Secrets()...)
		}
	}
	return secrets
}

// HandlerSources returns the sources of a handler that lets the named ones in,
// or all if none is named, and checks that they may share it.
func (g *Generation) HandlerSources(names []string) ([]string, error) {
	known := g.sourceNames()
	var chosen []config.Source
	for _, name := range names {
		i := slices.Index(known, name)
		if i < 0 {
			return nil, unknownSource(name, known)
		}
		chosen = append(chosen, g.Configuration.Sources[i])
	}
	if len(names) == 0 {
		chosen, names = g.Configuration.Sources, known
	}
	if len(chosen) == 0 {
		return nil, errors.New("there is no source, so no event could be accepted; add one to the event_relay global option")
	}
	return names, receive.CheckSharing(chosen)
}

// CheckSource checks that a source has this name.
func (g *Generation) CheckSource(name string) error {
	if known := g.sourceNames(); !slices.Contains(known, name) {
		return unknownSource(name, known)
	}
	return nil
}

func (g *Generation) sourceNames() []string {
	known := make([]string, len(g.Configuration.Sources))
	for i, source := range g.Configuration.Sources {
		known[i] = source.Name
	}
	return known
}

func unknownSource(name string, known []string) error {
	if name == "" {
		return fmt.Errorf("no source is given; there are: %s", strings.Join(known, ", "))
	}
	return names.Unknown("source", name, known, "")
}
