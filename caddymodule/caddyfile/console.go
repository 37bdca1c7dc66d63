package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/console"
)

// consoleLevel is the block of the console's directive.
var consoleLevel = level[config.Console]{name: "the " + sites.ConsoleHandler + " directive", settings: []setting[config.Console]{
	{name: "allow", usage: "CIDR…", wants: "one or more networks", least: 1, most: -1, repeat: true, read: func(l *line, c *config.Console) error {
		for _, arg := range l.args {
			if _, err := config.Networks(arg.Text); err != nil {
				return errAt(arg, "%w", err)
			}
			c.Allow = append(c.Allow, arg.Text)
		}
		return nil
	}},
	{name: "hosts", usage: "NAME…", wants: "one or more host names", least: 1, most: -1, repeat: true, read: func(l *line, c *config.Console) error {
		for _, arg := range l.args {
			if err := console.CheckHost(arg.Text); err != nil {
				return errAt(arg, "%w", err)
			}
			c.Hosts = append(c.Hosts, arg.Text)
		}
		return nil
	}},
}}

// parseConsole reads the directive. Syntax:
//
//	event_relay_console [<matcher>] [<path>] {
//	    allow <cidr...>
//	    hosts <name...>
//	}
//
// The path is a mount: it stands for itself and everything below it.
func parseConsole(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	directive, matcher, err := openDirective(h)
	if err != nil {
		return nil, err
	}
	page := new(config.Console)
	if len(directive.args) > 1 {
		return nil, errAt(directive.args[1], "%s takes at most a path, but %q follows: %s [MATCHER] [PATH]",
			sites.ConsoleHandler, directive.args[1].Text, sites.ConsoleHandler)
	}
	if len(directive.args) == 1 {
		mount := directive.args[0]
		if page.Path, err = config.MountPath(mount.Text); err != nil {
			return nil, errAt(mount, "%w", err)
		}
		if matcher, err = matchMount(mount, matcher, page.Path); err != nil {
			return nil, err
		}
	}
	if _, err := consoleLevel.read(h.Dispenser, page); err != nil {
		return nil, err
	}
	return newRoute(sites.ConsoleHandler, matcher, page), nil
}
