package command

import (
	"strings"
	"testing"
)

func TestTableFitsATerminal(t *testing.T) {
	table := newTable("NAME", "WORDS", "ID").cutting("NAME", "WORDS")
	table.add("folder", "a text that is much too long for a terminal of few columns", "0199f3c2")
	table.add("", "日本語のとても長い文章はここで切られます", "0199f3c3")
	table.add("evil\x1b[2J\u202e\ttab", "short", "0199f3c4")
	var out strings.Builder
	if err := table.write(&out, 50); err != nil {
		t.Fatal(err)
	}
	want := `NAME           WORDS                      ID
folder         a text that is much too …  0199f3c2
-              日本語のとても長い文章は…  0199f3c3
evil�[2J� tab  short                      0199f3c4
`
	for _, line := range strings.Split(out.String(), "\n") {
		if columnsOf(line) > 50 {
			t.Errorf("too wide: %q", line)
		}
	}
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}

	out.Reset()
	if err := table.write(&out, 0); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "a text that is much too long for a terminal of few columns  0199f3c2") {
		t.Errorf("a file has lines without an end:\n%s", out.String())
	}
	out.Reset()
	if err := table.write(&out, 5); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "0199f3c2") {
		t.Errorf("an id is never cut:\n%s", out.String())
	}
}
