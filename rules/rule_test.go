package rules

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

var rulesSources = []Source{
	{Name: "icfm", Events: []event.Type{{Name: "project_created"}, {Name: "project_status_change"}, {Name: "dmg_input_added"}, {Name: "dmg_work_started"}, {Name: "Order.Paid"}, {Name: "hangup"}}},
	{Name: "pbx", Events: []event.Type{{Name: "incoming_call"}, {Name: "hangup"}}},
}

var rulesActions = []string{"create_folder", "screen_pop", "tell"}

func TestDecide(t *testing.T) {
	approved := `body.status == "Approved"`
	for _, test := range []struct {
		name  string
		rules []config.Rule
		event string // source:name
		body  string
		want  Verdict
	}{
		{
			name: "no rules", event: "icfm:project_created",
			want: Verdict{Decision: Ignored, Reason: "no rule names this event"},
		}, {
			name: "other event", event: "icfm:project_created",
			rules: []config.Rule{{Place: "f:1", Events: []string{"project_status_change"}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Ignored, Reason: "no rule names this event"},
		}, {
			name: "without conditions", event: "icfm:project_created",
			rules: []config.Rule{{Place: "f:1", Events: []string{"project_created"}, Do: []string{"tell", "create_folder", "tell"}}},
			want: Verdict{Decision: Act, Rule: "f:1", Reason: "a rule without conditions",
				Actions: []ActionCall{{"tell", "f:1"}, {"create_folder", "f:1"}}},
		}, {
			name: "conditions hold", event: "icfm:project_created", body: `{"status":"Approved","n":2}`,
			rules: []config.Rule{{Place: "f:1", Events: []string{"project_created"}, When: []string{approved, `body.n > 1`}, Do: []string{"tell"}}},
			want: Verdict{Decision: Act, Rule: "f:1", Reason: "all conditions of a rule held",
				Actions: []ActionCall{{"tell", "f:1"}}},
		}, {
			name: "one condition is false", event: "icfm:project_created", body: `{"status":"Approved","n":1}`,
			rules: []config.Rule{{Place: "f:1", Events: []string{"project_created"}, When: []string{approved, `body.n > 1`}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Ignored, Reason: "`body.n > 1` did not hold: body.n is 1", NotHeld: "f:1"},
		}, {
			name: "of several rules the first is told", event: "icfm:project_created", body: `{"status":"Pencil","n":1}`,
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"project_created"}, When: []string{`body.n > 1`}, Do: []string{"tell"}},
				{Place: "f:2", Events: []string{"project_created"}, When: []string{approved}, Do: []string{"tell"}},
			},
			want: Verdict{Decision: Ignored, Reason: "`body.n > 1` did not hold: body.n is 1; 1 other rule did not hold either", NotHeld: "f:1"},
		}, {
			name: "of several rules the near miss is told", event: "icfm:project_created", body: `{"status":"approved","n":1}`,
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"project_created"}, When: []string{`body.n > 1`}, Do: []string{"tell"}},
				{Place: "f:2", Events: []string{"project_created"}, When: []string{approved}, Do: []string{"tell"}},
				{Place: "f:3", Events: []string{"project_created"}, When: []string{`body.n > 2`}, Do: []string{"tell"}},
			},
			want: Verdict{Decision: Ignored, NotHeld: "f:2",
				Reason: "`" + approved + "` did not hold: body.status is \"approved\" (differs only in letter case); 2 other rules did not hold either"},
		}, {
			name: "one condition is unknown", event: "icfm:project_created", body: `{"n":1}`,
			rules: []config.Rule{{Place: "f:1", Events: []string{"project_created"}, When: []string{`body.stauts != "x"`, `body.n > 1`}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Ignored, Reason: "`body.stauts != \"x\"` did not hold: body.stauts is absent", NotHeld: "f:1", Absent: []string{"body.stauts"}},
		}, {
			name: "several rules add actions, each once", event: "icfm:project_created", body: `{"status":"Approved"}`,
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"project_created"}, When: []string{`body.status == "x"`}, Do: []string{"create_folder"}},
				{Place: "f:2", Events: []string{"project_*"}, When: []string{approved}, Do: []string{"tell"}, Description: "Tell it"},
				{Place: "f:3", Events: []string{"*"}, Do: []string{"screen_pop", "tell"}},
				{Place: "f:4", Events: []string{"dmg_*"}, Do: []string{"create_folder"}},
			},
			want: Verdict{Decision: Act, Rule: "f:2", Reason: "Tell it",
				Actions: []ActionCall{{"tell", "f:2"}, {"screen_pop", "f:3"}}},
		}, {
			name: "ignore ends the reading", event: "icfm:dmg_input_added",
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"dmg_*"}, Ignore: true, Reason: "media tasks are not automated"},
				{Place: "f:2", Events: []string{"*"}, Do: []string{"tell"}},
			},
			want: Verdict{Decision: Ignored, Rule: "f:1", Reason: "media tasks are not automated"},
		}, {
			name: "ignore without words", event: "icfm:dmg_input_added",
			rules: []config.Rule{{Place: "f:1", Events: []string{"dmg_*"}, Ignore: true}},
			want:  Verdict{Decision: Ignored, Rule: "f:1", Reason: "a rule says ignore"},
		}, {
			name: "ignore that does not hold", event: "icfm:dmg_input_added", body: `{}`,
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"dmg_*"}, When: []string{`body.x == 1`}, Ignore: true},
				{Place: "f:2", Events: []string{"*"}, Do: []string{"tell"}},
			},
			want: Verdict{Decision: Act, Rule: "f:2", Reason: "a rule without conditions",
				Actions: []ActionCall{{"tell", "f:2"}}, Absent: []string{"body.x"}},
		}, {
			name: "ignore after actions keeps them", event: "icfm:dmg_input_added",
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"*"}, Do: []string{"tell"}},
				{Place: "f:2", Events: []string{"dmg_*"}, Ignore: true},
				{Place: "f:3", Events: []string{"*"}, Do: []string{"screen_pop"}},
			},
			want: Verdict{Decision: Act, Rule: "f:1", Reason: "a rule without conditions", Actions: []ActionCall{{"tell", "f:1"}}},
		}, {
			name: "inactive", event: "icfm:project_created",
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"project_created"}, Disabled: true, Ignore: true},
				{Place: "f:2", Events: []string{"project_created"}, Disabled: true, Do: []string{"tell"}},
			},
			want: Verdict{Decision: Ignored, Reason: "all rules that name this event are inactive"},
		}, {
			name: "failing condition", event: "icfm:project_created", body: `{"n":"45"}`,
			rules: []config.Rule{{Place: "f:1", Events: []string{"project_created"}, When: []string{`body.n > 30`}, Do: []string{"tell"}}},
			want: Verdict{Decision: RuleError, Rule: "f:1",
				Reason: "condition failed: evaluating `body.n > 30` compares text with a number; convert one of them with int(), float() or string(); body.n is \"45\"",
				Errors: []string{"evaluating `body.n > 30` compares text with a number; convert one of them with int(), float() or string(), at f:1"}},
		}, {
			name: "failing condition and an action", event: "icfm:project_created", body: `{"n":"45"}`,
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"project_created"}, When: []string{`body.n > 30`}, Ignore: true},
				{Place: "f:2", Events: []string{"project_created"}, Do: []string{"tell"}},
				{Place: "f:3", Events: []string{"project_created"}, When: []string{`body.n`}, Do: []string{"tell"}},
			},
			want: Verdict{Decision: RuleError, Rule: "f:2", Actions: []ActionCall{{"tell", "f:2"}},
				Reason: "condition failed: evaluating `body.n > 30` compares text with a number; convert one of them with int(), float() or string(); body.n is \"45\", at f:1",
				Errors: []string{
					"evaluating `body.n > 30` compares text with a number; convert one of them with int(), float() or string(), at f:1",
					"the condition `body.n` is text, but must be true or false, at f:3",
				}},
		}, {
			name: "source and event", event: "pbx:hangup",
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"icfm:hangup"}, Do: []string{"tell"}},
				{Place: "f:2", Events: []string{"pbx:hangup"}, Do: []string{"screen_pop"}},
				{Place: "f:3", Events: []string{"icfm:*"}, Do: []string{"create_folder"}},
			},
			want: Verdict{Decision: Act, Rule: "f:2", Reason: "a rule without conditions", Actions: []ActionCall{{"screen_pop", "f:2"}}},
		}, {
			name: "one rule, several names for the event", event: "pbx:hangup",
			rules: []config.Rule{{Place: "f:1", Events: []string{"pbx:hangup", "hang*", "pbx:*", "*"}, When: []string{`body.n > 30`}, Do: []string{"tell"}}},
			body:  `{"n":"45"}`,
			want: Verdict{Decision: RuleError, Rule: "f:1",
				Reason: "condition failed: evaluating `body.n > 30` compares text with a number; convert one of them with int(), float() or string(); body.n is \"45\"",
				Errors: []string{"evaluating `body.n > 30` compares text with a number; convert one of them with int(), float() or string(), at f:1"}},
		}, {
			name: "names compare without case", event: "icfm:Order.Paid",
			rules: []config.Rule{{Place: "f:1", Events: []string{"order.paid"}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Act, Rule: "f:1", Reason: "a rule without conditions", Actions: []ActionCall{{"tell", "f:1"}}},
		}, {
			name: "names compare with blanks", event: "pbx:incoming_call",
			rules: []config.Rule{{Place: "f:1", Events: []string{"Incoming Call"}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Act, Rule: "f:1", Reason: "a rule without conditions", Actions: []ActionCall{{"tell", "f:1"}}},
		}, {
			name: "event that the source does not declare", event: "pbx:project_created",
			rules: []config.Rule{{Place: "f:1", Events: []string{"*", "project_created"}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Ignored, Reason: `unknown event "project_created"`},
		}, {
			name: "event that is near a declared one of its source", event: "icfm:project_craeted",
			rules: []config.Rule{{Place: "f:1", Events: []string{"*"}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Ignored, Reason: `unknown event "project_craeted"; did you mean project_created?`},
		}, {
			name: "event that is near one of another source", event: "pbx:project_craeted",
			rules: []config.Rule{{Place: "f:1", Events: []string{"*"}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Ignored, Reason: `unknown event "project_craeted"`},
		}, {
			name: "event without a name", event: "pbx:unknown",
			rules: []config.Rule{{Place: "f:1", Events: []string{"*"}, Do: []string{"tell"}}},
			want:  Verdict{Decision: Ignored, Reason: "the request does not say which event it is"},
		}, {
			name: "rule for events without a name", event: "pbx:unknown",
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"icfm:unknown"}, Do: []string{"screen_pop"}},
				{Place: "f:2", Events: []string{"unknown"}, Do: []string{"tell"}},
			},
			want: Verdict{Decision: Act, Rule: "f:2", Reason: "a rule without conditions", Actions: []ActionCall{{"tell", "f:2"}}},
		}, {
			name: "constant conditions", event: "pbx:hangup",
			rules: []config.Rule{
				{Place: "f:1", Events: []string{"pbx:hangup"}, When: []string{`false`}, Do: []string{"tell"}},
				{Place: "f:2", Events: []string{"pbx:hangup"}, When: []string{`1 < 2`}, Do: []string{"screen_pop"}},
			},
			want: Verdict{Decision: Act, Rule: "f:2", Reason: "all conditions of a rule held", Actions: []ActionCall{{"screen_pop", "f:2"}}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLanguage(t, language.Definitions{})
			s, err := New(l, rulesSources, test.rules, rulesActions)
			if err != nil {
				t.Fatal(err)
			}
			e := &event.Event{}
			e.Source, e.Name, _ = strings.Cut(test.event, ":")
			if test.body != "" {
				if e.Body, err = event.DecodeJSON(test.body); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // The second must not see anything of the first.
				got := s.Decide(l.Bind(e))
				got.Held = nil // TestHeld looks at it
				if !reflect.DeepEqual(got, test.want) {
					t.Errorf("got  %+v\nwant %+v", got, test.want)
				}
			}
		})
	}
}

