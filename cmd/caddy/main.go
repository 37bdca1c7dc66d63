// Command caddy is Caddy with its standard modules and Event Relay.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-event-relay/event-relay/caddymodule"
)

func main() { caddycmd.Main() }
