package rules

import (
	"fmt"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/rules/language"
	"testing"
)

func TestByEvent(t *testing.T) {
	language, err := language.New(language.Definitions{})
	if err != nil {
		t.Fatal(err)
	}
	ruleset, err := New(language, rulesSources, []config.Rule{
		{Events: []string{"project_*", "project_created"}, Do: []string{"tell"}},
		{Events: []string{"pbx:hangup"}, Disabled: true, Ignore: true},
		{Events: []string{"*", "icfm:unknown"}, Do: []string{"tell"}},
	}, rulesActions)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, event := range ruleset.ByEvent() {
		got[event.Source+":"+event.Event] = fmt.Sprint(event.Rules)
	}
	for name, want := range map[string]string{
		"icfm:project_created": "[0 2]", "icfm:dmg_work_started": "[2]", "icfm:Order.Paid": "[2]", "icfm:hangup": "[2]",
		"pbx:hangup": "[1 2]", "pbx:incoming_call": "[2]", "icfm:unknown": "[2]", "pbx:unknown": "",
	} {
		if got[name] != want {
			t.Errorf("%s has rules %s, want %s", name, got[name], want)
		}
	}
}
