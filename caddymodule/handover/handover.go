// Package handover keeps connections over a reload of Caddy, so that no request
// is refused or cut off because the configuration changed.
//
// Without it a reload loses requests, for three reasons:
//
//  1. Each configuration has a listening socket of its own (SO_REUSEPORT). When
//     the old one closes, the kernel resets the connections that wait in its
//     accept queue or are being opened.
//  2. net/http drops a request that it has read after Shutdown began, and closes
//     the connection without an answer.
//  3. Shutdown closes connections that are idle, also those on which a request is
//     on its way.
//
// With it:
//
//  1. A listening socket belongs to this package and stays open as long as some
//     configuration listens on its address. The running configuration gets the
//     connections until Caddy's event "stopping" says that the new one has
//     started. A configuration that fails to start never gets one.
//  2. On "stopping", which Caddy emits before it stops the old configuration and
//     waits for, new connections go to the new configuration. Connections of the
//     old one on which nothing was read, and idle connections without TLS, move to
//     the new one. Requests, and TLS handshakes, that have begun are waited for.
//  3. Connections that cannot move (their keys or their HTTP/2 state belong to the
//     old server) are told with the next answer that it is the last one:
//     "Connection: close" in HTTP/1.1, GOAWAY in HTTP/2. Those on which nothing
//     comes for a while are closed as idle connections are.
//
// Then Caddy shuts the old server down, with nothing left to lose. The wait is
// bounded. When Caddy exits the same happens without a new configuration: the
// socket is closed first, so that connections wait in the kernel if systemd holds
// it, and what was accepted is answered.
//
// After a start, connections wait in the socket until all apps have started, and
// TLS handshakes until their certificate has been loaded.
//
// HTTP/3 needs none of this: Caddy shares its UDP sockets over reloads itself.
package handover

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// supported says whether connections are kept on this system. Moving one relies
// on ending a read that waits without losing a byte, and on what happens to the
// connections of a socket that closes. Both were tried on Linux only.
const supported = runtime.GOOS == "linux"

// prefix stands before the name of a network whose listening sockets outlive
// configurations. Servers that are kept listen on such networks. They stay out of
// the configuration that a user sees.
const prefix = "event_relay+"

func init() {
	for _, network := range []string{"tcp", "tcp4", "tcp6", "unix", "fd"} {
		caddy.RegisterNetwork(prefix+network, listen)
	}
	for stream, datagram := range map[string]string{"tcp": "udp", "tcp4": "udp4", "tcp6": "udp6"} {
		caddyhttp.RegisterNetworkHTTP3(prefix+stream, datagram)
	}
}

// Keep lets the connections of the HTTP server that is being provisioned outlive
// its configuration. Call it from the Provision of a handler. It changes where the
// server listens, so that it may be called at no other time; outside of a server
// it does nothing. On systems other than Linux it leaves connections to Caddy and
// logs that.
func Keep(ctx caddy.Context) error {
	value, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	c, err := configurationOf(ctx)
	if err != nil {
		return err
	}
	if c.servers[value] != nil {
		return nil
	}
	c.servers[value] = new(server)
	if !supported {
		if len(c.servers) == 1 {
			ctx.Logger().Info("connections are not kept over reloads on " + runtime.GOOS +
				": a reload can cut off requests that arrive in the same moment")
		}
		return nil
	}
	listenOnKept(value)
	value.RegisterConnContext(c.servers[value].connected)
	value.RegisterConnState(stateChanged)
	return nil
}

// listenOnKept makes a server listen on sockets of this package, at the same
// addresses.
func listenOnKept(value *caddyhttp.Server) {
	for i, text := range value.Listen {
		address, err := caddy.ParseNetworkAddress(text)
		if err != nil {
			continue // Caddy reports it.
		}
		protocols := value.Protocols
		if i < len(value.ListenProtocols) && value.ListenProtocols[i] != nil {
			protocols = value.ListenProtocols[i]
		}
		streams := slices.DeleteFunc(slices.Clone(protocols), func(p string) bool { return p == "h3" })
		switch address.Network {
		case "tcp", "tcp4", "tcp6":
		case "unix", "fd":
			// The path of a socket with a colon would be read as host and port.
			if strings.Contains(address.Host, ":") {
				continue
			}
		default:
			continue
		}
		if len(streams) == 0 {
			continue
		}
		if address.Network == "unix" {
			// Caddy leaves HTTP/3 out on Unix sockets, which it knows by the name of
			// the network.
			if value.ListenProtocols == nil {
				value.ListenProtocols = make([][]string, len(value.Listen))
			}
			value.ListenProtocols[i] = streams
		}
		address.Network = prefix + address.Network
		value.Listen[i] = address.String()
	}
}

// configuration is what this package knows about one configuration of Caddy.
type configuration struct {
	ctx          caddy.Context
	servers      map[*caddyhttp.Server]*server
	certificates *certificates

	mutex     sync.Mutex
	listeners []*listener
}

// configurations holds the configurations that have servers to keep, by their
// events app, of which each configuration has one.
var configurations struct {
	sync.Mutex
	byEvents map[*caddyevents.App]*configuration
}

