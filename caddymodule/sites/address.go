package sites

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Address is where a handler of the relay can be reached.
type Address struct {
	// Origin is scheme, host and port, such as https://events.studio.example. It
	// is empty when the site has no host name.
	Origin string
	// Path is the path that a sender asks for, such as /listen.php.
	Path string
}

// URL is the address as a sender is told it.
func (a Address) URL() string { return a.Origin + (&url.URL{Path: a.Path}).EscapedPath() }

// Addresses returns where the events of a source come in. Those that look most
// like a public address come first.
func (s Sites) Addresses(source string) (found []Address) {
	for _, name := range slices.Sorted(maps.Keys(s.Servers)) {
		server := s.Servers[name]
		for _, mount := range server.mounts() {
			if len(mount.Sources) > 0 && !slices.Contains(mount.Sources, source) {
				continue
			}
			usable := slices.DeleteFunc(slices.Clone(mount.Hosts), func(host string) bool { return strings.ContainsAny(host, "*{") })
			if len(usable) == 0 {
				found = append(found, Address{Path: mount.WholePath()})
			}
			for _, host := range usable {
				found = append(found, Address{s.origin(server, host), mount.WholePath()})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Address) int { return a.rank() - b.rank() })
	return found
}

// Locations returns where all handlers of a kind, RelayHandler or ConsoleHandler,
// can be reached, for people: as URLs, and with the address that the server listens
// at where a site has no host name. A handler for some sources only names them.
func (s Sites) Locations(kind string) (found []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Servers)) {
		server := s.Servers[name]
		for _, mount := range server.handlers(kind) {
			only := ""
			if len(mount.Sources) > 0 {
				only = " (" + strings.Join(mount.Sources, ", ") + ")"
			}
			if len(mount.Hosts) == 0 {
				found = append(found, strings.Join(server.Listen, " ")+mount.WholePath()+only)
			}
			for _, host := range mount.Hosts {
				found = append(found, Address{s.origin(server, host), mount.WholePath()}.URL()+only)
			}
		}
	}
	return found
}

// rank is lower for addresses that look more like a public one.
func (a Address) rank() int {
	switch {
	case a.Origin == "":
		return 3
	case strings.Contains(a.Origin, "//localhost") || strings.Contains(a.Origin, "//127."):
		return 2
	case strings.HasPrefix(a.Origin, "http:"):
		return 1
	}
	return 0
}

// origin returns scheme, host and port by which a server answers for a host.
func (s Sites) origin(server *server, host string) string {
	httpPort := s.HTTPPort
	if httpPort == 0 {
		httpPort = 80
	}
	var port int
	if len(server.Listen) > 0 {
		if address, err := caddy.ParseNetworkAddress(server.Listen[0]); err == nil {
			port = int(address.StartPort)
		}
	}
	secure := len(server.TLS) > 0 ||
		!server.AutomaticHTTPS.Disabled && !slices.Contains(server.AutomaticHTTPS.Skip, host) && port != httpPort
	scheme, usual := "https", 443
	if !secure {
		scheme, usual = "http", 80
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == 0 || port == usual {
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}
