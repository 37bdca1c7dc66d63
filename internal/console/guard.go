package console

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// guard decides who may use the page and its API. A browser on the
// administrator's machine is as near as any program there, and does what pages
// from anywhere tell it; so it is not enough that a request comes from near.
type guard struct {
	allow  []netip.Prefix
	hosts  []string
	client func(*http.Request) (netip.Addr, bool)
}

// Headers by which a proxy says that it is one, and for whom it asks.
var forwardedHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// check returns why a request is refused, or nil.
func (g *guard) check(r *http.Request, isCall bool) error {
	err := g.checkAddress(r)
	if err == nil {
		err = g.checkHost(r.Host)
	}
	if err == nil && (isCall || !isRead(r.Method)) {
		err = checkOrigin(r)
	}
	if err != nil {
		return &api.Error{Status: http.StatusForbidden, Err: fmt.Errorf("opening the console: %w", err)}
	}
	return nil
}

// checkAddress wants the other end of the connection to be near, and also the client
// that it names when it is a proxy.
func (g *guard) checkAddress(r *http.Request) error {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return fmt.Errorf("the connection has no IP address (%q), so the client cannot be identified; let the site listen on an address", r.RemoteAddr)
	}
	if err := g.checkNear(peer.Addr()); err != nil {
		return err
	}
	client, trusted := g.client(r)
	if !trusted {
		// A proxy on this machine makes everybody look near.
		for _, name := range forwardedHeaders {
			if r.Header.Get(name) != "" {
				return fmt.Errorf("the request came through a proxy (it has %s) that Caddy does not trust, so the client cannot be identified; "+
					"add the proxy to trusted_proxies in the global option servers, or open the console without it", name)
			}
		}
		// What nginx adds by default: no header, and its name for
		// this machine as the host.
		if !r.ProtoAtLeast(1, 1) {
			return errors.New("the request is one of HTTP/1.0, which no browser speaks, but proxies that do not say for whom they ask; open the console without one")
		}
		return nil
	}
	if !client.IsValid() {
		return errors.New("the proxy before Caddy does not say who asks")
	}
	if err := g.checkNear(client); err != nil {
		return err
	}
	// Proxies add to what the client wrote there, and a server may take the
	// client's word for the first of them.
	for _, header := range r.Header.Values("X-Forwarded-For") {
		for text := range strings.SplitSeq(header, ",") {
			address, err := netip.ParseAddr(strings.TrimSpace(text))
			if err != nil {
				return fmt.Errorf("X-Forwarded-For has %q, which is no address", text)
			}
			if err := g.checkNear(address); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *guard) checkNear(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	if address.IsLoopback() || slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(address) }) {
		return nil
	}
	open := "this machine only"
	if len(g.allow) > 0 {
		open = "this machine and what allow says"
	}
	return fmt.Errorf("it is open to %s, and you are %s; to open it to you, add to event_relay_console: allow %s", open, address, address)
}

// checkHost wants the name under which the browser knows the console to be one
// that was meant: any site can give its own name this machine's address.
func (g *guard) checkHost(host string) error {
	name := hostName(host)
	if name == "localhost" || slices.ContainsFunc(g.hosts, func(known string) bool { return hostName(known) == name && name != "" }) {
		return nil
	}
	if address, err := netip.ParseAddr(name); err == nil && address.Unmap().IsLoopback() {
		return nil
	}
	if name == "" {
		return errors.New("the request names no host")
	}
	return fmt.Errorf("it is not known as %q, but as localhost; to give it this name, add to event_relay_console: hosts %s", name, name)
}

// CheckHost returns an error if a name cannot be one under which browsers know a
// host.
func CheckHost(name string) error {
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	if err == nil {
		return nil
	}
	plain := strings.IndexFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._", r)
	}) < 0
	if name == "" || !plain {
		return fmt.Errorf("%q is no host name: write it as it stands in the address bar, without scheme, port or wildcard; "+
			"one with other letters as xn--…", name)
	}
	return nil
}

// hostName returns the name in a Host header: without a port, a dot at the end,
// brackets, and capital letters.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().WithZone("").String()
	}
	return host
}

// checkOrigin wants the request to come from the console's own page. A browser
// says so, and pages cannot make it say otherwise.
func checkOrigin(r *http.Request) error {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	same := strings.EqualFold(origin, originOf(r))
	switch {
	case site == "same-origin":
		return nil
	case isRead(r.Method) && (site == "" || site == "none") && (origin == "" || same):
		// Typed into the address bar, or no browser.
		return nil
	case site == "" && same:
		return nil
	case isRead(r.Method):
		return errors.New("another page asks for it; only the console's own page may")
	case site == "" && origin == "":
		return errors.New("the request does not say which page it comes from, and only the console's own page may change something; " +
			"programs use Caddy's admin API, under /event_relay/, or the commands: " + names.Command("--help"))
	}
	return errors.New("the request comes from another page, and only the console's own page may change something")
}

func originOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }
