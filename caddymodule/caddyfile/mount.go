package caddyfile

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// mountLevel is the block of the directive.
var mountLevel = level[config.Mount]{name: "the event_relay directive", settings: []setting[config.Mount]{
	{name: "access_log", least: 0, most: 0, read: func(_ *line, m *config.Mount) error {
		m.AccessLog = true
		return nil
	}},
}}

// parseMount reads the directive. Syntax:
//
//	event_relay [<matcher>] [<path>] [<source...>] {
//	    access_log
//	}
//
// The path is a mount: it stands for itself and everything below it. A matcher
// is `*` or a named one; with a path, both must match.
func parseMount(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	directive, matcher, err := openDirective(h)
	if err != nil {
		return nil, err
	}

	mount := new(config.Mount)
	if strings.HasPrefix(directive.text(0), "/") {
		path := directive.args[0]
		directive.args = directive.args[1:]
		if mount.Path, err = config.MountPath(path.Text); err != nil {
			return nil, errAt(path, "%w", err)
		}
		if matcher, err = matchMount(path, matcher, mount.Path); err != nil {
			return nil, err
		}
	}
	var wrong config.Findings
	for _, source := range directive.args {
		wrong.Add("", checkSourceArgument(source, mount.Sources))
		mount.Sources = append(mount.Sources, source.Text)
	}
	_, err = mountLevel.read(h.Dispenser, mount)
	wrong.Add("", err)
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return newRoute(sites.RelayHandler, matcher, mount), nil
}

// newRoute returns the route of a directive, with the handler of that name. Helper's
// NewRoute asks for the handler's module, which stands above this room.
func newRoute(handler string, matcher caddy.ModuleMap, settings any) []httpcaddyfile.ConfigValue {
	route := caddyhttp.Route{HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(settings, "handler", handler, nil)}}
	if matcher != nil {
		route.MatcherSetsRaw = []caddy.ModuleMap{matcher}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: route}}
}

// openDirective reads the line of a directive: its matcher, and the arguments
// behind that.
func openDirective(h httpcaddyfile.Helper) (*line, caddy.ModuleMap, error) {
	if !h.Next() {
		return nil, nil, h.ArgErr()
	}
	directive := &line{d: h.Dispenser, words: []caddyfile.Token{h.Token()}}
	matcher, err := namedMatcher(h)
	if err != nil {
		return nil, nil, err
	}
	directive.args = h.RemainingArgsAsTokens()
	return directive, matcher, nil
}

// namedMatcher takes `*` or a named matcher off the line. A path is left
// there, because here it is more than a matcher.
func namedMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	if !h.NextArg() {
		return nil, nil
	}
	if first := h.Val(); first != "*" && !strings.HasPrefix(first, "@") {
		h.Prev()
		return nil, nil
	}
	h.Prev()
	matcher, _, err := h.MatcherToken()
	if err != nil {
		return nil, h.WrapErr(err)
	}
	return matcher, nil
}

// matchMount adds the mount to a matcher: the path itself and everything below
// it, but not what merely begins alike. The whole site needs no matcher, so
// that more particular mounts of the site go first.
func matchMount(token caddyfile.Token, matcher caddy.ModuleMap, mount string) (caddy.ModuleMap, error) {
	if mount == "" {
		return matcher, nil
	}
	if _, given := matcher["path"]; given {
		return nil, errAt(token, "the matcher before %s matches a path already; take the path out of the matcher, or out of this line", token.Text)
	}
	both := maps.Clone(matcher)
	if both == nil {
		both = make(caddy.ModuleMap)
	}
	both["path"] = caddyconfig.JSON(caddyhttp.MatchPath{mount, mount + "/*"}, nil)
	return both, nil
}

// checkSourceArgument returns an error if an argument of the directive cannot
// be a source. Whether the source exists is known when all is loaded.
func checkSourceArgument(token caddyfile.Token, before []string) error {
	if strings.ContainsAny(token.Text, "/@*") {
		return errAt(token, "%s cannot be a source; the order is: %s [MATCHER] [PATH] [SOURCE…]", token.Text, sites.RelayHandler)
	}
	if err := names.Check("source", token.Text); err != nil {
		return errAt(token, "%w", err)
	}
	if slices.Contains(before, token.Text) {
		return errAt(token, "source %s is given twice", token.Text)
	}
	return nil
}
