package command

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

func TestEnvironmentFiles(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  map[string]string
		wrong string
	}{
		{text: "", want: map[string]string{}},
		{text: "\n# ICFM_KEY=no\n  ICFM_KEY=k\nexport PBX_TOKEN=t\n", want: map[string]string{"ICFM_KEY": "k", "PBX_TOKEN": "t"}},
		{text: "A=b=c\nB=\nC=d # not this", want: map[string]string{"A": "b=c", "B": "", "C": "d"}},
		{text: "A=\"x y\"\nB='one\ntwo'\nC=\"say \\\"so\"\n", want: map[string]string{"A": "x y", "B": "one\ntwo", "C": `say \"so`}},
		{text: "A=\"never closed", want: map[string]string{"A": "never closed"}},
		{text: "A", wrong: "line 1 is not KEY=VALUE"},
		{text: "A=b\n=c", wrong: "line 2 is not KEY=VALUE"},
		{text: "A B=c", wrong: `line 1: there is a space in the name "A B"`},
		{text: "A= c", wrong: "line 1: there is a space between = and the value of A"},
	} {
		got, err := parseEnvironment(strings.NewReader(test.text))
		if test.wrong != "" {
			if err == nil || err.Error() != test.wrong {
				t.Errorf("%q: got %v, want %s", test.text, err, test.wrong)
			}
		} else if err != nil || !maps.Equal(got, test.want) {
			t.Errorf("%q: got %q (%v), want %q", test.text, got, err, test.want)
		}
	}
}

// FuzzParseEnvironment holds that no file makes the parser panic or invent a
// nameless variable.
func FuzzParseEnvironment(f *testing.F) {
	for _, seed := range []string{"A=b\n", "export A='b\nc'", "A=\"", "=", "#", "A=\\\"\"\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := parseEnvironment(bytes.NewReader(text))
		if _, nameless := values[""]; err == nil && nameless {
			t.Errorf("%q sets a variable without a name", text)
		}
	})
}
