package caddymodule

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// compile turns the configuration into what the rooms understand and has them
// check it. Everything that is wrong is reported together.
func (a *App) compile(admin []netip.AddrPort, sites sites.Sites) (*relay.Generation, error) {
	configuration, err := a.configuration()
	if err != nil {
		return nil, err
	}
	configuration.Admin, configuration.Addresses = admin, a.siteAddresses(sites)
	configuration.EmptyAnswers = sites.EmptyAnswers()
	for _, warning := range configuration.EmptyAnswers {
		a.logger.Warn(warning)
	}
	if configuration.ZoneDoubt != "" {
		a.logger.Warn(configuration.ZoneDoubt)
	}
	configuration.Compile = compileForDryRuns
	configuration.Emit = emit
	if configuration.Snapshot, err = a.snapshot(); err != nil {
		return nil, err
	}
	return relay.Compile(configuration)
}

// configuration checks the values of the configuration and converts them.
func (a *App) configuration() (relay.Configuration, error) {
	configuration := relay.Configuration{
		Relay:     a.Relay,
		UserAgent: userAgent(),
		Version:   Version(),
		Logger:    a.logger,
	}
	wrong := a.Check()
	// What is wrong with the zone is among what Check finds.
	configuration.Zone, configuration.ZoneDoubt, _ = a.Location()
	for i := range a.Parameters {
		configuration.Parameters = append(configuration.Parameters, a.customParameter(&a.Parameters[i], &wrong))
	}
	configuration.Sources = nil
	for i := range a.Sources {
		configuration.Sources = append(configuration.Sources, a.source(a.Sources[i], &wrong))
	}
	configuration.Actions = nil
	for i := range a.Actions {
		configuration.Actions = append(configuration.Actions, a.action(a.Actions[i], &wrong))
	}
	configuration.SkippedSecrets = a.skipped
	configuration.ChangedSecrets = a.changedFiles
	if len(wrong) > 0 {
		// Sources and actions would repeat what is wrong with their values.
		wrong.Add("", relay.CheckRules(configuration))
	}
	return configuration, wrong.Err()
}

// customParameter resolves the values of a parameter. A secret that is empty is
// an error: requests that need it would be sent without.
func (a *App) customParameter(parameter *config.Parameter, wrong *config.Findings) language.CustomParameter {
	resolved := func(text string) (value string, secret bool) {
		value, secret = a.resolve(text)
		if a.dry != nil {
			var unknown bool
			value, unknown = a.dry.value(parameter.Name, value)
			secret = secret || unknown
		}
		if secret && value == "" {
			wrong.Add(parameter.Place, fmt.Errorf("reading parameter %s: %s is empty; set the environment variable or the file that it names",
				parameter.Name, text))
		}
		return value, secret
	}
	converted := language.CustomParameter{Name: parameter.Name}
	converted.Value, converted.Secret = resolved(parameter.Value)
	if len(parameter.Tenants) == 0 {
		return converted
	}
	converted.NoDefault = parameter.Value == ""
	converted.Tenants = make(map[string]language.TenantValue, len(parameter.Tenants))
	// In order, so that what is wrong is reported in the same order each time.
	for _, code := range slices.Sorted(maps.Keys(parameter.Tenants)) {
		value, secret := resolved(parameter.Tenants[code])
		converted.Tenants[code] = language.TenantValue{Value: value, Secret: secret}
	}
	return converted
}

// source returns a copy of a source with its secrets resolved.
func (a *App) source(source config.Source, wrong *config.Findings) config.Source {
	if err := auth.CheckOpen(source.Auth); err != nil {
		wrong.Add(source.Place, fmt.Errorf("reading auth of source %s: %w", source.Name, err))
	}
	credentials := make([]config.Credential, len(source.Auth))
	for i, credential := range source.Auth {
		resolved, err := a.credential(source.Name, credential)
		wrong.Add(source.Place, err)
		credentials[i] = resolved
	}
	source.Auth = credentials
	return source
}

// credential resolves the secrets of a credential.
func (a *App) credential(source string, credential config.Credential) (config.Credential, error) {
	if err := auth.Check(credential); err != nil {
		return credential, fmt.Errorf("reading auth of source %s: %w", source, err)
	}
	if auth.IsOpen(credential) {
		return credential, nil
	}
	credential.User, _ = a.resolve(credential.User)
	secrets, err := a.secrets("source "+source, "auth "+credential.Kind, credential.Secrets())
	if a.dry != nil {
		for i := range secrets {
			secrets[i] = auth.StandIn(credential.Kind, secrets[i])
		}
	}
	if credential.Password == "" {
		credential.Values = secrets
	} else if credential.Password = ""; len(secrets) > 0 {
		credential.Password = secrets[0]
	}
	return credential, err
}
