package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

func init() { caddy.RegisterModule(new(adminProbe)) }

// adminProbe is an app that only notes what adminAddresses says of the
// configuration it is provisioned under.
type adminProbe struct{}

var probed []netip.AddrPort

func (*adminProbe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "event_relay_admin_probe", New: func() caddy.Module { return new(adminProbe) }}
}

func (*adminProbe) Provision(ctx caddy.Context) error {
	probed = adminAddresses(ctx)
	return nil
}

func (*adminProbe) Start() error { return nil }
func (*adminProbe) Stop() error  { return nil }

// TestAdminAddresses fails if Caddy's configuration changes shape: then no
// action would be kept from calling the admin API.
func TestAdminAddresses(t *testing.T) {
	for _, test := range []struct {
		name  string
		admin *caddy.AdminConfig
		want  []string
	}{
		{"nothing said", nil, []string{"127.0.0.1:2019", "[::1]:2019"}},
		{"an address", &caddy.AdminConfig{Listen: "127.0.0.1:2999"}, []string{"127.0.0.1:2999"}},
		{"a name that is no address", &caddy.AdminConfig{Listen: "relay.example:2999"}, []string{"0.0.0.0:2999"}},
		{"all addresses", &caddy.AdminConfig{Listen: ":2999"}, []string{"0.0.0.0:2999"}},
		{"a Unix socket", &caddy.AdminConfig{Listen: "unix//run/caddy-admin.sock|0600"}, nil},
		{"off", &caddy.AdminConfig{Disabled: true}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			probed = nil
			config := &caddy.Config{Admin: test.admin, AppsRaw: caddy.ModuleMap{"event_relay_admin_probe": json.RawMessage("{}")}}
			if err := caddy.Validate(config); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, address := range probed {
				got = append(got, address.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestAdminRoutes registers the routes as Caddy does: patterns that clash
// panic there.
func TestAdminRoutes(t *testing.T) {
	mux := http.NewServeMux()
	for _, route := range new(adminAPI).Routes() {
		mux.Handle(route.Pattern, http.NotFoundHandler())
	}
}

// provisioned returns an app that was provisioned with its queue in directory.
func provisioned(t *testing.T, directory string, actions ...config.Action) *App {
	t.Helper()
	ctx, err := caddy.ProvisionContext(new(caddy.Config))
	if err != nil {
		t.Fatal(err)
	}
	app := &App{Relay: config.Relay{
		Queue:   &config.Queue{Directory: directory},
		Sources: []config.Source{{Name: "icfm", Preset: "icfm", Auth: []config.Credential{{Kind: "bearer", Values: []string{"t"}}}}},
		Actions: actions,
	}}
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return app
}

// TestAppsComeAndGo is about the order in which Caddy starts and stops the apps
// of two configurations.
func TestAppsComeAndGo(t *testing.T) {
	directory := t.TempDir()
	inService := func(when string, app *App) {
		t.Helper()
		var want *relay.Generation
		if app != nil {
			want = app.generation
		}
		if generations.Newest() != want {
			t.Errorf("%s, the wrong generation is the newest", when)
		}
	}
	first := provisioned(t, directory)
	inService("before Start", nil)
	must(t, first.Start())
	inService("after Start", first)

	// A configuration that fails to start after this app: Stop, then Cleanup.
	failing := provisioned(t, directory)
	must(t, failing.Start())
	inService("while another starts", failing)
	if first.generation.Runtime() != failing.generation.Runtime() {
		t.Error("two generations of one queue have two runtimes")
	}
	must(t, failing.Stop())
	must(t, failing.Cleanup())
	must(t, failing.Cleanup())
	inService("after the other failed", first)

	// A configuration that was provisioned and never started.
	must(t, provisioned(t, directory).Cleanup())
	inService("after another was only tried", first)

	second := provisioned(t, directory)
	must(t, second.Start())
	must(t, first.Stop())
	must(t, first.Cleanup())
	inService("after a reload", second)
	must(t, second.Stop())
	inService("after the last Stop", nil)
	if err := second.generation.Runtime().Unavailable(); err != nil {
		t.Errorf("between Stop and Cleanup the queue is closed: %v", err)
	}
	must(t, second.Cleanup())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
