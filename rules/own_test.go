package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// TestOwnSource: what the relay says of itself is found by name, and never by
// a rule that means everything which comes from outside.
func TestOwnSource(t *testing.T) {
	sources := []Source{
		{Name: "relay", Own: true, Events: []event.Type{{Name: "target_down"}, {Name: "hangup"}}},
		{Name: "pbx", Events: []event.Type{{Name: "incoming_call"}, {Name: "hangup"}}},
	}
	l, err := language.New(language.Definitions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		rule, source, event string
		names               bool
	}{
		{"*", "pbx", "incoming_call", true},
		{"*", "relay", "target_down", false},
		{"relay:*", "relay", "target_down", true},
		{"relay:target_*", "relay", "target_down", true},
		{"target_down", "relay", "target_down", true},
		{"relay:target_down", "relay", "target_down", true},
		{"hangup", "pbx", "hangup", true},
		{"hangup", "relay", "hangup", false},
		{"relay:hangup", "relay", "hangup", true},
		{"unknown", "pbx", "unknown", true},
		{"unknown", "relay", "unknown", false},
	} {
		ruleset, err := New(l, sources, []config.Rule{{Events: []string{test.rule}, Do: []string{"tell"}}}, []string{"tell"})
		if err != nil {
			t.Errorf("on %s: %v", test.rule, err)
			continue
		}
		verdict := ruleset.Decide(l.Bind(&event.Event{Source: test.source, Name: test.event}))
		if got := verdict.Decision == Act; got != test.names {
			t.Errorf("on %s, %s:%s is %+v, want it named: %v", test.rule, test.source, test.event, verdict, test.names)
		}
	}
	_, err = New(l, sources, []config.Rule{{Events: []string{"relay:target_dwon"}, Ignore: true}}, nil)
	if text := fmt.Sprint(err); !strings.Contains(text, "did you mean target_down?") || strings.Contains(text, "add: event") {
		t.Errorf("a misspelt event: %v", err)
	}
	if _, err := New(l, sources, []config.Rule{{Events: []string{"target_*"}, Ignore: true}}, nil); err == nil {
		t.Error("a glob that matches only the relay's own events was taken")
	}
}
