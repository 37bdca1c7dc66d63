package rules

import (
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/rules/language"
	"slices"
	"strings"
	"testing"
)

func TestDecideByTenant(t *testing.T) {
	definitions := language.Definitions{Parameters: []config.Parameter{
		{Name: "on", Value: "no", Tenants: map[string]string{"200": "yes"}},
		{Name: "only", Tenants: map[string]string{"200": "two"}},
	}}
	l := newLanguage(t, definitions)
	rule := func(when string) []config.Rule {
		return []config.Rule{{Place: "f:1", Events: []string{"project_status_change"}, When: []string{when}, Do: []string{"tell"}}}
	}
	for when, want := range map[string]map[string]Verdict{
		`on == "yes"`:   {"200": {Decision: Act}, "300": {Decision: Ignored}, "": {Decision: Ignored}},
		`only == "two"`: {"200": {Decision: Act}, "300": {Decision: Ignored, Absent: []string{"only"}}},
	} {
		s, err := New(l, rulesSources, rule(when), []string{"tell"})
		if err != nil {
			t.Fatal(err)
		}
		for tenant, want := range want {
			e := eventtest.Typical(t)
			e.Parameters[event.Tenant] = tenant
			if got := s.Decide(l.Bind(e)); got.Decision != want.Decision || !slices.Equal(got.Absent, want.Absent) {
				t.Errorf("`%s` for %q: %+v", when, tenant, got)
			}
		}
	}
	for when, want := range map[string]string{
		`only`:                              "for tenant 200: the condition `only` is text, but must be true or false",
		`on == "yes" ? true : "no"`:         "the condition `on == \"yes\" ? true : \"no\"` is text, but must be true or false",
		`on == "yes" ? nil : true`:          "for tenant 200: the condition `on == \"yes\" ? nil : true` is nothing",
		`only == "two" ? 1 : only == "two"`: "for tenant 200: the condition",
	} {
		if _, err := New(l, rulesSources, rule(when), []string{"tell"}); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), ", at f:1") {
			t.Errorf("`%s`: %v", when, err)
		}
	}
}
