package caddymodule

import (
	"net/netip"

	"github.com/caddy-event-relay/event-relay/caddymodule/environment"
	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
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
	configuration.Emit = emit
	if configuration.Snapshot, err = resolve.Snapshot(a.Relay); err != nil {
		return nil, err
	}
	return relay.Compile(configuration)
}

// configuration checks the values of the configuration and converts them.
func (a *App) configuration() (relay.Configuration, error) {
	configuration, err := relay.Resolve(a.Relay, environment.LookUp, a.logger)
	configuration.Version = Version()
	return configuration, err
}
