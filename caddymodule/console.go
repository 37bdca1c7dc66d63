package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/caddymodule/unmounted"
	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/console"
)

// consoleName is the name of the console's directive and handler.
const consoleName = sites.ConsoleHandler

func init() {
	caddy.RegisterModule(new(Console))
}

// Console is the web page of the relay for its administrator: what came and what
// became of it, what is configured, and switches. It asks for no password, so
// it opens for this machine only, unless more is allowed: the other end of the
// connection must have a loopback address, and the page must have been asked for
// under `localhost` or a loopback address. If a trusted proxy is in between
// (`trusted_proxies`), both the proxy and whomever it names must be
// allowed; a request through any other proxy is refused. Every person who can
// open it can read all events and switch, send and resend: put `basic_auth` or
// the like before it when you allow more than yourself.
type Console struct {
	config.Console

	consoleState
}

// consoleState is what a Console has besides its configuration.
type consoleState struct {
	handler http.Handler
	ending  chan struct{}
	end     func()
}

// CaddyModule returns the Caddy module information.
func (*Console) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + consoleName,
		New: func() caddy.Module { return new(Console) },
	}
}

// Provision checks that there is a relay, and who may open the page.
func (c *Console) Provision(ctx caddy.Context) error {
	if _, err := ctx.AppIfConfigured(appName); errors.Is(err, caddy.ErrNotConfigured) {
		return fmt.Errorf("finding the relay: there is no event_relay block among the global options, which the console could show: %w", err)
	} else if err != nil {
		return err
	}
	var allowed []netip.Prefix
	for _, text := range c.Allow {
		prefixes, err := config.Networks(text)
		if err != nil {
			return fmt.Errorf("providing %s: reading allow: %w", consoleName, err)
		}
		allowed = append(allowed, prefixes...)
	}
	for _, host := range c.Hosts {
		if err := console.CheckHost(host); err != nil {
			return fmt.Errorf("providing %s: reading hosts: %w", consoleName, err)
		}
	}

	c.ending = make(chan struct{})
	c.end = sync.OnceFunc(func() { close(c.ending) })
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		// The server waits for its requests before the relay is told to stop, and
		// live views do not end by themselves. What takes long goes on over a reload,
		// which does not wait for it, but not while Caddy exits.
		server.RegisterOnShutdown(func() {
			c.end()
			if caddy.Exiting() {
				exiting()
			}
		})
	}
	c.handler = console.New(console.Options{Find: c.find, Mount: c.Path, Allow: allowed, Hosts: c.Hosts, Client: clientOf})
	return nil
}

func (c *Console) find() (api.Running, error) {
	running, err := findRelay()
	running.Ending = c.ending
	return running, err
}

// Cleanup ends what is left of live views.
func (c *Console) Cleanup() error {
	if c.end != nil {
		c.end()
	}
	return nil
}

// ServeHTTP answers whatever is below the console's path.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	unmounted.Taken(w)
	if directory := takenAway(r); directory != "" {
		// The page names its parts relative to itself. So does this, which
		// http.Redirect would make absolute, from the path that is left.
		w.Header().Set("Location", directory+"/")
		w.WriteHeader(http.StatusFound)
		return nil
	}
	c.handler.ServeHTTP(w, r)
	return nil
}

// takenAway returns the last part of the path that a browser asked for without a
// slash at its end, if another handler, such as that of handle_path, has taken
// all of the path away, and "" otherwise.
func takenAway(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || r.URL.Path != "/" || r.Method != http.MethodGet || strings.HasSuffix(original.URL.Path, "/") || original.URL.Path == "" {
		return ""
	}
	// Relative, so that it names no host, however the path begins.
	return (&url.URL{Path: "./" + path.Base(original.URL.Path)}).EscapedPath()
}

// clientOf returns whom a request comes from according to Caddy, and whether
// that is the word of a proxy that it trusts.
func clientOf(r *http.Request) (netip.Addr, bool) {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	address, _ := netip.ParseAddr(text)
	return address, trusted
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Console)(nil)
	_ caddy.CleanerUpper          = (*Console)(nil)
	_ caddyhttp.MiddlewareHandler = (*Console)(nil)
)
