package rules

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

func TestExplainRules(t *testing.T) {
	l := newLanguage(t, language.Definitions{})
	ruleset, err := New(l, rulesSources, []config.Rule{
		{Place: "f:1", Events: []string{"dmg_*"}, When: []string{`body.x == 1`, `body.y == 2`}, Do: []string{"tell"}},
		{Place: "f:2", Events: []string{"project_created"}, Do: []string{"tell"}},
		{Place: "f:3", Events: []string{"dmg_input_added", "*"}, Description: "All", When: []string{`body.y == 2`}, Do: []string{"screen_pop", "tell"}},
		{Place: "f:4", Events: []string{"icfm:dmg_*"}, Disabled: true, Ignore: true},
		{Place: "f:5", Events: []string{"*"}, When: []string{`body.y > "1"`}, Do: []string{"create_folder"}},
		{Place: "f:6", Events: []string{"*"}, When: []string{`body.y < 3`}, Do: []string{"tell", "create_folder"}},
		{Place: "f:7", Events: []string{"dmg_*"}, Ignore: true},
		{Place: "f:8", Events: []string{"dmg_*"}, When: []string{`body.z`}, Do: []string{"tell"}},
		{Place: "f:9", Events: []string{"unknown"}, Do: []string{"tell"}},
	}, rulesActions)
	if err != nil {
		t.Fatal(err)
	}
	e := &event.Event{Source: "icfm", Name: "dmg_input_added", Body: decoded(t, `{"y":2}`)}
	got := ruleset.Explain(l.Bind(e))
	var lines []string
	for _, rule := range got.Rules {
		line := fmt.Sprintf("%s %s: %s", rule.Place, rule.Outcome, rule.Reason)
		if len(rule.Adds) > 0 {
			line += " + " + strings.Join(rule.Adds, " ")
		}
		for _, condition := range rule.When {
			if condition.Unread {
				line += fmt.Sprintf(" (unread: %s)", condition.Result)
			}
		}
		lines = append(lines, line)
	}
	want := []string{
		"f:1 not_held: `body.x == 1` did not hold: body.x is absent (unread: true)",
		"f:3 applied: all conditions are true + screen_pop tell",
		"f:4 inactive: the rule is switched off (active off)",
		"f:5 error: evaluating `body.y > \"1\"` compares a number with text; convert one of them with int(), float() or string()",
		"f:6 applied: all conditions are true + create_folder",
		"f:7 applied: the rule has no conditions",
		"f:8 not_read: the ignore at f:7 ended the reading",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if got.OtherRules != 2 {
		t.Errorf("%d rules are for other events, want 2", got.OtherRules)
	}
	if decided := ruleset.Decide(l.Bind(e)); !reflect.DeepEqual(got.Verdict, decided) {
		t.Errorf("verdict %+v, decided %+v", got.Verdict, decided)
	}

	for name, rules := range map[string]int{"no_such_event": 0, event.UnknownName: 1, "DMG_INPUT_ADDED": 0} {
		e := &event.Event{Source: "icfm", Name: name}
		if got := ruleset.Explain(l.Bind(e)); len(got.Rules) != rules || got.OtherRules != 9-rules {
			t.Errorf("%s: %d rules name it and %d do not", name, len(got.Rules), got.OtherRules)
		}
	}
	// An event may come under its normal name.
	e = &event.Event{Source: "icfm", Name: "order.paid"}
	if got := ruleset.Explain(l.Bind(e)); len(got.Rules) != 3 {
		t.Errorf("%d rules name order.paid", len(got.Rules))
	}
}

// generator makes conditions of which it is not known what they give.
type generator struct{ *rand.Rand }

func (g generator) of(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g generator) operand(depth int) string {
	switch g.IntN(8 + min(depth, 3)) {
	case 0, 1, 2:
		return g.of("body.a", "body.b", "body.c", "body.list", "caller_id", "body.deep.er", "setting", "hidden", "query.q", `headers["X-A"]`)
	case 3, 4:
		return g.of("1", "2.5", "-1", `"x"`, `""`, "nil", "true", "[1, 2]", `["x", nil]`, "[body.a, 2]")
	case 5:
		return g.of("lower", "len", "string", "int", "type") + "(" + g.of("body.a", "body.b", "caller_id", "hidden") + ")"
	case 6:
		return g.of("count(body.list, # > body.a)", "filter(body.list, # == 1)", "map(body.list, [#, body.b])[0]", "received.Year()")
	case 7:
		return "(" + g.of("body.a", "body.b", "setting") + g.of(" ?? ", " + ", " * ") + g.of("body.c", "3", "hidden") + ")"
	default:
		return "(" + g.condition(depth-1) + ")"
	}
}

func (g generator) condition(depth int) string {
	if depth <= 0 {
		return g.operand(0) + g.of(" == ", " != ", " < ", " >= ", " in ", " contains ", " startsWith ") + g.operand(0)
	}
	switch g.IntN(8) {
	case 0, 1:
		return g.condition(depth-1) + " and " + g.condition(depth-1)
	case 2, 3:
		return "(" + g.condition(depth-1) + ") or " + g.condition(depth-1)
	case 4:
		return g.of("not ", "!") + "(" + g.condition(depth-1) + ")"
	case 5:
		return "(" + g.condition(depth-1) + ") ? " + g.operand(depth) + " : (" + g.condition(depth-1) + ")"
	case 6:
		return "let v" + fmt.Sprint(depth) + " = " + g.operand(0) + "; v" + fmt.Sprint(depth) + " == 1 or " + g.condition(depth-1)
	default:
		return g.operand(depth)
	}
}

func (g generator) value() any {
	return []any{nil, int64(1), int64(2), "x", "", true, false, []any{int64(1), "x", nil}, map[string]any{"er": int64(1)}}[g.IntN(9)]
}

func (g generator) event() *event.Event {
	e := &event.Event{Source: "icfm", Name: g.of("dmg_input_added", "project_created", "hangup", "Order.Paid", event.UnknownName, "new_one"),
		Headers: map[string][]string{"X-A": {g.of("1", "x")}}, Query: map[string][]string{g.of("q", "p"): {"x"}}}
	e.Body = map[string]any{"a": g.value(), "b": g.value(), "c": g.value(), "list": g.value(), "deep": g.value()}
	e.Parameters[event.CallerID] = []any{nil, "1", "x", "h1dden-value"}[g.IntN(4)]
	e.Parameters[event.Tenant] = g.of("", "200")
	return e
}

// TestExplainAgreesWithDecide explains random rules for random events, and
// checks that what is told leads to what is decided.
func TestExplainAgreesWithDecide(t *testing.T) {
	var definitions language.Definitions
	definitions.Parameters = []config.Parameter{
		{Name: "setting", Value: "x", Tenants: map[string]string{"200": "1"}},
		{Name: "hidden", Value: "{env.h1dden-value}"},
	}
	l := newLanguage(t, definitions)
	g := generator{rand.New(rand.NewPCG(1, 2))}
	outcomes := map[RuleOutcome]int{}
	decisions := map[Decision]int{}
	for range 1500 {
		var written []config.Rule
		for i := range 1 + g.IntN(5) {
			rule := config.Rule{Place: fmt.Sprintf("f:%d", i+1), Events: []string{g.of("*", "dmg_*", "icfm:hangup", "project_created", "unknown")}, Disabled: g.IntN(8) == 0}
			for range g.IntN(3) {
				rule.When = append(rule.When, g.condition(g.IntN(4)))
			}
			if rule.Ignore = g.IntN(4) == 0; !rule.Ignore {
				rule.Do = [][]string{{"tell"}, {"screen_pop", "tell"}, {"create_folder"}}[g.IntN(3)]
			}
			if _, err := New(l, rulesSources, []config.Rule{rule}, rulesActions); err == nil {
				written = append(written, rule)
			}
		}
		ruleset, err := New(l, rulesSources, written, rulesActions)
		if err != nil {
			t.Fatal(err)
		}
		event := g.event()
		explained, decided := ruleset.Explain(l.Bind(event)), ruleset.Decide(l.Bind(event))
		if !reflect.DeepEqual(explained.Verdict, decided) {
			t.Fatalf("explained %+v\ndecided   %+v\nrules %+v", explained.Verdict, decided, written)
		}
		if told := verdictOf(explained); told.Decision != decided.Decision || told.Rule != decided.Rule ||
			!slices.Equal(told.Actions, decided.Actions) || !slices.Equal(told.Errors, decided.Errors) {
			t.Fatalf("told    %+v\ndecided %+v\nrules %+v", told, decided, written)
		}
		if len(explained.Rules)+explained.OtherRules != len(written) {
			t.Fatalf("%d rules and %d others of %d", len(explained.Rules), explained.OtherRules, len(written))
		}
		decisions[decided.Decision]++
		for _, rule := range explained.Rules {
			outcomes[rule.Outcome]++
			for _, condition := range rule.When {
				checkParts(t, condition)
			}
		}
		if encoded, _ := json.Marshal(explained); strings.Contains(string(encoded), "h1dden") {
			t.Fatalf("a secret is shown: %s\nrules %+v", encoded, written)
		}
	}
	// The property means nothing unless everything happens.
	if len(outcomes) != 5 || len(decisions) != 3 {
		t.Errorf("outcomes %v, decisions %v", outcomes, decisions)
	}
}

func decoded(tb testing.TB, text string) any {
	tb.Helper()
	value, err := event.DecodeJSON(text)
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// verdictOf makes a verdict from what was told of the rules alone.
func verdictOf(x Explanation) Verdict {
	v := Verdict{Decision: Ignored}
	failed := ""
	for _, rule := range x.Rules {
		switch rule.Outcome {
		case RuleFailed:
			v.Errors = append(v.Errors, rule.Reason+", at "+rule.Place)
			if failed == "" {
				failed = rule.Place
			}
		case RuleApplied:
			if v.Rule == "" && (rule.Ignore || len(rule.Do) > 0) {
				v.Rule = rule.Place
			}
			for _, action := range rule.Adds {
				v.Decision = Act
				v.Actions = append(v.Actions, ActionCall{Action: action, Rule: rule.Place})
			}
		}
	}
	if failed != "" {
		v.Decision = RuleError
		if v.Rule == "" {
			v.Rule = failed
		}
	}
	return v
}

// checkParts checks that a part's result follows from those of its own parts.
func checkParts(t *testing.T, p language.Part) {
	t.Helper()
	if (p.Result == language.ResultValue) != (p.Value != "") || (p.Result == language.ResultError) != (p.Error != "") {
		t.Fatalf("%+v: value and error do not go with the result", p)
	}
	failed := p.Result == language.ResultError
	for _, part := range p.Parts {
		checkParts(t, part)
		if part.Result == language.ResultError && !part.Unread && !failed {
			t.Fatalf("%s is %s although %s failed", p.Expression, p.Result, part.Expression)
		}
	}
	if len(p.Parts) == 0 || p.More {
		return
	}
	if strings.HasPrefix(p.Expression, "not (") && strings.HasSuffix(p.Expression, ")") && len(p.Parts) == 1 && p.Parts[0].Expression == p.Expression[5:len(p.Expression)-1] {
		want := map[language.Result]language.Result{language.ResultTrue: language.ResultFalse, language.ResultFalse: language.ResultTrue, language.ResultUnknown: language.ResultUnknown, language.ResultError: language.ResultError, language.ResultValue: language.ResultError}
		if p.Result != want[p.Parts[0].Result] {
			t.Fatalf("%s is %s, but %s is %s", p.Expression, p.Result, p.Parts[0].Expression, p.Parts[0].Result)
		}
	}
}
