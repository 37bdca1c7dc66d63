package caddymodule

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/caddymodule/command"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

func init() {
	caddycmd.RegisterCommand(command.New(func(part json.RawMessage) (command.App, error) {
		app := new(App)
		if err := caddy.StrictUnmarshalJSON(part, app); err != nil {
			return nil, err
		}
		app.logger = caddy.Log().Named(appName)
		return app, nil
	}))
}

// Configuration checks the values of the configuration and converts them.
func (a *App) Configuration(logger *zap.Logger) (relay.Configuration, error) {
	a.logger = logger
	return a.configuration()
}

// QueueDirectory returns the absolute directory of the queue.
func (a *App) QueueDirectory() (string, error) { return a.queueDirectory() }

// Source returns a source by its name. No other is looked at: the environment of
// a command may lack the secrets of others.
func (a *App) Source(name string) (config.Source, error) {
	source, err := a.sourceNamed(name)
	if err != nil {
		return config.Source{}, fmt.Errorf("setting up a source: %w", err)
	}
	return resolve.Source(*source, lookUp, a.logger)
}

func (a *App) sourceNamed(name string) (*config.Source, error) {
	known := make([]string, len(a.Sources))
	for i := range a.Sources {
		if a.Sources[i].Name == name {
			return &a.Sources[i], nil
		}
		known[i] = a.Sources[i].Name
	}
	return nil, names.Unknown("source", name, known, "")
}