func TestRuleNames(t *testing.T) {
	sources := []Source{
		{Name: "a", Events: []event.Type{{Name: "call:start"}, {Name: "call:end"}, {Name: "/v1/calls/new"}, {Name: "rs_added"}, {Name: "rss_added"}}},
		{Name: "b", Events: []event.Type{{Name: "rs_added"}, {Name: "Call Started"}}},
	}
	for name, want := range map[string]string{
		"*":   "a/call:start a/call:end a//v1/calls/new a/rs_added a/rss_added b/rs_added b/Call Started",
		"a:*": "a/call:start a/call:end a//v1/calls/new a/rs_added a/rss_added", "rs_*": "a/rs_added b/rs_added", "b:rs*": "b/rs_added",
		"call:start": "a/call:start", "a:call:start": "a/call:start", "call:*": "a/call:start a/call:end", "a:call:*": "a/call:start a/call:end",
		"/v1/*": "a//v1/calls/new", "*/new": "a//v1/calls/new", "*s*added": "a/rs_added a/rss_added b/rs_added", "r*s_a*d": "a/rs_added a/rss_added b/rs_added", "rss_added": "a/rss_added",
		"call_*": "b/Call Started", "call-started": "b/Call Started", "unknown": "a/unknown b/unknown", "b:unknown": "b/unknown", "b:Rs Added": "b/rs_added",
	} {
		b := newRulesetBuilder(nil, sources, nil)
		keys, err := b.find(name)
		var got []string
		for _, key := range keys {
			got = append(got, key.source+"/"+key.event)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s means %q, %v; want %q", name, got, err, want)
		}
	}
}

