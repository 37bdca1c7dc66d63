package caddymodule

import (
	"encoding/json"
	"reflect"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
)

// sitesOf returns the http app of the configuration being provisioned. It may
// not be loaded yet, so its JSON is read.
func sitesOf(ctx caddy.Context) (found sites.Sites) {
	config := configOf(ctx)
	if !config.IsValid() {
		return sites.Sites{}
	}
	raw := config.FieldByName("AppsRaw").MapIndex(reflect.ValueOf("http"))
	if !raw.IsValid() {
		return sites.Sites{}
	}
	if err := json.Unmarshal(raw.Bytes(), &found); err != nil {
		return sites.Sites{} // the http app says what is wrong with it
	}
	return found
}

// siteAddresses returns the URL at which the events of each source come in, for
// those whose site has a host name, so that an administrator is shown an address
// that works.
func (a *App) siteAddresses(found sites.Sites) map[string]string {
	addresses := make(map[string]string, len(a.Sources))
	for _, source := range a.Sources {
		if best := found.Addresses(source.Name); len(best) > 0 && best[0].Origin != "" {
			addresses[source.Name] = best[0].URL()
		}
	}
	return addresses
}
