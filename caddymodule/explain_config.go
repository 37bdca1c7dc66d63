package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// loadedConfiguration is what a dry run needs of a configuration.
type loadedConfiguration struct {
	generation *relay.Generation
	handlers   []foundHandler
}

// foundHandler is a handler of the relay, and the hosts for which it is.
type foundHandler struct {
	Handler
	hosts []string
}

// loadConfiguration reads and compiles a configuration file. Nothing of Caddy
// is provisioned but the relay, and nothing of that is started. If anywhere is
// set, sources take requests from any address.
func loadConfiguration(flags caddycmd.Flags, anywhere bool) (loadedConfiguration, error) {
	config, file, err := readConfiguration(flags)
	if err != nil {
		return loadedConfiguration{}, err
	}
	loaded, err := compileConfiguration(config, anywhere)
	if err != nil {
		return loadedConfiguration{}, fmt.Errorf("reading %s: %w", file, err)
	}
	return loaded, nil
}

func compileConfiguration(config []byte, anywhere bool) (loadedConfiguration, error) {
	var parsed struct {
		Apps struct {
			Relay json.RawMessage `json:"event_relay"`
			HTTP  any             `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &parsed); err != nil {
		return loadedConfiguration{}, err
	}
	if parsed.Apps.Relay == nil {
		return loadedConfiguration{}, errors.New("there is no event_relay block among the global options")
	}
	app := new(App)
	if err := caddy.StrictUnmarshalJSON(parsed.Apps.Relay, app); err != nil {
		return loadedConfiguration{}, err
	}
	app.logger = caddy.Log()
	configuration, err := app.configuration()
	if err != nil {
		return loadedConfiguration{}, err
	}
	if anywhere {
		for i := range configuration.Sources {
			configuration.Sources[i].Allow = nil
		}
	}
	loaded := loadedConfiguration{}
	if loaded.generation, err = relay.Compile(configuration); err != nil {
		return loadedConfiguration{}, err
	}
	loaded.find(parsed.Apps.HTTP, nil)
	return loaded, nil
}

// find collects the handlers of the relay, wherever they stand among the routes
// of Caddy's HTTP app. hosts are those of the routes around.
func (l *loadedConfiguration) find(value any, hosts []string) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			l.find(element, hosts)
		}
	case map[string]any:
		if v["handler"] == "event_relay" {
			l.add(v, hosts)
			return
		}
		if _, isRoute := v["handle"]; isRoute {
			if own := hostsOf(v["match"]); len(own) > 0 {
				hosts = own
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			l.find(v[key], hosts)
		}
	}
}

func (l *loadedConfiguration) add(value map[string]any, hosts []string) {
	found := foundHandler{hosts: hosts}
	// What came from JSON goes back into it. What does not fit is an error of the
	// configuration that concerns Caddy and not the rules.
	encoded, _ := json.Marshal(value)
	if json.Unmarshal(encoded, &found.Handler) == nil && found.check() == nil {
		l.handlers = append(l.handlers, found)
	}
}

// hostsOf returns the hosts that the matchers of a route name.
func hostsOf(matchers any) (hosts []string) {
	sets, _ := matchers.([]any)
	for _, set := range sets {
		matchers, _ := set.(map[string]any)
		names, _ := matchers["host"].([]any)
		for _, name := range names {
			if name, ok := name.(string); ok {
				hosts = append(hosts, name)
			}
		}
	}
	return hosts
}

// handlerFor returns the handler that Caddy would give a request to: the one
// with the longest path among those for its host, or for any, if there is none
// for its host. A request in a file seldom names the public host.
func (l *loadedConfiguration) handlerFor(request *http.Request) (Handler, error) {
	var best *foundHandler
	var bestIsForHost bool
	var paths []string
	for i := range l.handlers {
		h := &l.handlers[i]
		if !slices.Contains(paths, h.Path) {
			paths = append(paths, h.Path)
		}
		if !isBelow(h.Path, request.URL.Path) {
			continue
		}
		isForHost := h.isFor(request.Host)
		if best == nil || isForHost && !bestIsForHost || isForHost == bestIsForHost && len(h.Path) > len(best.Path) {
			best, bestIsForHost = h, isForHost
		}
	}
	if best != nil {
		return best.Handler, nil
	}
	if len(paths) == 0 {
		return Handler{}, errors.New("no site has event_relay; add it to a site, or name the sender with --source")
	}
	return Handler{}, fmt.Errorf("no event_relay of the configuration takes the path %s; there are: %s", request.URL.Path, strings.Join(paths, ", "))
}

// isFor reports whether the handler is for a host; without a host it is for all.
func (h *foundHandler) isFor(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return len(h.hosts) == 0 || slices.ContainsFunc(h.hosts, func(pattern string) bool {
		if strings.EqualFold(pattern, host) {
			return true
		}
		_, rest, _ := strings.Cut(host, ".")
		return strings.HasPrefix(pattern, "*.") && strings.EqualFold(pattern[2:], rest)
	})
}

// isBelow reports whether a path is a mount or below it. Caddy does not look at
// the case of paths.
func isBelow(mount, requested string) bool {
	mount = strings.ToLower(strings.TrimSuffix(mount, "/"))
	requested = strings.ToLower(path.Clean("/" + requested))
	return mount == "" || requested == mount || strings.HasPrefix(requested, mount+"/")
}
