package rules

import (
	"slices"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

func TestHeld(t *testing.T) {
	always := config.Rule{Place: "f:1", Events: []string{"project_created"}, Do: []string{"tell"}}
	other := config.Rule{Place: "f:2", Events: []string{"icfm:*"}, Do: []string{"tell", "screen_pop"}}
	same := always
	same.Place = "f:9"
	never := config.Rule{Place: "f:3", Events: []string{"*"}, When: []string{"body.x == 1"}, Do: []string{"tell"}}
	fails := config.Rule{Place: "f:4", Events: []string{"*"}, When: []string{`body.n > 30`}, Do: []string{"tell"}}
	ignore := config.Rule{Place: "f:5", Events: []string{"*"}, Ignore: true, Reason: "why"}
	inactive := config.Rule{Place: "f:6", Events: []string{"*"}, Do: []string{"create_folder"}, Disabled: true}
	for _, test := range []struct {
		name        string
		rules, held []config.Rule
	}{
		{"none", nil, nil},
		{"none holds", []config.Rule{never, fails, inactive}, nil},
		{"one", []config.Rule{never, always, fails}, []config.Rule{always}},
		{"also one whose action was asked for before", []config.Rule{other, always}, []config.Rule{other, always}},
		{"two that say the same are one", []config.Rule{always, other, same}, []config.Rule{always, other}},
		{"ignore", []config.Rule{never, ignore, always}, []config.Rule{ignore}},
		{"ignore after actions", []config.Rule{always, ignore, other}, []config.Rule{always, ignore}},
	} {
		l := newLanguage(t, language.Definitions{})
		s, err := New(l, rulesSources, test.rules, rulesActions)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, rule := range test.held {
			want = append(want, ID(rule))
		}
		e := &event.Event{Source: "icfm", Name: "project_created", Body: map[string]any{"n": "45"}}
		for range 2 { // the second must not see anything of the first
			got := s.Decide(l.Bind(e))
			if !slices.Equal(got.Held, want) {
				t.Errorf("%s: held are %v, want %v", test.name, got.Held, want)
			}
		}
	}
}

func TestID(t *testing.T) {
	rule := config.Rule{Place: "Caddyfile:12", Events: []string{"icfm:project_created", "hangup"}, When: []string{"body.n > 1", "tenant != nil"}, Do: []string{"tell", "screen_pop"}}
	for name, change := range map[string]func(r *config.Rule){
		"nothing":                 func(*config.Rule) {},
		"place":                   func(r *config.Rule) { r.Place = "relay.d/a.caddy:3" },
		"description":             func(r *config.Rule) { r.Description = "what it is for" },
		"active off":              func(r *config.Rule) { r.Disabled = true },
		"order of events":         func(r *config.Rule) { r.Events = []string{"hangup", "icfm:project_created", "hangup"} },
		"spelling of events":      func(r *config.Rule) { r.Events = []string{"icfm:Project Created", "Hangup"} },
		"blanks around condition": func(r *config.Rule) { r.When = []string{" body.n > 1\n", "tenant != nil"} },
		"an action twice":         func(r *config.Rule) { r.Do = []string{"tell", "screen_pop", "tell"} },
	} {
		other := rule
		if change(&other); ID(other) != ID(rule) {
			t.Errorf("%s makes another rule of it", name)
		}
	}
	seen := map[string]string{ID(rule): "the rule"}
	for name, change := range map[string]func(r *config.Rule){
		"another event":           func(r *config.Rule) { r.Events = []string{"icfm:project_created"} },
		"another source":          func(r *config.Rule) { r.Events = []string{"pbx:project_created", "hangup"} },
		"another condition":       func(r *config.Rule) { r.When = []string{"body.n > 2", "tenant != nil"} },
		"a condition less":        func(r *config.Rule) { r.When = r.When[:1] },
		"blanks in a condition":   func(r *config.Rule) { r.When = []string{"body.n  > 1", "tenant != nil"} },
		"another action":          func(r *config.Rule) { r.Do = []string{"tell"} },
		"ignore":                  func(r *config.Rule) { r.Do, r.Ignore = nil, true },
		"event and condition":     func(r *config.Rule) { r.Events, r.When = append(r.When, r.Events...), nil },
		"a name with a quote":     func(r *config.Rule) { r.Do = []string{`tell","screen_pop`} },
		"neither do nor a reason": func(r *config.Rule) { r.Do = nil },
	} {
		other := rule
		change(&other)
		id := ID(other)
		if first, twice := seen[id]; twice {
			t.Errorf("%s gives the same id as %s", name, first)
		}
		seen[id] = name
	}
	if len(ID(rule)) != 12 {
		t.Errorf("the id is %q", ID(rule))
	}
}
