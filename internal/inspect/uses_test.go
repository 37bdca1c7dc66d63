package inspect

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// TestUses: counts are shown wherever events, rules and actions are listed, stay over
// a restart, and follow a rule that moves to another line.
func TestUses(t *testing.T) {
	dir := t.TempDir()
	runtime := relaytest.Open(t, dir)
	generation := relaytest.Push(t, runtime, listedConfiguration())
	pausePay(t, runtime)
	held := orderPaid(t, generation, `{"data":{"id":7,"sum":4,"state":"paid"}}`)
	test := orderPaid(t, generation, `{"data":{"id":8,"sum":4,"state":"paid"}}`)
	test.Test = true
	not := orderPaid(t, generation, `{"data":{"id":9,"sum":0,"state":"open"}}`)
	relaytest.Accept(t, runtime, generation, held, test, not)

	check := func(place string) {
		t.Helper()
		for _, source := range Catalogue(t.Context(), runtime) {
			for _, event := range source.Events {
				if event.Used == nil || event.Used.Since.IsZero() {
					t.Fatalf("%s:%s has no uses", source.Source, event.Name)
				}
				if event.Name != "order_paid" {
					if event.Used.Count != 0 {
						t.Errorf("%s came %d times", event.Name, event.Used.Count)
					}
					continue
				}
				if event.Used.Count != 2 || !event.Used.Last.Equal(not.Received.Truncate(time.Microsecond)) {
					t.Errorf("the event was used %+v", event.Used)
				}
				if rule := event.Rules[0]; rule.Place != place || rule.Used == nil || rule.Used.Count != 1 || rule.LastEvent.IsZero() || rule.Idle != "" {
					t.Errorf("its rule is %+v, used %+v", rule, rule.Used)
				}
			}
		}
		rules, err := Rules(t.Context(), runtime)
		if err != nil || len(rules) != 4 || rules[0].Used.Count != 1 || rules[1].Used.Count != 0 || rules[0].ID == rules[1].ID || len(rules[0].Events) != 1 {
			t.Errorf("the rules are %+v, %v", rules, err)
		}
		actions, err := Actions(t.Context(), runtime)
		if err != nil || actions[0].Used.Count != 1 || actions[0].Ended == nil || actions[1].Used.Count != 0 {
			t.Errorf("the actions are %+v, %v", actions, err)
		}
	}
	check("Caddyfile:30")
	if err := runtime.Close(); err != nil {
		t.Fatal(err)
	}
	runtime = relaytest.Open(t, dir)
	moved := listedConfiguration()
	moved.Rules[0].Place, moved.Rules[0].Description = "Caddyfile:300", "Another text"
	relaytest.Push(t, runtime, moved)
	check("Caddyfile:300")

	// A rule that says something else begins anew.
	other := listedConfiguration()
	other.Rules[0].When[0] = "body.data.sum > 1"
	relaytest.Push(t, runtime, other)
	if rules, err := Rules(t.Context(), runtime); err != nil || rules[0].Used.Count != 0 || !rules[0].LastEvent.IsZero() {
		t.Errorf("the rules are %+v, %v", rules, err)
	}
}

// pausePay keeps the deliveries of listedConfiguration waiting: their target is not
// there, and each failure would be an event.
func pausePay(t *testing.T, runtime *relay.Runtime) {
	t.Helper()
	if _, err := runtime.Turn(t.Context(), queue.Switch{Kind: queue.SwitchAction, Name: "pay", Off: true}, 0); err != nil {
		t.Fatal(err)
	}
}

func TestIdleRules(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, listedConfiguration())
	pausePay(t, runtime)
	notes := func(after time.Duration) string {
		t.Helper()
		notes, err := noteIdle(t.Context(), runtime, generation, time.Now().Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(notes, "\n")
	}
	const day = 24 * time.Hour
	want := func(after time.Duration, parts ...string) {
		t.Helper()
		got := notes(after)
		if len(parts) == 0 && got != "" {
			t.Errorf("after %v: %s", after, got)
		}
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("after %v it lacks %q:\n%s", after, part, got)
			}
		}
		if n := len(strings.Split(got, "\n")); len(parts) > 0 && n != len(parts) {
			t.Errorf("after %v there are %d notes:\n%s", after, n, got)
		}
	}
	want(0)
	want(2 * day) // new, and no event came
	want(8*day,
		"rule Caddyfile:30: it never held since it was loaded on ",
		"rule Caddyfile:34: it never held since it was loaded on ",
		"because no event of its came (relay:*, icfm:unknown)") // Caddyfile:38 is inactive
	paid := orderPaid(t, generation, `{"data":{"id":9,"sum":0,"state":"open"}}`)
	relaytest.Accept(t, runtime, generation, paid)
	want(time.Hour) // new
	want(2*day, "and events of its came, the last on ")
	want(2*day, "to see which condition does not hold: caddy event-relay explain "+paid.ID)
	relaytest.Accept(t, runtime, generation, orderPaid(t, generation, `{"data":{"id":9,"sum":1,"state":"paid"}}`))
	want(2 * day)
	want(8*day, "Caddyfile:34", "Caddyfile:40")

	rules, err := Rules(t.Context(), runtime)
	if err != nil {
		t.Fatal(err)
	}
	for i, rule := range rules {
		if rule.Idle != "" {
			t.Errorf("rule %d is marked as %s right away", i, rule.Idle)
		}
	}
	if checked, err := Check(t.Context(), runtime); err != nil || checked.Notes == nil || len(checked.Notes) != 0 {
		t.Errorf("the check gives %+v, %v", checked, err)
	}
}

// TestUsesUnknown: what is not known is not told, and is no reason to show nothing.
func TestUsesUnknown(t *testing.T) {
	var none counted
	if none.of(queue.EventThing, "a:b") != nil || none.ended("x") != nil {
		t.Error("without uses there are some")
	}
	generation := relaytest.Compile(t, listedConfiguration())
	for _, rule := range listRules(generation, nil, time.Now().Add(1000*time.Hour)) {
		if rule.Used != nil || rule.Idle != "" || rule.Place == "" {
			t.Errorf("a rule is %+v", rule)
		}
	}
}
