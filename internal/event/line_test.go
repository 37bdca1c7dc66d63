package event_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

func TestLine(t *testing.T) {
	long := strings.Repeat("ü", 300)
	for text, want := range map[string]string{
		"":                                  "",
		"Project 48213 Nordlicht":           "Project 48213 Nordlicht",
		"Zoë → 100":                         "Zoë → 100",
		" a\r\n\tb  c ":                     "a b c",
		"a\x00b\x1b[31mc\x7fd":              "a b [31mc d",
		"a\u2028b\u0085c\u00a0d":            "a b c d",
		"invoice\u202egpj.exe\u2066x\u2069": "invoicegpj.exex",
		"\ufeffa\u200b\u00adb\u200f":        "ab",
		"می\u200cخواهم":                     "می\u200cخواهم",
		"👩\u200d🚀":                          "👩\u200d🚀",
		"a\xffb":                            "a\ufffdb",
		"\u202e \n":                         "",
		"secret\U000e0041\U000e0042":        "secret",
		strings.Repeat("a", 200):            strings.Repeat("a", 200),
		strings.Repeat("a", 201):            strings.Repeat("a", 199) + "…",
		long[:400]:                          long[:400],
		long:                                long[:398] + "…",
		strings.Repeat("a ", 101):           strings.Repeat("a ", 99) + "a…",
	} {
		if got := event.Line(text); got != want {
			t.Errorf("%q\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{"a", " a\n", "a\u202eb", strings.Repeat("ü ", 150), "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line := event.Line(text)
		if event.Line(line) != line {
			t.Errorf("%q is no line", line)
		}
		if n := utf8.RuneCountInString(line); n > 200 || !utf8.ValidString(line) || strings.TrimSpace(line) != line {
			t.Errorf("%q has %d characters", line, n)
		}
		for _, r := range line {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%q holds %U", line, r)
			}
		}
	})
}
