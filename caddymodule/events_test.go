package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
)

func init() {
	caddy.RegisterModule(new(eventProbe))
	caddy.RegisterModule(new(stubbornApp))
}

// eventProbe is a handler of Caddy's events that notes what it is told.
type eventProbe struct {
	// Name tells the probes of different configurations apart.
	Name    string `json:"name"`
	cleaned bool
}

// told is what the probes were told.
var told struct {
	sync.Mutex
	events []toldEvent
}

type toldEvent struct {
	probe, event, origin string
	data                 map[string]any
	late                 bool
}

func (*eventProbe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.event_relay_probe", New: func() caddy.Module { return new(eventProbe) }}
}

func (p *eventProbe) Handle(ctx context.Context, event caddy.Event) error {
	told.Lock()
	defer told.Unlock()
	told.events = append(told.events, toldEvent{p.Name, event.Name(), event.Origin().CaddyModule().ID.Name(), event.Data, p.cleaned || ctx.Err() != nil})
	return nil
}

func (p *eventProbe) Cleanup() error {
	told.Lock()
	defer told.Unlock()
	p.cleaned = true
	return nil
}

func takeTold() []toldEvent {
	told.Lock()
	defer told.Unlock()
	events := told.events
	told.events = nil
	return events
}

// stubbornApp does not start.
type stubbornApp struct{}

func (*stubbornApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "event_relay_stubborn", New: func() caddy.Module { return new(stubbornApp) }}
}

func (*stubbornApp) Start() error { return errors.New("it does not want to") }
func (*stubbornApp) Stop() error  { return nil }

// loadProbe runs Caddy with a relay, a probe and further apps.
func loadProbe(probe, directory, apps string) error {
	return caddy.Load(fmt.Appendf(nil, `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {
		"events": {"subscriptions": [{"events": ["event_relay_failed"], "modules": ["event_relay"],
			"handlers": [{"handler": "event_relay_probe", "name": %q}]}]}, %s
		"event_relay": {"queue": {"directory": %q}, "sources": [{"name": "erp", "auth": [{"kind": "none"}]}]}}}`,
		probe, apps, directory), true)
}

// TestEventsReachTheConfigurationInForce emits before, between and after
// configurations, as deliveries do, which know of none.
func TestEventsReachTheConfigurationInForce(t *testing.T) {
	directory := t.TempDir()
	load := func(probe, apps string) error { return loadProbe(probe, directory, apps) }
	expect := func(when string, want string) {
		t.Helper()
		emit("event_relay_failed", map[string]any{"action": "notify"})
		events := takeTold()
		if want == "" && len(events) == 0 {
			return
		}
		if len(events) != 1 || events[0].probe != want || events[0].event != "event_relay_failed" || events[0].late ||
			events[0].origin != appName || events[0].data["action"] != "notify" {
			t.Errorf("%s: told %+v, want the probe %q", when, events, want)
		}
	}
	t.Cleanup(func() { _ = caddy.Stop() })

	expect("before any configuration", "")
	must(t, load("first", ""))
	expect("with the first configuration", "first")
	must(t, load("second", ""))
	expect("after a reload", "second")
	if err := load("third", `"event_relay_stubborn": {},`); err == nil {
		t.Fatal("a configuration with an app that does not start was loaded")
	}
	expect("after a failed reload", "second")
	must(t, caddy.Load(json.RawMessage(`{"admin": {"disabled": true, "config": {"persist": false}}}`), true))
	expect("without a relay", "")

	// Something happens while reloads go on.
	stop := make(chan struct{})
	var emitting sync.WaitGroup
	emitting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				emit("event_relay_failed", map[string]any{"action": "notify"})
				time.Sleep(time.Millisecond)
			}
		}
	})
	for i := range 10 {
		name := fmt.Sprint("again ", i)
		must(t, load(name, ""))
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if events := takeTold(); len(events) > 0 && events[len(events)-1].probe == name {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("nobody was told anything after reload %d", i)
			}
		}
	}
	must(t, caddy.Stop())
	close(stop)
	emitting.Wait()
	takeTold()
	expect("after the end", "")
}

// TestEventsWaitForCaddyToStart emits when the relay has started and Caddy has
// not: its events app must not be used before it has started.
func TestEventsWaitForCaddyToStart(t *testing.T) {
	directory := t.TempDir()
	early := provisioned(t, directory)
	must(t, early.Start())
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		emit("event_relay_failed", map[string]any{"action": "notify"})
	}()
	must(t, loadProbe("only", directory, ""))
	<-emitted
	if events := takeTold(); len(events) != 1 || events[0].probe != "only" {
		t.Errorf("told %+v", events)
	}
	must(t, caddy.Stop())

	// Nobody is kept waiting for a configuration that is given up.
	emitted = make(chan struct{})
	go func() {
		defer close(emitted)
		emit("event_relay_failed", nil)
	}()
	must(t, early.Stop())
	must(t, early.Cleanup())
	<-emitted
}

// TestEventsTellOfDeliveries has a delivery fail because its target is not
// there.
func TestEventsTellOfDeliveries(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := nobody.Addr().String()
	must(t, nobody.Close())
	t.Cleanup(func() { _ = caddy.Stop() })
	must(t, caddy.Load(fmt.Appendf(nil, `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {
		"events": {"subscriptions": [{"modules": ["event_relay"], "handlers": [{"handler": "event_relay_probe", "name": "all"}]}]},
		"event_relay": {"queue": {"directory": %q}, "sources": [{"name": "erp", "auth": [{"kind": "none"}], "events": [{"name": "paid"}]}],
			"actions": [{"name": "notify", "url": "http://%s/", "retry_for": -1}], "rules": [{"events": ["paid"], "do": ["notify"]}]}}}`,
		t.TempDir(), address), true))
	request := httptest.NewRequest("POST", "/paid", strings.NewReader(`{"secret": "payload"}`))
	received, err := generations.Ingest(generations.Newest(), request, receive.Origin{})
	must(t, err)

	data := make(map[string]map[string]any)
	for deadline := time.Now().Add(30 * time.Second); len(data) < 2; time.Sleep(time.Millisecond) {
		for _, event := range takeTold() {
			if event.origin == appName {
				data[event.event] = event.data
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("only told of %v", data)
		}
	}
	if down := data["event_relay_target_down"]; down["target"] != "http://"+address || down["action"] != "notify" || down["since"] == nil || down["error"] == nil {
		t.Errorf("told of a target: %v", down)
	}
	failed := data["event_relay_failed"]
	about, _ := failed["event"].(map[string]any)
	if failed["action"] != "notify" || failed["target"] != "http://"+address || failed["delivery"] == "" || failed["attempts"] != 1 ||
		about["id"] != received.Events[0].ID || about["source"] != "erp" || about["name"] != "paid" {
		t.Errorf("told of a delivery: %v", failed)
	}
	if strings.Contains(fmt.Sprint(data), "payload") {
		t.Errorf("what came with an event is told: %v", data)
	}
}

// Interface guards
var (
	_ caddyevents.Handler = (*eventProbe)(nil)
	_ caddy.CleanerUpper  = (*eventProbe)(nil)
	_ caddy.App           = (*stubbornApp)(nil)
)
