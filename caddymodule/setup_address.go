package caddymodule

import (
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// httpApp is what has to be known of the http app to tell where a handler can
// be reached from outside.
type httpApp struct {
	HTTPPort int                   `json:"http_port"`
	Servers  map[string]httpServer `json:"servers"`
}

type httpServer struct {
	Listen         []string          `json:"listen"`
	Routes         []httpRoute       `json:"routes"`
	TLS            []json.RawMessage `json:"tls_connection_policies"`
	AutomaticHTTPS struct {
		Disabled bool     `json:"disable"`
		Skip     []string `json:"skip"`
	} `json:"automatic_https"`
	// StrictSNIHost refuses requests whose Host is not the name of their TLS
	// handshake.
	StrictSNIHost *bool `json:"strict_sni_host"`
	// NamedRoutes are run by the handler invoke.
	NamedRoutes map[string]httpRoute `json:"named_routes"`
}

type httpRoute struct {
	Group    string                       `json:"group"`
	Match    []map[string]json.RawMessage `json:"match"`
	Handle   []json.RawMessage            `json:"handle"`
	Terminal bool                         `json:"terminal"`
}

// hosts returns the host names that one of the route's matchers must find.
func (r *httpRoute) hosts() (hosts []string) {
	for _, match := range r.Match {
		var names []string
		if json.Unmarshal(match["host"], &names) == nil {
			hosts = append(hosts, names...)
		}
	}
	return hosts
}

// httpHandler is the part of all kinds of handlers that is looked at.
type httpHandler struct {
	Kind            string      `json:"handler"`
	Routes          []httpRoute `json:"routes"`
	StripPathPrefix string      `json:"strip_path_prefix"`
	Path            string      `json:"path"`
	Sources         []string    `json:"sources"`
	Name            string      `json:"name"` // of the route that invoke runs
}

// handlerAddress is where a handler of the relay can be reached. The origin is
// empty when its site has no host name.
type handlerAddress struct {
	origin string // such as https://events.studio.example
	mount  string // such as /listen.php
}

// addresses returns where the events of a source come in. Those that look most
// like a public address come first.
func (h httpApp) addresses(source string) []handlerAddress {
	var found []handlerAddress
	names := make([]string, 0, len(h.Servers))
	for name := range h.Servers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		server := h.Servers[name]
		server.walk(server.Routes, nil, "", source, func(hosts []string, mount string) {
			usable := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return strings.ContainsAny(host, "*{") })
			if len(usable) == 0 {
				found = append(found, handlerAddress{mount: mount})
			}
			for _, host := range usable {
				found = append(found, handlerAddress{h.origin(server, host), mount})
			}
		})
	}
	slices.SortStableFunc(found, func(a, b handlerAddress) int { return a.rank() - b.rank() })
	return found
}

func (a handlerAddress) rank() int {
	switch {
	case a.origin == "":
		return 3
	case strings.Contains(a.origin, "//localhost") || strings.Contains(a.origin, "//127."):
		return 2
	case strings.HasPrefix(a.origin, "http:"):
		return 1
	}
	return 0
}

// walk finds the relay's handlers for a source, or for any if it is empty, in
// routes, with the host names and the stripped part of the path that lead there.
func (h *httpServer) walk(routes []httpRoute, hosts []string, prefix, source string, found func(hosts []string, mount string)) {
	for _, route := range routes {
		inner := hosts
		if own := route.hosts(); len(own) > 0 {
			inner = own
		}
		for _, raw := range route.Handle {
			var handler httpHandler
			if json.Unmarshal(raw, &handler) != nil {
				continue // the kind of some other module, with fields of its own
			}
			switch {
			case handler.Kind == "subroute":
				h.walk(handler.Routes, inner, prefix, source, found)
			case handler.Kind == "invoke":
				// Caddy refuses named routes that run each other in a circle no sooner
				// than a request comes, so only one level is followed.
				if named, known := h.NamedRoutes[handler.Name]; known {
					server := httpServer{}
					server.walk([]httpRoute{named}, inner, prefix, source, found)
				}
			case handler.Kind == "rewrite":
				prefix += handler.StripPathPrefix
			case handler.Kind == appName && (source == "" || len(handler.Sources) == 0 || slices.Contains(handler.Sources, source)):
				found(inner, prefix+handler.Path)
			}
		}
	}
}

// origin returns scheme, host and port by which a server answers for a host.
func (h httpApp) origin(server httpServer, host string) string {
	httpPort := h.HTTPPort
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
