package sites

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A request that no route answers gets an empty 200 from Caddy. A sender takes
// that for success, and its event is lost. What follows finds such requests by
// sending trial requests through the routes of a configuration, as they stand
// in its JSON: nothing is provisioned or run.

// otherHost is the Host of a trial request that no site names. The domain is
// reserved, so that no configuration has it.
const otherHost = "host-that-no-site-names.invalid"

// maxTrialSteps bounds the routes that all trial requests of a server pass
// together. What is decided at run time, such as the client's address, is tried
// both ways, so that their number could double with each such matcher. Beyond,
// nothing is said: a warning must not be wrong.
const maxTrialSteps = 200_000

// EmptyAnswers returns a warning for each server that has an event_relay and
// answers some request with an empty 200, with the lines that end it.
func (s Sites) EmptyAnswers() (warnings []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Servers)) {
		server := s.Servers[name]
		mounts := server.mounts()
		if len(mounts) == 0 {
			continue
		}
		var hosts []string
		everyHost := false
		for _, mount := range mounts {
			hosts = append(hosts, mount.Hosts...)
			everyHost = everyHost || len(mount.Hosts) == 0
		}
		slices.Sort(hosts)
		t := &trials{routes: trialRoutes(server.Routes), steps: maxTrialSteps}
		t.named = make(map[string][]trialRoute, len(server.NamedRoutes))
		for name, named := range server.NamedRoutes {
			t.named[name] = trialRoutes([]route{named})
		}
		paths := t.paths(mounts)
		if !s.refusesOtherHosts(server, hosts) {
			switch path := t.anyFalls(otherHost, paths); {
			case path == "":
			case everyHost:
				warnings = append(warnings, pathWarning(strings.Join(server.Listen, " "), path))
				continue
			default:
				warnings = append(warnings, unnamedHostWarning(server.Listen, s.isSecure(server, hosts)))
			}
		}
		for _, host := range slices.Compact(hosts) {
			if path := t.anyFalls(trialHost(host), paths); path != "" {
				warnings = append(warnings, pathWarning(host, path))
			}
		}
	}
	return warnings
}

// isSecure reports whether a server speaks TLS.
func (s Sites) isSecure(server *server, hosts []string) bool {
	return len(hosts) > 0 && strings.HasPrefix(s.origin(server, hosts[0]), "https:")
}

// refusesOtherHosts reports whether Caddy itself refuses a request whose Host is
// not the name of its TLS handshake, for which there must be a certificate: with
// strict_sni_host, which certificates of clients turn on.
func (s Sites) refusesOtherHosts(server *server, hosts []string) bool {
	if !s.isSecure(server, hosts) {
		return false
	}
	if server.StrictSNIHost != nil {
		return *server.StrictSNIHost
	}
	return slices.ContainsFunc(server.TLS, func(policy json.RawMessage) bool {
		var tls struct {
			Clients json.RawMessage `json:"client_authentication"`
		}
		return json.Unmarshal(policy, &tls) == nil && tls.Clients != nil
	})
}

func pathWarning(where, path string) string {
	return fmt.Sprintf("a request to %s with a path that no route takes, such as %s, is answered with an empty 200 by Caddy, "+
		"and an event in it is lost; end the site, and each `handle` and `route` in it that an event may reach, with: respond 404", where, path)
}

// unnamedHostWarning names the site to add to a server, by its listen addresses.
func unnamedHostWarning(listen []string, secure bool) string {
	var binds []string
	port := ""
	for _, text := range listen {
		address, err := caddy.ParseNetworkAddress(text)
		if err != nil {
			continue
		}
		switch {
		case address.IsUnixNetwork() || address.IsFdNetwork():
			binds = append(binds, text)
			continue
		case address.Host != "":
			host := address.Host
			if address.Network != "tcp" {
				host = address.Network + "/" + host
			}
			binds = append(binds, host)
		}
		if port == "" {
			port = fmt.Sprint(address.StartPort)
		}
	}
	site := "http://:" + port
	switch {
	case port == "":
		site = "http://"
	case port == "80" || port == "443":
		site = ":" + port
	case secure:
		site = "https://:" + port
	}
	bind := ""
	if len(binds) > 0 {
		bind = "bind " + strings.Join(slices.Compact(binds), " ") + "; "
	}
	return fmt.Sprintf("a request at %s with a Host that no site names, such as an IP address or the name that a proxy hands on, is answered with an empty 200 "+
		"by Caddy, and an event in it is lost; add a site that refuses it: %s { %srespond 421 } (each on a line of its own), "+
		"or leave the host out of the address of the site", strings.Join(listen, " "), site, bind)
}

