package rules

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReferences(t *testing.T) {
	language, err := NewLanguage(Definitions{
		Sources:    []Source{{Name: "erp", Events: []EventType{{Name: "order_paid"}}, Fields: []string{"order_id"}}},
		Parameters: []CustomParameter{{Name: "limit", Value: "5"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ expression, want string }{
		{`body.project.id`, "body.project.id"},
		{`body.a == 1 and body.a != body?.b.c or limit == "5"`, "body.a body?.b.c"},
		{`query["x-y"] ?? caller_id`, `query["x-y"] caller_id`},
		{`verbatim(body.text)`, "body.text"},
		{`body.items[0].price > 1`, "body.items[0].price"},
		{`any(body.items, .price > body.least and # != nil)`, "body.items body.least"},
		{`body[query.key]`, "query.key body"},
		{`let x = body.n; x + x`, "body.n"},
		{`headers["X-Project"] + order_id`, `headers["X-Project"] order_id`},
		{`upper(limit)`, ""},
		{`now() > received`, "received"},
	} {
		if _, err := language.Compile(test.expression); err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		var got []string
		for _, reference := range language.References(test.expression) {
			got = append(got, reference.Text)
			if !strings.HasPrefix(reference.Text, reference.Name) {
				t.Errorf("%s: %s begins with %s", test.expression, reference.Text, reference.Name)
			}
		}
		want := strings.Fields(test.want)
		if len(got) != len(want) || !sameSet(got, want) {
			t.Errorf("%s refers to %q, want %q", test.expression, got, want)
		}
	}
	if got := fmt.Sprint(language.References(`body.items[-1]["a b"]`)[0].Steps); got != "[items -1 a b]" {
		t.Errorf("the steps are %s", got)
	}
}

func sameSet(a, b []string) bool {
	in := map[string]bool{}
	for _, text := range a {
		in[text] = true
	}
	for _, text := range b {
		if !in[text] {
			return false
		}
	}
	return true
}

func TestByEvent(t *testing.T) {
	language, err := NewLanguage(rulesDefinitions())
	if err != nil {
		t.Fatal(err)
	}
	ruleset, err := language.NewRuleset([]Rule{
		{Events: []string{"project_*", "project_created"}, Do: []string{"tell"}},
		{Events: []string{"pbx:hangup"}, Inactive: true, Ignore: true},
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

func FuzzMember(f *testing.F) {
	language, err := NewLanguage(Definitions{})
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"id", "X-Project", "in", "nil", "a b", `"`, "`", `\`, "\n", "\x00", "é", "\u200b", "😀", "0", "_", "", "{{x}}", "not"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !utf8.ValidString(name) || len(name) > 1000 {
			return
		}
		path := Member("body", name)
		expression, err := language.Compile(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		event := &Event{Body: map[string]any{name: int64(7)}}
		if value, err := language.Bind(event).Evaluate(expression); err != nil || value != int64(7) {
			t.Errorf("%s gives %v, %v; want the member's value", path, value, err)
		}
	})
}
