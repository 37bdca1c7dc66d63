package tags

import (
	"strings"
	"testing"
)

// A tag ends at the }} that is no part of a string or of a map.
func TestParse(t *testing.T) {
	cases := []struct {
		text string
		want string // literals, and tags between « and »
	}{
		{"", ""},
		{"plain", "plain"},
		{"{{a}}", "«a»"},
		{"x{{ a }}y{{b}}", "x«a»y«b»"},
		{`{{ "}}" }}`, `«"}}"»`},
		{`{{ '}}\'}}' + a }}z`, `«'}}\'}}' + a»z`},
		{"{{ `}}` }}", "«`}}`»"},
		{"{{ `a``}}` }}", "«`a``}}`»"},
		{`{{ {"a": {"b": 1}}["a"] }}`, `«{"a": {"b": 1}}["a"]»`},
		{`{"a":{{a}}}`, `{"a":«a»}`},
		{`{"a":{"b":{{a}}}}`, `{"a":{"b":«a»}}`},
		{`{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{"}} {", "}} {"},
		{"{{a\n+ b}}", "«a\n+ b»"},
		{`{{ "{{" }}x`, `«"{{"»x`},
	}
	for _, c := range cases {
		pieces, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		var got strings.Builder
		for _, p := range pieces {
			if p.Source != "" {
				got.WriteString("«" + p.Source + "»")
			} else {
				got.WriteString(p.Text)
			}
		}
		if got.String() != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.text, got.String(), c.want)
		}
	}
}

func TestPosition(t *testing.T) {
	if got := Position("äb{{", 3); got != "at character 3" {
		t.Errorf("one line: %s", got)
	}
	if got := Position("a\nbäc", 5); got != "at line 2, character 3" {
		t.Errorf("two lines: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"{{a}}", "a{{`}}`}}b", `{{{"a":1}["a"]}}`, "{{", "{{'", "}}{{", "{{{{a}}}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pieces, err := Parse(text)
		if err != nil {
			return
		}
		// Literals and tags are the text, in order and without gaps.
		at := 0
		for i, p := range pieces {
			if p.Offset != at {
				t.Fatalf("piece %d is at %d, not %d", i, p.Offset, at)
			}
			if p.Source == "" {
				if p.Text == "" || !strings.HasPrefix(text[at:], p.Text) || strings.Contains(p.Text, "{{") {
					t.Fatalf("literal %q at %d", p.Text, at)
				}
				at += len(p.Text)
				continue
			}
			rest := text[at+2:]
			skip := strings.Index(rest, p.Source)
			end := strings.Index(rest[skip+len(p.Source):], "}}")
			if skip < 0 || end < 0 || strings.TrimSpace(rest[:skip]) != "" {
				t.Fatalf("tag %q at %d", p.Source, at)
			}
			at += 2 + skip + len(p.Source) + end + 2
		}
		if at != len(text) {
			t.Fatalf("%d of %d bytes", at, len(text))
		}
	})
}
