package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile"
	"github.com/caddy-event-relay/event-relay/internal/api"
)

func init() { caddy.RegisterModule(adminAPI{}) }

// adminAPI is the relay's part of Caddy's admin API, below /event_relay/. What
// there is stands in the README. It looks the relay up for each request: Caddy
// provisions the admin API before the apps, and keeps it over a reload that
// failed.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.event_relay",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// adminPath is where the relay's part of the admin API begins.
const adminPath = "/event_relay/"

// Routes returns the routes of the admin API: one, below which the API
// finds its own.
func (adminAPI) Routes() []caddy.AdminRoute {
	served := api.NewAdminAPI(findRelay)
	return []caddy.AdminRoute{{
		Pattern: adminPath,
		Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			err := served.Serve(w, r, strings.TrimPrefix(r.URL.Path, adminPath))
			var known *api.Error
			if errors.As(err, &known) {
				// Caddy's own form of errors, which `caddy` commands expect.
				return caddy.APIError{HTTPStatus: known.Status, Err: known.Err}
			}
			return err
		}),
	}}
}

// exit is done once Caddy exits. Caddy stops its apps in any order: calls must end
// whether the server or the relay is stopped first.
var exit, exiting = context.WithCancel(context.Background())

// findRelay finds the relay of the newest configuration.
func findRelay() (api.Running, error) {
	newest := generations.Newest()
	if newest == nil {
		return api.Running{}, api.ErrNoRelay
	}
	return api.Running{Runtime: newest.Runtime(), Ending: newest.Removed(), Exit: exit, ReadCaddyfile: caddyfile.Read}, nil
}

// Interface guards
var _ caddy.AdminRouter = (*adminAPI)(nil)
