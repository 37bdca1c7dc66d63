// Command caddy is Caddy with its standard modules and Event Relay.
package main

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-event-relay/event-relay/caddymodule"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

func main() {
	// Caddy puts this before its own version in what `caddy version` prints.
	if version := caddymodule.Version(); version != "" && caddy.CustomVersion == "" {
		caddy.CustomVersion = "event-relay/" + version
	}
	// Beside a packaged Caddy the program has another name, and help and completions
	// must have that one.
	if caddy.CustomBinaryName == "" {
		caddy.CustomBinaryName = names.Program()
	}
	caddycmd.Main()
}
