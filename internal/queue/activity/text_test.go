package activity

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendOpened(t *testing.T) {
	for text, want := range map[string]string{
		``:                               "",
		`plain`:                          "",
		`\u0041`:                         "", // ASCII stands as it is
		`\u00d6l`:                        "Öl",
		`a\u00D6\u00e4b`:                 "aÖäb",
		`gr\\u00fcn`:                     "grün",
		`\\\\u00fc`:                      "ü",
		`\u0041\u00fc`:                   `\u0041ü`,
		`\ud83d\ude00!`:                  "😀!",
		`\\ud83d\\ude00!`:                "😀!",
		`\ud83d`:                         "",
		`\ud83d\u00e4`:                   `\ud83dä`,
		`\ud83d \ude00 \ude00\ud83d`:     "",
		`\u`:                             "",
		`\u00d`:                          "",
		`\u00dg \u+0d6`:                  "",
		`ö`:                              "",
		strings.Repeat(`\ud83d\\\`, 999): "",
	} {
		if got := string(appendOpened(nil, []byte(text))); got != want {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
	}
}

// FuzzAppendOpened holds that reading escapes never makes a text longer, and
// leaves a text without them alone.
func FuzzAppendOpened(f *testing.F) {
	for _, seed := range []string{`\u00d6`, `\ud83d\ude00`, `\\ud83d\\ude00`, `\ud83d\u00d6`, `\u00`, "\xff\\u00d6"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := appendOpened(nil, text)
		if len(got) > len(text) {
			t.Errorf("%q becomes %q", text, got)
		}
		if !bytes.Contains(text, []byte(`\u`)) && len(got) > 0 {
			t.Errorf("%q becomes %q", text, got)
		}
		if utf8.Valid(text) && !utf8.Valid(got) {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}
