package relay

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestTimezoneOfTheRelay: the zone of a configuration is in force in its rules, its
// own events and its sources, unless a source has one of its own. It changes how a
// stored event is decided, and nothing of what is stored.
func TestTimezoneOfTheRelay(t *testing.T) {
	// In the evening in London, in the afternoon in New York, in the small hours of
	// Saturday in Tokyo.
	at := time.Date(2026, 7, 17, 20, 30, 0, 0, time.UTC)
	compiled := func(zone string) *Generation {
		t.Helper()
		configuration := Configuration{At: at, Relay: config.Relay{
			Sources: []config.Source{
				{Name: "here", Auth: []config.Credential{{Kind: "none"}}, Events: []config.EventType{{Name: "x"}}},
				{Name: "york", Auth: []config.Credential{{Kind: "none"}}, Events: []config.EventType{{Name: "y"}}, Timezone: "America/New_York"},
			},
			Actions: []config.Action{{Name: "night", URL: "http://127.0.0.1/"}},
			Rules:   []config.Rule{{Events: []string{"*"}, When: []string{"received.Hour() >= 21"}, Do: []string{"night"}}},
		}}
		if zone != "" {
			location, err := config.Timezone(zone)
			if err != nil {
				t.Fatal(err)
			}
			configuration.Zone = location
		}
		g, err := Compile(configuration)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for zone, want := range map[string]struct {
		here, york, own string
		decision        rules.Decision
	}{
		"":              {"2026-07-17 20:30:00", "2026-07-17 16:30:00", "2026-07-17 20:30:00", rules.Ignored},
		"Europe/London": {"2026-07-17 21:30:00", "2026-07-17 16:30:00", "2026-07-17 21:30:00", rules.Act},
		"Asia/Tokyo":    {"2026-07-18 05:30:00", "2026-07-17 16:30:00", "2026-07-18 05:30:00", rules.Ignored},
	} {
		g := compiled(zone)
		receiveFrom := func(source, name string) *event.Event {
			t.Helper()
			request, err := http.NewRequest(http.MethodPost, "http://relay/", strings.NewReader(`{"event":"`+name+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			received, err := g.Receiver.ReceiveAs(source, request, receive.Origin{Mount: "/"})
			if err != nil {
				t.Fatal(err)
			}
			return received.Events[0]
		}
		shown := func(e *event.Event) string {
			return fmt.Sprint(e.Parameters[event.Date], " ", e.Parameters[event.Time])
		}
		here, york := receiveFrom("here", "x"), receiveFrom("york", "y")
		own, err := g.OwnEvent(SourceQuiet, at, map[string]any{"since": g.moment(at)})
		if err != nil {
			t.Fatal(err)
		}
		if shown(here) != want.here || shown(york) != want.york || shown(own) != want.own {
			t.Errorf("in %q the times are %s, %s and %s; want %+v", zone, shown(here), shown(york), shown(own), want)
		}
		for _, e := range []*event.Event{here, york} {
			if got := g.decide(e, 0).Verdict; got.Decision != want.decision || len(got.Errors) > 0 {
				t.Errorf("in %q the verdict on %s is %+v, want %s", zone, e.Source, got, want.decision)
			}
			if e.Received != at || e.Parameters[event.UnixTime] != at.Unix() {
				t.Errorf("in %q the event of %s was received at %v, unix time %v", zone, e.Source, e.Received, e.Parameters[event.UnixTime])
			}
		}
		// A body of an own event names the offset, and so the instant.
		since := own.Body.(map[string]any)["since"].(string)
		if back, err := time.Parse(time.RFC3339, since); err != nil || !back.Equal(at) || since[:10] != want.own[:10] {
			t.Errorf("in %q an own event says since %s", zone, since)
		}
	}

	// What one configuration stored, another decides by its own clock.
	e := &event.Event{Source: "here", Name: "x", Received: at}
	if first, second := compiled("Europe/London").decide(e, 0).Verdict, compiled("").decide(e, 0).Verdict; first.Decision != rules.Act || second.Decision != rules.Ignored {
		t.Errorf("the verdicts on one event in two zones are %s and %s", first.Decision, second.Decision)
	}
}

// TestSwitchesNameTheZone: the reason is stored with each event, and must not change
// its meaning with the zone of the relay.
func TestSwitchesNameTheZone(t *testing.T) {
	london, err := config.Timezone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 7, 17, 20, 30, 0, 0, time.UTC)
	off := newSwitchedOff([]queue.Switch{{Kind: queue.SwitchAll, Off: true, Since: since, Until: since.Add(time.Hour)}}, since)
	for zone, want := range map[*time.Location]string{
		london:   "everything switched off since 2026-07-17 21:30 BST until 2026-07-17 22:30 BST",
		time.UTC: "everything switched off since 2026-07-17 20:30 UTC until 2026-07-17 21:30 UTC",
	} {
		if got := off.reason(&event.Event{}, zone); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
