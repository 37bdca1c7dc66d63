package caddymodule

import (
	"encoding/json"
	"reflect"

	"github.com/caddyserver/caddy/v2"
)

// sitesOf returns the http app of the configuration being provisioned. It may
// not be loaded yet, so its JSON is read.
func sitesOf(ctx caddy.Context) (sites httpApp) {
	config := configOf(ctx)
	if !config.IsValid() {
		return httpApp{}
	}
	raw := config.FieldByName("AppsRaw").MapIndex(reflect.ValueOf("http"))
	if !raw.IsValid() {
		return httpApp{}
	}
	if err := json.Unmarshal(raw.Bytes(), &sites); err != nil {
		return httpApp{} // the http app says what is wrong with it
	}
	return sites
}

// siteAddresses returns the URL at which the events of each source come in, for
// those whose site has a host name, so that an administrator is shown an address
// that works.
func (a *App) siteAddresses(sites httpApp) map[string]string {
	addresses := make(map[string]string, len(a.Sources))
	for _, source := range a.Sources {
		if found := sites.addresses(source.Name); len(found) > 0 && found[0].origin != "" {
			addresses[source.Name] = found[0].origin + found[0].mount
		}
	}
	return addresses
}
