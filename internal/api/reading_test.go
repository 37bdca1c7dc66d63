package api_test

import (
	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile"
	"github.com/caddy-event-relay/event-relay/internal/api"
)

func init() { api.ReadCaddyfile = caddyfile.Read }
