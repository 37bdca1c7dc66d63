// Package caddymodule is the adapter between Caddy and Event Relay: the app
// with its life, the HTTP handlers and the admin API. It registers the commands
// and the Caddyfile's grammar, which are rooms below it. What the relay does is
// in the other rooms.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-event-relay/event-relay/caddymodule/command"
	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// appName is the name of the app in the JSON configuration, of the global
// option and of the directive in the Caddyfile.
const appName = sites.RelayHandler

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(Handler))
	caddycmd.RegisterCommand(command.New(Version()))
}

// App is Event Relay: it takes the events that business systems post to one
// public URL, decides by rules what each leads to, and carries out actions,
// which are templated HTTP requests to services on the local network. An event
// that was answered with 200 is on stable storage.
//
// The app listens nowhere by itself. Place the `http.handlers.event_relay`
// handler in a route of the `http` app to say where events come in.
//
// The Caddyfile's global option `event_relay` writes this structure; both read
// alike.
type App struct {
	config.Relay

	appState
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  appName,
		New: func() caddy.Module { return new(App) },
	}
}

// Handler takes events: it recognises the source of a request, understands
// which event it is, has the rules decide, and answers when event and
// deliveries are on stable storage.
type Handler struct {
	config.Mount

	handlerState
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + appName,
		New: func() caddy.Module { return new(Handler) },
	}
}