// The actions of a verdict may be shared, but adding to them must not show.
func TestVerdictsAreApart(t *testing.T) {
	l := newLanguage(t, language.Definitions{})
	s, err := New(l, rulesSources, []config.Rule{
		{Place: "f:1", Events: []string{"incoming_call"}, Do: []string{"tell"}},
		{Place: "f:2", Events: []string{"incoming_call"}, When: []string{"body.more"}, Do: []string{"screen_pop"}},
	}, rulesActions)
	if err != nil {
		t.Fatal(err)
	}
	decide := func(more bool) []ActionCall {
		return s.Decide(l.Bind(&event.Event{Source: "pbx", Name: "incoming_call", Body: map[string]any{"more": more}})).Actions
	}
	few := append(decide(false), ActionCall{"x", "y"})
	many := decide(true)
	if len(few) != 2 || few[1].Action != "x" || len(many) != 2 || many[1].Action != "screen_pop" {
		t.Errorf("got %v and %v", few, many)
	}
}

func TestRulesetErrors(t *testing.T) {
	l := newLanguage(t, language.Definitions{})
	good := config.Rule{Events: []string{"incoming_call"}, Do: []string{"tell"}}
	for _, test := range []struct {
		name   string
		change func(r *config.Rule)
		want   string
	}{
		{"no event", func(r *config.Rule) { r.Events = nil }, "the rule names no event"},
		{"unknown event", func(r *config.Rule) { r.Events = []string{"project_craeted"} },
			"unknown event project_craeted; did you mean project_created? What exists: project_created, project_status_change, dmg_input_added, dmg_work_started, Order.Paid, hangup, incoming_call. To use an event that the preset lacks, add: event project_craeted"},
		{"strange event", func(r *config.Rule) { r.Events = []string{"zzzzzzzz"} }, "unknown event zzzzzzzz. What exists: "},
		{"event of another source", func(r *config.Rule) { r.Events = []string{"pbx:project_created"} },
			"source pbx: unknown event project_created. What exists: incoming_call, hangup."},
		{"several sources", func(r *config.Rule) { r.Events = []string{"hangup"} },
			"event hangup is declared by several sources; write one of: icfm:hangup, pbx:hangup"},
		{"unknown source", func(r *config.Rule) { r.Events = []string{"icmf:project_created"} }, "unknown source icmf; did you mean icfm? What exists: icfm, pbx"},
		{"glob without match", func(r *config.Rule) { r.Events = []string{"gekko_*"} }, "no event matches gekko_*. What exists: "},
		{"glob without match in source", func(r *config.Rule) { r.Events = []string{"pbx:dmg_*"} }, "no event matches dmg_*. What exists: incoming_call, hangup"},
		{"only * is special", func(r *config.Rule) { r.Events = []string{"[ip]*"} }, "no event matches [ip]*"},
		{"unknown action", func(r *config.Rule) { r.Do = []string{"screen_popp"} }, "unknown action screen_popp; did you mean screen_pop? What exists: create_folder, screen_pop, tell. To define it, add: action screen_popp"},
		{"do and ignore", func(r *config.Rule) { r.Ignore = true }, "both do and ignore"},
		{"neither", func(r *config.Rule) { r.Do = nil }, "neither do nor ignore"},
		{"condition", func(r *config.Rule) { r.When = []string{`caller_di == "x"`} }, `unknown name "caller_di"`},
		{"inactive", func(r *config.Rule) { r.Disabled = true; r.When = []string{`caller_di == "x"`} }, `unknown name "caller_di"`},
		{"constant condition", func(r *config.Rule) { r.When = []string{`"yes"`} }, "the condition `\"yes\"` is text, but must be true or false"},
		{"nil condition", func(r *config.Rule) { r.When = []string{`nil`} }, "the condition `nil` is nothing, but must be true or false"},
	} {
		rule := good
		rule.Place = "Caddyfile:12"
		test.change(&rule)
		_, err := New(l, rulesSources, []config.Rule{rule}, rulesActions)
		if err == nil || !strings.HasSuffix(err.Error(), ", at Caddyfile:12") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}

	_, err := New(l, rulesSources, []config.Rule{
		{Place: "a:1", Events: []string{"none_1", "none_2"}, When: []string{"none_3", "1 +"}, Do: []string{"none_4", "none_5"}},
		good,
		{Events: []string{"none_6"}, Ignore: true},
	}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"unknown event none_1.", "none_2", "none_3", "compiling `1 +`", "none_4", "none_5. There is no action yet", "action tell { … }, at rule 2", "event none_6, at rule 3"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not reported in %v", part, err)
		}
	}
	if unknown := (*language.UnknownNameError)(nil); !errors.As(err, &unknown) || unknown.Name != "none_3" {
		t.Errorf("the unknown name cannot be found in %v", err)
	}
}

