// Command caddy is Caddy with its standard modules and Event Relay.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"
	_ "zombiezen.com/go/sqlite"
	_ "github.com/expr-lang/expr"
	_ "github.com/google/uuid"
	_ "golang.org/x/net/html/charset"
	_ "golang.org/x/text/encoding"
)

func main() { caddycmd.Main() }
