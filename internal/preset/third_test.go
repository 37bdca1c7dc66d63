package preset_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/preset"
	"github.com/caddy-event-relay/event-relay/rules"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// doorbell is a sender that the program does not know: all that a new one takes.
// With it in the table of presets, nothing else changes.
var doorbell = preset.Preset{
	Name:     "doorbell",
	Events:   []event.Type{{Name: "rang", Description: "A visitor rang the bell"}, {Name: "opened"}},
	NameFrom: "body.what",
	Single:   "the bell posts one event at a time",
	Map: func(_ string, fields map[string]any) (m preset.Mapping) {
		m.Values[event.CallerID] = fields["visitor"]
		m.Values[event.UnixTime] = fields["at"]
		m.Not = []event.Parameter{event.Extension} // it is that of a picture's file
		return m
	},
	Holds: func(p event.Parameter) [][]string {
		if p == event.CallerID {
			return [][]string{{"visitor"}}
		}
		return nil
	},
	HandOver: func(s preset.Setup) (preset.Handover, error) {
		return preset.Handover{Document: []byte("Enter this URL in the bell's settings: " + s.URL + "\n")}, nil
	},
}

// TestThirdSender has a sender that stands nowhere but in this file receive an
// event, have it decided, and tell the other side what to do.
func TestThirdSender(t *testing.T) {
	preset.Add(t, doorbell)
	source := config.Source{Name: "gate", Preset: "doorbell", Auth: credentials(secret(auth.Bearer, "gate-token"))}
	l, err := language.New(language.Definitions{Sources: []language.Source{{Name: "gate"}}})
	if err != nil {
		t.Fatal(err)
	}
	ruleset, err := rules.New(l, []rules.Source{{Name: "gate", Events: receive.Known(source)}}, []config.Rule{
		{Events: []string{"rang"}, When: []string{`caller_id == "Ada" && date == "2026-03-13"`}, Do: []string{"open"}},
	}, []string{"open"})
	if err != nil {
		t.Fatal(err)
	}
	receiveOne := func(source config.Source) *event.Event {
		receiver, err := receive.New([]config.Source{source}, l, receive.Options{})
		if err != nil {
			t.Fatal(err)
		}
		const body = `{"what": "Rang", "visitor": "Ada", "at": 1773398517, "extension": "jpg"} {"what": "opened"}`
		request := httptest.NewRequest("POST", "/in", strings.NewReader(body))
		request.Header.Set("Authorization", "Bearer gate-token")
		received, err := receiver.Receive(request, receive.Origin{Mount: "/in"})
		if err != nil {
			t.Fatal(err)
		}
		if len(received.Events) != 1 {
			t.Fatalf("got %d events, want 1", len(received.Events))
		}
		return received.Events[0]
	}

	e := receiveOne(source)
	if e.Name != "rang" || e.Parameters[event.CallerID] != "Ada" || e.Parameters[event.Extension] != nil ||
		!strings.Contains(e.ParseError, "the bell posts one event at a time") {
		t.Errorf("it was read as %+v", e)
	}
	verdict := ruleset.Decide(l.Bind(e))
	if len(verdict.Actions) != 1 || verdict.Actions[0].Action != "open" {
		t.Errorf("the verdict is %+v", verdict)
	}

	redacting := source
	redacting.Redact = []string{"caller_id"}
	if e := receiveOne(redacting); e.Parameters[event.CallerID] != nil || strings.Contains(string(e.RawBody), "Ada") {
		t.Errorf("caller_id was not removed: %v, %s", e.Parameters[event.CallerID], e.RawBody)
	}

	setup := receive.Setup(source, "https://studio.example/in")
	handover, err := setup.Handover()
	if err != nil || !strings.Contains(string(handover.Document), "Enter this URL in the bell's settings: https://studio.example/in") {
		t.Errorf("what is handed over is %q, %v", handover.Document, err)
	}
	if try := setup.Try("rang"); !strings.Contains(try, `"what":"rang"`) {
		t.Errorf("the example is %s", try)
	}
	if names := preset.Names(); !slices.Contains(names, "doorbell") {
		t.Errorf("a Caddyfile may name only %v", names)
	}
}
