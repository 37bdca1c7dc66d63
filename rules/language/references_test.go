package language

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

func TestReferences(t *testing.T) {
	language, err := New(Definitions{
		Sources:    []Source{{Name: "erp", Fields: []string{"order_id"}}},
		Parameters: []config.Parameter{{Name: "limit", Value: "5"}},
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

func FuzzMember(f *testing.F) {
	language, err := New(Definitions{})
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
		event := &event.Event{Body: map[string]any{name: int64(7)}}
		if value, err := language.Bind(event).Evaluate(expression); err != nil || value != int64(7) {
			t.Errorf("%s gives %v, %v; want the member's value", path, value, err)
		}
	})
}
