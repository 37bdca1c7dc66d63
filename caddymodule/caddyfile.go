package caddymodule

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

func init() {
	httpcaddyfile.RegisterGlobalOption(appName, parseOption)
	httpcaddyfile.RegisterDirective(appName, parseDirective)

	// Before respond, so that request_body, timeouts, basic_auth, abort and
	// error still come ahead, and a site can end with respond 404.
	httpcaddyfile.RegisterDirectiveOrder(appName, httpcaddyfile.Before, "respond")
}

// parseOption reads the global option. Syntax:
//
//	event_relay {
//	    active    on|off
//	    queue     sqlite [<dir>]
//	    queue_required on|off
//	    retention <age> [<size>]
//	    targets   private_ranges|loopback|<cidr>|<host>...
//	    max_pending <n>
//	    min_free  <size>|off
//	    keep_connections on|off
//	    parameter <name> <value> | <name> { ... }
//	    source    <name> [<preset>] { ... }
//	    action    <name> { ... }
//	    on        <event...> { ... }
//	}
//
// It only reads: no network, no placeholder, and no file but the system's list
// of time zones.
func parseOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if !d.Next() {
		return nil, d.ArgErr()
	}
	option := &line{d: d, words: []caddyfile.Token{d.Token()}}
	if before, ok := existing.(httpcaddyfile.App); ok {
		// An option leaves nothing but its JSON, so its place is read from
		// there.
		var first config.Relay
		if err := json.Unmarshal(before.Value, &first); err != nil {
			return nil, option.errf("reading the first %s block: %v", appName, err)
		}
		return nil, option.errf("there is already an %s block, at %s; put everything in one block, which may import files", appName, first.Place)
	}
	if option.args = d.RemainingArgsAsTokens(); len(option.args) > 0 {
		return nil, option.errf("%s takes nothing after it but a block, but %q follows", appName, option.args[0].Text)
	}
	app := config.Relay{Place: option.place()}
	if err := relayLevel.read(d, &app); err != nil {
		return nil, err
	}
	value, err := json.Marshal(&app)
	if err != nil {
		return nil, option.errf("encoding the configuration: %v", err)
	}
	return httpcaddyfile.App{Name: appName, Value: value}, nil
}

// handlerLevel is the block of the directive.
var handlerLevel = level[Handler]{name: "the event_relay directive", settings: []setting[Handler]{
	{name: "access_log", least: 0, most: 0, read: func(_ *line, h *Handler) error {
		h.AccessLog = true
		return nil
	}},
}}

// parseDirective reads the directive. Syntax:
//
//	event_relay [<matcher>] [<path>] [<source...>] {
//	    access_log
//	}
//
// The path is a mount: it stands for itself and everything below it. A matcher
// is `*` or a named one; with a path, both must match.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	directive, matcher, err := openDirective(h)
	if err != nil {
		return nil, err
	}

	handler := new(Handler)
	if strings.HasPrefix(directive.text(0), "/") {
		mount := directive.args[0]
		directive.args = directive.args[1:]
		if handler.Path, err = sites.MountPath(mount.Text); err != nil {
			return nil, errAt(mount, "%w", err)
		}
		if matcher, err = matchMount(mount, matcher, handler.Path); err != nil {
			return nil, err
		}
	}
	for _, source := range directive.args {
		if err := checkSourceArgument(source, handler.Sources); err != nil {
			return nil, err
		}
		handler.Sources = append(handler.Sources, source.Text)
	}
	if err := handlerLevel.read(h.Dispenser, handler); err != nil {
		return nil, err
	}
	return h.NewRoute(matcher, handler), nil
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
		return errAt(token, "%s cannot be a source; the order is: %s [MATCHER] [PATH] [SOURCE…]", token.Text, appName)
	}
	if err := names.Check("source", token.Text); err != nil {
		return errAt(token, "%w", err)
	}
	if slices.Contains(before, token.Text) {
		return errAt(token, "source %s is given twice", token.Text)
	}
	return nil
}
