package caddymodule

import (
	"encoding/json"
	"reflect"

	"github.com/caddyserver/caddy/v2"
)

// siteAddresses returns the URL at which the events of each source come in
// under the configuration being provisioned, for those whose site has a host
// name, so that an administrator is shown an address that works. The http app
// may not be loaded yet, so its JSON is read.
func (a *App) siteAddresses(ctx caddy.Context) map[string]string {
	config := configOf(ctx)
	if !config.IsValid() {
		return nil
	}
	raw := config.FieldByName("AppsRaw").MapIndex(reflect.ValueOf("http"))
	if !raw.IsValid() {
		return nil
	}
	var sites httpApp
	if err := json.Unmarshal(raw.Bytes(), &sites); err != nil {
		return nil // the http app says what is wrong with it
	}
	addresses := make(map[string]string, len(a.Sources))
	for _, source := range a.Sources {
		if found := sites.addresses(source.Name); len(found) > 0 && found[0].origin != "" {
			addresses[source.Name] = found[0].origin + found[0].mount
		}
	}
	return addresses
}