// Rules are found by event: those for other events cost nothing, which shows in
// that the index holds no more than the event's own.
func TestRulesAreIndexed(t *testing.T) {
	var events []event.Type
	var rules []config.Rule
	for i := range 1000 {
		name := fmt.Sprintf("event_%d", i)
		events = append(events, event.Type{Name: name})
		rules = append(rules, config.Rule{Place: name, Events: []string{name}, When: []string{`test`}, Do: []string{"tell"}})
	}
	l := newLanguage(t, language.Definitions{})
	s, err := New(l, []Source{{Name: "s", Events: events}}, rules, rulesActions)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		name := fmt.Sprintf("event_%d", i)
		if n := len(s.byEvent[eventKey{"s", name}].rules); n != 1 {
			t.Fatalf("%d rules are read for %s", n, name)
		}
		if v := s.Decide(l.Bind(&event.Event{Source: "s", Name: name, Test: true})); v.Rule != name {
			t.Fatalf("%s is decided by %s", name, v.Rule)
		}
	}
}

// TestFindEvent checks what single events are called.
func TestFindEvent(t *testing.T) {
	for _, test := range []struct{ name, event, problem string }{
		{"Project Created", "icfm project_created", ""},
		{"pbx:Hangup", "pbx hangup", ""},
		{"icfm:order.paid", "icfm Order.Paid", ""},
		{"pbx:unknown", "pbx unknown", ""},
		{"hangup", "", "icfm:hangup, pbx:hangup"},
		{"unknown", "", "icfm:unknown, pbx:unknown"},
		{"pbx:project_created", "", "source pbx"},
		{"project_craeted", "", "did you mean project_created?"},
		{"dmg_*", "", "may mean many"},
		{"", "", "unknown event"},
	} {
		source, event, err := FindEvent(rulesSources, test.name)
		switch {
		case test.problem == "" && (err != nil || source+" "+event != test.event):
			t.Errorf("%q is %s of %s, %v; want %s", test.name, event, source, err, test.event)
		case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)):
			t.Errorf("%q: %v, want %q", test.name, err, test.problem)
		}
	}
}
