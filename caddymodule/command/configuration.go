package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/caddymodule/environment"
	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// configurationFile is a configuration file, read as Caddy's JSON, with what
// commands ask of it. Nothing of it is provisioned or started.
type configurationFile struct {
	name  string
	whole []byte
	parts struct {
		Admin struct {
			Disabled bool `json:"disabled"`
		} `json:"admin"`
		Apps struct {
			Relay json.RawMessage `json:"event_relay"`
			HTTP  json.RawMessage `json:"http"`
		} `json:"apps"`
	}
}

// errNoConfiguration says that no file was named and none lies in the current
// directory.
var errNoConfiguration = errors.New("reading the configuration: there is no Caddyfile here; name a file with --config")

// readConfiguration reads the file of --config, by default the Caddyfile in the
// current directory.
func readConfiguration(flags caddycmd.Flags) (*configurationFile, error) {
	whole, name, _, err := caddycmd.LoadConfig(flags.String("config"), flags.String("adapter"))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if name == "" {
		return nil, errNoConfiguration
	}
	return parseConfiguration(name, whole)
}

// parseConfiguration reads Caddy's JSON, which came from the file of a name.
func parseConfiguration(name string, whole []byte) (*configurationFile, error) {
	c := &configurationFile{name: name, whole: whole}
	if err := json.Unmarshal(whole, &c.parts); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return c, nil
}

// relay returns the relay's part of the configuration, in JSON.
func (c *configurationFile) relay() (json.RawMessage, error) {
	if c.parts.Apps.Relay == nil {
		return nil, fmt.Errorf("reading %s: there is no event_relay block among the global options", c.name)
	}
	return c.parts.Apps.Relay, nil
}

// settings returns the settings of the relay as they are written. Their values
// are not checked.
func (c *configurationFile) settings() (*config.Relay, error) {
	part, err := c.relay()
	if err != nil {
		return nil, err
	}
	settings, err := config.Parse(part)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
	}
	return &settings, nil
}

// source returns a source by its name, with its secrets. No other is looked at: the
// environment of a command may lack the secrets of others.
func (c *configurationFile) source(name string) (config.Source, error) {
	settings, err := c.settings()
	if err != nil {
		return config.Source{}, err
	}
	known := make([]string, len(settings.Sources))
	for i, source := range settings.Sources {
		if source.Name == name {
			return resolve.Source(source, environment.LookUp, logger())
		}
		known[i] = source.Name
	}
	return config.Source{}, fmt.Errorf("setting up a source: %w", names.Unknown("source", name, known, ""))
}

// logger returns the log of the relay.
func logger() *zap.Logger { return caddy.Log().Named(sites.RelayHandler) }

// sites returns the sites of the http app, none if they cannot be read: Caddy
// says then what is wrong with them.
func (c *configurationFile) sites() (read sites.Sites) {
	if json.Unmarshal(c.parts.Apps.HTTP, &read) != nil {
		return sites.Sites{}
	}
	return read
}

// compile compiles the relay of the configuration for a dry run of a relay of that
// version. If anywhere is set, sources take requests from any address.
func (c *configurationFile) compile(version string, anywhere bool) (*relay.Generation, error) {
	configuration, err := c.configuration(logger())
	if err != nil {
		return nil, err
	}
	configuration.Version = version
	if anywhere {
		for i := range configuration.Sources {
			configuration.Sources[i].Allow = nil
		}
	}
	generation, err := relay.Compile(configuration)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
	}
	return generation, nil
}

// configuration checks the values of the relay and converts them for the engine.
func (c *configurationFile) configuration(log *zap.Logger) (relay.Configuration, error) {
	settings, err := c.settings()
	if err != nil {
		return relay.Configuration{}, err
	}
	configuration, err := relay.Resolve(*settings, environment.LookUp, log)
	if err != nil {
		return relay.Configuration{}, fmt.Errorf("reading %s: %w", c.name, err)
	}
	return configuration, nil
}

// validate provisions the configuration as `caddy validate` does. It returns
// what loading it warns of: requests that nothing takes, and secrets that are
// left out.
func (c *configurationFile) validate() (warnings []string, err error) {
	if _, err := c.settings(); err != nil {
		return nil, err
	}
	var parsed *caddy.Config
	if err := json.Unmarshal(c.whole, &parsed); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
	}
	if err := caddy.Validate(parsed); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
	}
	// Validating has logged already what is left out.
	configuration, err := c.configuration(zap.NewNop())
	if err != nil {
		return nil, err
	}
	return slices.Concat(c.sites().EmptyAnswers(), configuration.SkippedSecrets), nil
}

// adminAddress finds the address of the admin API as `caddy reload` does. A
// configuration without an admin API is an error: at the default address
// another Caddy may answer, and would be taken for the one that was meant.
func adminAddress(flags caddycmd.Flags) (string, error) {
	if address := flags.String("address"); address != "" || flags.String("config") == "" {
		return caddycmd.DetermineAdminAPIAddress(address, nil, "", "")
	}
	c, err := readConfiguration(flags)
	if err != nil {
		return "", err
	}
	if c.parts.Admin.Disabled {
		return "", fmt.Errorf("this configuration has `admin off` (%s), so that no command can reach its relay; "+
			"give it an address, such as `admin unix//run/caddy/admin.sock`, or name another relay with --address", c.name)
	}
	return caddycmd.DetermineAdminAPIAddress("", c.whole, c.name, "")
}
