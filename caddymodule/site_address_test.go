package caddymodule

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

func init() { caddy.RegisterModule(new(siteProbe)) }

// siteProbe is an app that only notes what siteAddresses says of the
// configuration it is provisioned under.
type siteProbe struct{}

var (
	probedSites map[string]string
	sitesProbed bool
)

func (*siteProbe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "event_relay_site_probe", New: func() caddy.Module { return new(siteProbe) }}
}

func (*siteProbe) Provision(ctx caddy.Context) error {
	probedSites = (&App{Relay: config.Relay{Sources: []config.Source{{Name: "icfm"}, {Name: "pbx"}}}}).siteAddresses(sitesOf(ctx))
	sitesProbed = true
	return nil
}

func (*siteProbe) Start() error { return nil }
func (*siteProbe) Stop() error  { return nil }

// TestSiteAddresses fails if Caddy's configuration changes shape: then the
// console could not tell where events come in.
func TestSiteAddresses(t *testing.T) {
	const site = `{"servers": {"a": {"listen": [":443"], "routes": [{"match": [{"host": ["events.studio.example"]}],
		"handle": [{"handler": "event_relay", "path": "/listen.php", "sources": ["icfm"]}]}]}}}`
	const anyHost = `{"servers": {"a": {"listen": [":80"], "routes": [{"handle": [{"handler": "event_relay"}]}]}}}`
	for _, test := range []struct {
		name, http string
		want       map[string]string
	}{
		{"a host name", site, map[string]string{"icfm": "https://events.studio.example/listen.php"}},
		{"a site for any host", anyHost, nil},
		{"no http app", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			// Caddy loads apps in any order, and the http app fails, because its
			// handlers have no relay. So it takes some tries until the probe is first.
			sitesProbed = false
			for tries := 0; !sitesProbed; tries++ {
				if tries == 100 {
					t.Fatal("the probe was never loaded")
				}
				apps := caddy.ModuleMap{"event_relay_site_probe": json.RawMessage("{}")}
				if test.http != "" {
					apps["http"] = json.RawMessage(test.http)
				}
				_ = caddy.Validate(&caddy.Config{AppsRaw: apps})
			}
			if !maps.Equal(probedSites, test.want) {
				t.Errorf("got %v, want %v", probedSites, test.want)
			}
		})
	}
}
