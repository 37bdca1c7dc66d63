package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
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

// App is the relay's part of a configuration.
type App interface {
	// Configuration checks the values and converts them for the engine.
	Configuration(*zap.Logger) (relay.Configuration, error)
	// QueueDirectory returns the absolute directory of the queue.
	QueueDirectory() (string, error)
	// Source returns a source by its name, without looking at others.
	Source(name string) (config.Source, error)
}

// readApp decodes the relay's part of a configuration from JSON.
var readApp func(json.RawMessage) (App, error)

// app returns the relay's part of the configuration. Its values are not checked.
func (c *configurationFile) app() (App, error) {
	part, err := c.relay()
	if err != nil {
		return nil, err
	}
	app, err := readApp(part)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
	}
	return app, nil
}

// settings returns the settings of the relay as they are written. Their values
// are not checked.
func (c *configurationFile) settings() (*config.Relay, error) {
	part, err := c.relay()
	if err != nil {
		return nil, err
	}
	settings := new(config.Relay)
	if err := caddy.StrictUnmarshalJSON(part, settings); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
	}
	return settings, nil
}

// sites returns the sites of the http app, none if they cannot be read: Caddy
// says then what is wrong with them.
func (c *configurationFile) sites() (read sites.Sites) {
	if json.Unmarshal(c.parts.Apps.HTTP, &read) != nil {
		return sites.Sites{}
	}
	return read
}

// compile compiles the relay of the configuration for a dry run. If anywhere is
// set, sources take requests from any address.
func (c *configurationFile) compile(anywhere bool) (*relay.Generation, error) {
	app, err := c.app()
	if err != nil {
		return nil, err
	}
	configuration, err := app.Configuration(caddy.Log().Named(sites.RelayHandler))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
	}
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

// validate provisions the configuration as `caddy validate` does. It returns
// what loading it warns of: requests that nothing takes, and secrets that are
// left out.
func (c *configurationFile) validate() (warnings []string, err error) {
	app, err := c.app()
	if err != nil {
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
	configuration, err := app.Configuration(zap.NewNop())
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.name, err)
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
