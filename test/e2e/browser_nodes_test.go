package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/console"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// TestBrowserNodes: of several nodes that share a queue the console lists each, and says
// when they run different things.
func TestBrowserNodes(t *testing.T) {
	t.Parallel()
	browserContext(t)
	script := axe(t)
	shared, service := relaytest.NewNodes(t), relaytest.NewService(t)
	configured := func(name, version string) relay.Configuration {
		configuration := relaytest.Configuration(service, "/"+name)
		configuration.Actions[0].Description = name
		configuration.Version = version
		var err error
		if configuration.Snapshot, err = resolve.Snapshot(configuration.Relay); err != nil {
			t.Fatal(err)
		}
		return configuration
	}
	shared.SetClock("south", -time.Hour)
	var runtimes []*relay.Runtime
	var generation *relay.Generation
	for _, name := range []string{"north", "south", "west"} {
		runtimes = append(runtimes, shared.Open(t, name))
		generation = relaytest.Push(t, runtimes[len(runtimes)-1], configured("old", "v1.2.0"))
	}
	id := relaytest.Post(t, runtimes[2], generation, relaytest.Approved)
	relaytest.Push(t, runtimes[1], configured("new", "v1.3.0"))
	shared.Vanish("west", time.Now().Add(-time.Minute))
	alone := relaytest.Open(t, t.TempDir())
	relaytest.Push(t, alone, configured("old", "v1.2.0"))
	var asked atomic.Pointer[relay.Runtime]
	asked.Store(runtimes[0])
	ending := make(chan struct{})
	page := httptest.NewServer(console.New(console.Options{
		Find:   func() (api.Running, error) { return api.Running{Runtime: asked.Load(), Ending: ending}, nil },
		Client: func(*http.Request) (netip.Addr, bool) { return netip.MustParseAddr("127.0.0.1"), true },
	}))
	t.Cleanup(page.Close)
	t.Cleanup(func() { close(ending) })

	p := openTab(t, page.URL, lightDesk, "#/settings")
	p.sees(test("node"), "north (this one): v1.2.0, configuration")
	p.sees(test("node"), "south: v1.3.0, another configuration,")
	p.sees(test("node"), "its clock is 1 h behind that of the database")
	p.sees(test("node"), "west vanished: its last sign of life was")
	for _, warning := range []string{"node west vanished at", "node south runs another configuration than this one, north", "different versions of the relay"} {
		p.sees(test("health"), warning)
	}
	p.until("what each node loaded", visible(test("snapshot"), "in force")+`.length === 3`)
	p.checksLooks("nodes", script)
	p.visit("#/event/" + id)
	p.sees(".subline", "by west")

	// The page leaves the event first: it would ask for it again, and the relay
	// that is alone has no such event.
	p.visit("#/settings")
	p.until("what each node loaded, again", visible(test("snapshot"), "in force")+`.length === 3`)
	asked.Store(alone)
	p.visit("#/")
	p.gone(test("snapshot"), "in force")
	p.visit("#/settings")
	p.until("the one configuration", visible(test("snapshot"), "in force")+`.length === 1`)
	p.gone(test("nodes"), "")
}
