// Package caddyfile is the grammar of the relay in the Caddyfile: it registers
// the global option event_relay and the directives of the same name and of
// event_relay_console, and reads them into the structures of internal/config.
// The printer stands below it.
package caddyfile

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

func init() {
	httpcaddyfile.RegisterGlobalOption(sites.RelayHandler, parseOption)
	httpcaddyfile.RegisterDirective(sites.RelayHandler, parseMount)
	httpcaddyfile.RegisterDirective(sites.ConsoleHandler, parseConsole)

	// Before respond, so that request_body, timeouts, basic_auth, abort and
	// error still come ahead, and a site can end with respond 404. The console
	// after the relay: a console on the whole of a site would else take the
	// requests of senders.
	httpcaddyfile.RegisterDirectiveOrder(sites.RelayHandler, httpcaddyfile.Before, "respond")
	httpcaddyfile.RegisterDirectiveOrder(sites.ConsoleHandler, httpcaddyfile.Before, "respond")
}

// parseOption reads the global option. Syntax:
//
//	event_relay {
//	    active    on|off
//	    queue     sqlite [<dir>] | postgres <dsn> { ... }
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
// of time zones. If something is wrong with the form, what could be read is also
// checked for its meaning, so that all mistakes are told together.
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
			return nil, option.errf("reading the first %s block: %v", sites.RelayHandler, err)
		}
		return nil, option.errf("there is already an %s block, at %s; put everything in one block, which may import files", sites.RelayHandler, first.Place)
	}
	app, err := readRelay(option)
	if err != nil {
		var wrong config.Findings
		wrong.Add("", err)
		wrong.AddNew(relay.Mistakes(app)...)
		return nil, wrong.Err()
	}
	value, err := json.Marshal(&app)
	if err != nil {
		return nil, option.errf("encoding the configuration: %v", err)
	}
	return httpcaddyfile.App{Name: sites.RelayHandler, Value: value}, nil
}

// readRelay reads the block of the option. With an error, what it returns is what could
// be read, with something in the place of what could not: its meaning can be checked.
// It is nothing if a mistake leaves open what belongs to which block.
func readRelay(option *line) (config.Relay, error) {
	if option.args = option.d.RemainingArgsAsTokens(); len(option.args) > 0 {
		return config.Relay{}, option.errf("%s takes nothing after it but a block, but %q follows", sites.RelayHandler, option.args[0].Text)
	}
	app := config.Relay{Place: option.place()}
	_, err := relayLevel.read(option.d, &app)
	if isTorn(err) {
		return config.Relay{}, err
	}
	return app, err
}