// trialHost is a host that a host of a matcher stands for.
func trialHost(pattern string) string {
	return strings.ReplaceAll(caddy.NewReplacer().ReplaceAll(pattern, ""), "*", "x")
}

// trials sends trial requests through the routes of a server.
type trials struct {
	routes []trialRoute
	named  map[string][]trialRoute
	steps  int // that are left
}

// trialRoute is a route, and where its handlers let a request go.
type trialRoute struct {
	route
	handlers []trialHandler
}

type trialHandler struct {
	*handler
	way     way
	routes  []trialRoute // of a subroute
	anyPath bool         // of a rewrite: the path may be any after it
}

// way is where a handler lets a request go.
type way int

const (
	passes   way = iota // hands the request on, or may do so
	answers             // answers each request by itself
	descends            // has routes of its own
	invokes             // runs a named route
	rewrites            // changes the path
)

// trialRoutes returns the routes that matter to where a request ends. The others
// are left out, so that their matchers are not tried.
func trialRoutes(from []route) []trialRoute {
	prepared := make([]trialRoute, 0, len(from))
	for _, route := range from {
		to := trialRoute{route: route}
		matters := route.Group != "" || route.Terminal
		for i := range route.Handle {
			h := trialHandler{handler: &route.Handle[i], way: route.Handle[i].way()}
			switch h.way {
			case descends:
				h.routes = trialRoutes(h.Routes)
			case rewrites:
				h.anyPath = h.URI != "" && h.URI[0] != '?' || h.StripPathSuffix != "" || h.Substrings != nil || h.Regexps != nil
			}
			matters = matters || h.way != passes
			to.handlers = append(to.handlers, h)
		}
		if matters {
			prepared = append(prepared, to)
		}
	}
	return prepared
}

// way returns where a handler lets a request go. One of an unknown kind counts as
// handing on: most plug-ins do so, and a warning too many costs less than a lost
// event.
func (h *handler) way() way {
	switch h.Kind {
	case "subroute":
		return descends
	case "invoke":
		return invokes
	case "rewrite":
		return rewrites
	case "file_server":
		if h.PassThru {
			return passes
		}
		return answers
	case "reverse_proxy":
		if len(h.HandleResponse) > 0 { // which may hand on
			return passes
		}
		return answers
	case RelayHandler, ConsoleHandler, "static_response", "error", "metrics":
		return answers
	}
	return passes
}

// paths returns the paths of trial requests: those of the mounts, one that
// nothing names, and for each path of a matcher what it just takes.
func (t *trials) paths(mounts []Mount) []string {
	paths := []string{"/a-path-that-no-route-takes"}
	for _, mount := range mounts {
		if path := mount.WholePath(); path != "" {
			paths = append(paths, path)
		}
	}
	var collect func([]trialRoute)
	collect = func(in []trialRoute) {
		for _, route := range in {
			for _, match := range route.Match {
				var patterns caddyhttp.MatchPath
				if json.Unmarshal(match["path"], &patterns) != nil {
					continue
				}
				for _, pattern := range patterns {
					if strings.HasPrefix(pattern, "/") && !strings.ContainsAny(pattern, "{%") {
						paths = append(paths, strings.ReplaceAll(pattern, "*", "x"))
					}
				}
			}
			for _, handler := range route.handlers {
				collect(handler.routes)
			}
		}
	}
	collect(t.routes)
	for _, name := range slices.Sorted(maps.Keys(t.named)) {
		collect(t.named[name])
	}
	var unique []string
	for _, path := range paths {
		if !slices.Contains(unique, path) {
			unique = append(unique, path)
		}
	}
	return unique
}

// anyFalls returns the first path at which a request to a host falls through
// all routes, "" if none does.
func (t *trials) anyFalls(host string, paths []string) string {
	for _, path := range paths {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			if t.fall(t.routes, trial{host: host, path: path, method: method}, func(trial) bool { return true }) {
				return path
			}
		}
	}
	return ""
}

// trial is a request on its way.
type trial struct {
	host, path, method string
	anyPath            bool // the path is not known any more
	groups             string
	// assumed is what was taken to be so or not so of matchers that are decided at
	// run time, by their JSON. The same matcher has the same result.
	assumed map[string]bool
}

func (t trial) assume(matcher string, holds bool) trial {
	t.assumed = maps.Clone(t.assumed)
	if t.assumed == nil {
		t.assumed = map[string]bool{}
	}
	t.assumed[matcher] = holds
	return t
}

