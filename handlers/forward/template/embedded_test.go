package template

import (
	"strings"
	"testing"
)

// TestFindEmbedded: | stands for a tag.
func TestFindEmbedded(t *testing.T) {
	for _, test := range []struct {
		text, contentType, language string
		// want is what the tags become, each being x.
		want string
	}{
		{"plain | text", "", "", "x"},
		{"|", "", "", "x"},
		{`{"a":"|","b":|}`, "", "JSON", "json_text(x) tojson(x)"},
		{` [|, "a|b|"]`, "", "JSON", "tojson(x) json_text(x) json_text(x)"},
		{`{|: 1}`, "", "JSON", "tojson(x)"},
		{`{"a":"|"`, "", "JSON broken", "x"},
		{`{"a":"\"|"}`, "", "JSON", "json_text(x)"},
		{`[|] a note`, "", "", "x"},
		{`{"a":"{\"b\":\"|\",\"c\":|}","d":"|"}`, "", "JSON", "json_text(json_text(x)) json_text(tojson(x)) json_text(x)"},
		{`{"a":"{\"b\":\"|\",\"c\":|}","d":"|","e":|}`, "application/json", "JSON", "json_text(x) tojson(x) x x"},
		{`{"a":"{\"b\":\"|\""}`, "application/json", "JSON broken", "x"},
		{`{"a":"<b>|</b>"}`, "application/json", "JSON", "toxml(x)"},
		{`{"query":"mutation { call(name: \"|\", n: |) }"}`, "application/json", "JSON", "json_text(x) tojson(x)"},
		{`query Q { a(b: """|""", c: "\"|") } # |`, "", "GraphQL", "json_text(x) json_text(x) json_text(x)"},
		{`{ a(b: |) { c } }`, "", "GraphQL", "tojson(x)"},
		{`<a b="|">|<![CDATA[|]]></a>`, "", "XML", "toxml(x) toxml(x) toxml(x)"},
		{`<a>|`, "", "XML broken", "x"},
		{`<a |="b"/>`, "", "XML broken", "x"},
		{`<br>|`, "text/html", "XML broken", "x"},
		{`<a>|</a>`, "application/xml", "XML", "x"},
		{`{"a":"|"}`, "application/xml", "", "x"},
		{"< 5 |", "", "", "x"},
	} {
		found := FindEmbedded(strings.Split(test.text, "|"), test.contentType)
		language := found.Language
		if found.Broken {
			language += " broken"
		}
		var got []string
		for i := range found.Calls {
			got = append(got, found.Wrap(i, "x"))
		}
		if n := len(got); language != test.language || strings.Join(got, " ") != test.want {
			t.Errorf("%s as %q: %s with %d tags: %v, want %s: %s", test.text, test.contentType, language, n, got, test.language, test.want)
		}
	}
}

// FuzzFindEmbedded: every tag has its functions, whatever the text is, and what
// is JSON stays JSON when values are escaped as it says.
func FuzzFindEmbedded(f *testing.F) {
	f.Add(`{"a":"|","b":"{\"c\":|}"}`)
	f.Add(`<a b="|">|</a>`)
	f.Add(`query { a(b: "|") }`)
	f.Add(`{"\|":"\u00|"}`)
	f.Fuzz(func(t *testing.T, text string) {
		literals := strings.Split(text, "|")
		found := FindEmbedded(literals, "")
		if len(found.Calls) != len(literals)-1 {
			t.Fatalf("%d tags, functions for %d", len(literals)-1, len(found.Calls))
		}
		for i := range found.Calls {
			_ = found.Wrap(i, "x")
		}
	})
}
