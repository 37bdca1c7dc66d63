package postgres

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzText(f *testing.F) {
	for _, text := range []string{"", "plain", "é → 日本", "\x00", "a\x00b", "\xff\xfe", "\xed\xa0\x80", "\U0010FE00", "\U0010FEFF\x00", "\U0010FFFF", "\uFFFD", "\xf4\x8f"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		written := encodeText(text)
		if !utf8.ValidString(written) || strings.IndexByte(written, 0) >= 0 {
			t.Errorf("%q is written as %q, which PostgreSQL does not take", text, written)
		}
		if back := decodeText(written); back != text {
			t.Errorf("%q comes back as %q", text, back)
		}
	})
}