func (t trial) inGroup(group string) bool { return strings.Contains(t.groups, "\x00"+group+"\x00") }

// fall reports whether some request like this one passes routes without an
// answer and then what follows them. It goes the way of Caddy's own routes
// (wrapRoute in modules/caddyhttp/routes.go).
func (t *trials) fall(in []trialRoute, request trial, then func(trial) bool) bool {
	if t.steps--; t.steps < 0 {
		return false
	}
	if len(in) == 0 {
		return then(request)
	}
	route, rest := &in[0], in[1:]
	if route.Group != "" && request.inGroup(route.Group) {
		return t.fall(rest, request, then)
	}
	matches, undecided := request.matches(route.Match)
	if undecided != "" {
		return t.fall(in, request.assume(undecided, false), then) || t.fall(in, request.assume(undecided, true), then)
	}
	if !matches {
		return t.fall(rest, request, then)
	}
	if route.Group != "" {
		request.groups += "\x00" + route.Group + "\x00"
	}
	return t.fallFrom(route.handlers, request, func(passed trial) bool {
		// A terminal route ends the request with all routes around it.
		return route.Terminal || t.fall(rest, passed, then)
	})
}

// fallFrom is fall for the handlers of a route.
func (t *trials) fallFrom(handlers []trialHandler, request trial, then func(trial) bool) bool {
	if t.steps--; t.steps < 0 {
		return false
	}
	if len(handlers) == 0 {
		return then(request)
	}
	handler := &handlers[0]
	next := func(passed trial) bool { return t.fallFrom(handlers[1:], passed, then) }
	switch handler.way {
	case answers:
		return false
	case descends:
		return t.fall(handler.routes, request, next)
	case invokes:
		return t.fall(t.named[handler.Name], request, next)
	case rewrites:
		request.path = strings.TrimPrefix(request.path, handler.StripPathPrefix)
		if !strings.HasPrefix(request.path, "/") {
			request.path = "/" + request.path
		}
		request.anyPath = request.anyPath || handler.anyPath
	}
	return next(request)
}

// matches reports whether one of the sets of matchers of a route holds, or
// which matcher would have to be decided for that.
func (t trial) matches(sets []map[string]json.RawMessage) (matches bool, undecided string) {
	if len(sets) == 0 {
		return true, ""
	}
	for _, set := range sets {
		holds, open := t.all(set)
		if holds {
			return true, ""
		}
		if open != "" {
			undecided = open
		}
	}
	return false, undecided
}

func (t trial) all(set map[string]json.RawMessage) (holds bool, undecided string) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		holds, open := t.matcher(name, set[name])
		if open != "" {
			undecided = open
		} else if !holds {
			return false, ""
		}
	}
	return undecided == "", undecided
}

// matcher reports whether a matcher holds, or that it is undecided, by its JSON.
func (t trial) matcher(name string, raw json.RawMessage) (holds bool, undecided string) {
	request := &http.Request{Method: t.method, Host: t.host, URL: &url.URL{Path: t.path}}
	request = request.WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	var known caddyhttp.RequestMatcherWithError
	switch name {
	case "host":
		var hosts caddyhttp.MatchHost
		if json.Unmarshal(raw, &hosts) == nil && hosts.Provision(caddy.Context{}) == nil {
			known = hosts
		}
	case "path":
		var paths caddyhttp.MatchPath
		if !t.anyPath && json.Unmarshal(raw, &paths) == nil && paths.Provision(caddy.Context{}) == nil {
			known = paths
		}
	case "method":
		var methods caddyhttp.MatchMethod
		if json.Unmarshal(raw, &methods) == nil {
			known = methods
		}
	case "path_regexp":
		var pattern struct{ Pattern string }
		if !t.anyPath && json.Unmarshal(raw, &pattern) == nil {
			if compiled, err := regexp.Compile(pattern.Pattern); err == nil {
				return compiled.MatchString(t.path), ""
			}
		}
	case "not":
		var sets []map[string]json.RawMessage
		if json.Unmarshal(raw, &sets) == nil {
			holds, undecided := t.matches(sets)
			return !holds && undecided == "", undecided
		}
	}
	if known != nil {
		if holds, err := known.MatchWithError(request); err == nil {
			return holds, ""
		}
	}
	key := name + string(raw)
	if assumed, decided := t.assumed[key]; decided {
		return assumed, ""
	}
	return false, key
}
