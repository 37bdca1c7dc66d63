// Package sites reads from the JSON of Caddy's http app where its sites lead to
// the relay: at which addresses the relay's handlers can be reached, and which
// requests no route answers. Nothing is provisioned or run.
package sites

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// The names of the relay's handlers in routes. They are also the names of their
// directives in the Caddyfile.
const (
	RelayHandler   = "event_relay"
	ConsoleHandler = "event_relay_console"
)

// Sites are the sites of the http app, decoded from its JSON. What is not looked
// at is left out.
type Sites struct {
	HTTPPort int                `json:"http_port"`
	Servers  map[string]*server `json:"servers"`
}

type server struct {
	Listen         []string          `json:"listen"`
	Routes         []route           `json:"routes"`
	TLS            []json.RawMessage `json:"tls_connection_policies"`
	AutomaticHTTPS struct {
		Disabled bool     `json:"disable"`
		Skip     []string `json:"skip"`
	} `json:"automatic_https"`
	// StrictSNIHost refuses requests whose Host is not the name of their TLS
	// handshake.
	StrictSNIHost *bool `json:"strict_sni_host"`
	// NamedRoutes are run by the handler invoke.
	NamedRoutes map[string]route `json:"named_routes"`
}

type route struct {
	Group    string                       `json:"group"`
	Match    []map[string]json.RawMessage `json:"match"`
	Handle   []handler                    `json:"handle"`
	Terminal bool                         `json:"terminal"`
}

// hosts returns the host names that one of the route's matchers must find.
func (r *route) hosts() (hosts []string) {
	for _, match := range r.Match {
		var names []string
		if json.Unmarshal(match["host"], &names) == nil {
			hosts = append(hosts, names...)
		}
	}
	return hosts
}

// asksFor reports whether the route has no matchers but those of some kinds, in at most
// one set.
func (r *route) asksFor(kinds ...string) bool {
	if len(r.Match) > 1 {
		return false
	}
	for _, match := range r.Match {
		for kind := range match {
			if !slices.Contains(kinds, kind) {
				return false
			}
		}
	}
	return true
}

// hasPath reports whether the route matches a mount and everything below it.
func (r *route) hasPath(mount string) bool {
	for _, match := range r.Match {
		var paths []string
		if json.Unmarshal(match["path"], &paths) != nil || !slices.Contains(paths, mount) || !slices.Contains(paths, mount+"/*") {
			return false
		}
	}
	return true
}

// handler is what is looked at of the handlers of all kinds.
type handler struct {
	Kind    string   `json:"handler"`
	Routes  []route  `json:"routes"` // of subroute
	Name    string   `json:"name"`   // of the route that invoke runs
	Path    string   `json:"path"`   // of the relay's handlers: their mount
	Sources []string `json:"sources"`

	// Of rewrite.
	StripPathPrefix string          `json:"strip_path_prefix"`
	StripPathSuffix string          `json:"strip_path_suffix"`
	URI             string          `json:"uri"`
	Substrings      json.RawMessage `json:"uri_substring"`
	Regexps         json.RawMessage `json:"path_regexp"`

	PassThru bool `json:"pass_thru"` // of file_server
	// HandleResponse are routes of reverse_proxy and intercept, by the answer.
	HandleResponse []struct {
		Routes []route `json:"routes"`
	} `json:"handle_response"`
}

// UnmarshalJSON reads a handler. A field that is of another type in the handler of
// some other module is left out.
func (h *handler) UnmarshalJSON(raw []byte) error {
	type fields handler
	_ = json.Unmarshal(raw, (*fields)(h))
	return nil
}

// Mount is a handler of the relay in the routes of a server.
type Mount struct {
	// Hosts are the host names that lead to it, none if all do.
	Hosts []string
	// Stripped is what routes before it take away from the beginning of a
	// request's path, as that of handle_path does.
	Stripped string
	// Path is the path of the handler: what is left of a request's path begins
	// with it. Empty means any path.
	Path string
	// Sources are the sources that may post there, none if all may.
	Sources []string
	// Sure says that host and path alone decide whether a request comes here.
	Sure bool
}

// WholePath is the path that a sender asks for.
func (m *Mount) WholePath() string { return m.Stripped + m.Path }

// MountsOf returns the handlers of the relay in a server.
func (s Sites) MountsOf(server string) []Mount { return s.Servers[server].mounts() }

// Mounts returns the handlers of the relay in all servers.
func (s Sites) Mounts() (mounts []Mount) {
	for _, name := range slices.Sorted(maps.Keys(s.Servers)) {
		mounts = append(mounts, s.Servers[name].mounts()...)
	}
	return mounts
}

// mounts returns the handlers of the relay in the routes of a server.
func (s *server) mounts() []Mount { return s.handlers(RelayHandler) }

// handlers returns the handlers of a kind in the routes of a server.
func (s *server) handlers(kind string) []Mount {
	if s == nil {
		return nil
	}
	w := walk{kind: kind, named: s.NamedRoutes}
	w.routes(s.Routes, nil, "", true)
	return w.found
}

// walk goes through routes and notes the relay's handlers.
type walk struct {
	kind  string // of the handlers to be found
	named map[string]route
	found []Mount
}

// routes goes through routes, with the host names and the stripped part of the
// path that lead there. sure says that nothing but host names has decided so far.
func (w *walk) routes(routes []route, hosts []string, stripped string, sure bool) {
	for i := range routes {
		inner, innerSure := hosts, sure && routes[i].asksFor("host")
		if own := routes[i].hosts(); len(own) > 0 {
			inner = own
		}
		for j := range routes[i].Handle {
			h := &routes[i].Handle[j]
			w.routes(h.Routes, inner, stripped, innerSure)
			for _, response := range h.HandleResponse {
				w.routes(response.Routes, inner, stripped, false)
			}
			switch h.Kind {
			case "invoke":
				// Caddy refuses named routes that run each other in a circle only when
				// a request comes, so named routes within a named route are left out.
				if named, known := w.named[h.Name]; known {
					within := walk{kind: w.kind}
					within.routes([]route{named}, inner, stripped, false)
					w.found = append(w.found, within.found...)
				}
			case "rewrite":
				stripped += h.StripPathPrefix
			case w.kind:
				if mount, err := config.MountPath(h.Path); err == nil {
					own := innerSure || sure && routes[i].asksFor("host", "path") && routes[i].hasPath(mount)
					w.found = append(w.found, Mount{Hosts: inner, Stripped: stripped, Path: mount, Sources: h.Sources, Sure: own && stripped == ""})
				}
			}
		}
	}
}