// configurationOf returns the configuration that a context belongs to.
func configurationOf(ctx caddy.Context) (*configuration, error) {
	value, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting Caddy's events: %w", err)
	}
	events := value.(*caddyevents.App)
	configurations.Lock()
	defer configurations.Unlock()
	if c := configurations.byEvents[events]; c != nil {
		return c, nil
	}
	c := &configuration{ctx: ctx, servers: make(map[*caddyhttp.Server]*server), certificates: newCertificates()}
	for _, name := range []string{"started", "stopping"} {
		if err := events.On(name, c); err != nil {
			return nil, fmt.Errorf("subscribing to Caddy's event %s: %w", name, err)
		}
	}
	if configurations.byEvents == nil {
		configurations.byEvents = make(map[*caddyevents.App]*configuration)
	}
	configurations.byEvents[events] = c
	context.AfterFunc(ctx, func() {
		configurations.Lock()
		defer configurations.Unlock()
		delete(configurations.byEvents, events)
		c.certificates.end()
	})
	return c, nil
}

// How long "stopping" waits. Caddy's own systemd unit kills five seconds after
// SIGTERM, of which the relay gives four to attempts that are in flight.
var (
	onReload = patience{quiet: time.Second, most: 2 * time.Second}
	onExit   = patience{quiet: 250 * time.Millisecond, most: 500 * time.Millisecond}
)

// patience says how long connections are waited for.
type patience struct {
	// quiet is how long nothing must have come on a connection for the next
	// request not to be waited for.
	quiet time.Duration
	// most bounds the wait as a whole.
	most time.Duration
}

// Handle implements caddyevents.Handler.
func (c *configuration) Handle(_ context.Context, event caddy.Event) error {
	if event.Name() == "started" {
		c.start()
		return nil
	}
	return c.stop()
}

// start is called when all apps of the configuration have started.
func (c *configuration) start() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, l := range c.listeners {
		l.start()
	}
	time.AfterFunc(holdFor, c.certificates.end)
}

// stop is called when Caddy is about to stop the configuration. If it is a reload,
// the new one has started.
func (c *configuration) stop() error {
	value, err := c.ctx.App("http")
	if err != nil {
		return fmt.Errorf("getting Caddy's HTTP app: %w", err)
	}
	app := value.(*caddyhttp.App)
	c.mutex.Lock()
	listeners := slices.Clone(c.listeners)
	c.mutex.Unlock()
	wait := onReload
	if caddy.Exiting() {
		wait = onExit
	}
	if app.ShutdownDelay > 0 && c.continues(app) {
		// Caddy delays the shutdown of a server whose address is given up. It counts
		// the listeners of networks that it knows, and would delay each reload.
		app.ShutdownDelay = 0
	}
	for _, s := range c.servers {
		s.retired.Store(true)
	}
	var done sync.WaitGroup
	for _, l := range listeners {
		if app.ShutdownDelay > 0 && l.next() == nil {
			continue // It takes connections until the delay is over.
		}
		done.Go(func() { l.retire(wait) })
	}
	done.Wait()
	c.certificates.end()
	return nil
}

// continues reports whether a configuration that has started listens on all
// addresses of this one.
func (c *configuration) continues(app *caddyhttp.App) bool {
	for _, l := range c.listeners {
		if l.next() == nil {
			return false
		}
	}
	for _, server := range app.Servers {
		for _, text := range server.Listen {
			address, err := caddy.ParseNetworkAddress(text)
			if err != nil || strings.HasPrefix(address.Network, prefix) {
				continue
			}
			for _, one := range address.Expand() {
				if caddy.ListenerUsage(one.Network, one.JoinHostPort(0)) < 2 {
					return false
				}
			}
		}
	}
	return true
}

// claimed returns an error if a server that is not kept listens on an address.
// Caddy compares the addresses of its servers by the names of their networks, and
// cannot see that two are the same.
func (c *configuration) claimed(address caddy.NetworkAddress) error {
	value, err := c.ctx.App("http")
	if err != nil {
		return fmt.Errorf("getting Caddy's HTTP app: %w", err)
	}
	for name, server := range value.(*caddyhttp.App).Servers {
		for _, text := range server.Listen {
			other, err := caddy.ParseNetworkAddress(text)
			if err != nil || other.Network != address.Network || other.Host != address.Host {
				continue
			}
			if other.StartPort <= address.EndPort && address.StartPort <= other.EndPort {
				return fmt.Errorf("listener address repeated: %s (already claimed by server '%s')", address, name)
			}
		}
	}
	return nil
}

// listen gives a server a listener on one of the networks of this package.
func listen(ctx context.Context, network, host, ports string, offset uint, config net.ListenConfig) (any, error) {
	base := strings.TrimPrefix(network, prefix)
	address, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress(base, host, ports))
	if err != nil {
		return nil, err
	}
	address = address.At(offset)
	caddyContext, ok := ctx.(caddy.Context)
	if !ok {
		return nil, fmt.Errorf("listening on %s: only Caddy's HTTP servers can listen on network %s", address, network)
	}
	c, err := configurationOf(caddyContext)
	if err != nil {
		return nil, err
	}
	if err := c.claimed(address); err != nil {
		return nil, err
	}
	l, err := join(ctx, address, config)
	if err != nil {
		return nil, err
	}
	c.certificates.waitFor(c.servers)
	l.configuration = c
	c.mutex.Lock()
	c.listeners = append(c.listeners, l)
	c.mutex.Unlock()
	return l, nil
}

// Interface guards
var _ caddyevents.Handler = (*configuration)(nil)
