package textencoding

import (
	"encoding/binary"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Text is a text as UTF-16, with or without a byte order mark.
func utf16Text(text string, order binary.AppendByteOrder, mark bool) []byte {
	if mark {
		text = "\ufeff" + text
	}
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

func TestToUTF8(t *testing.T) {
	const text = "{\"a\": \"ä𝄞\"}"
	for name, raw := range map[string][]byte{
		"UTF-8":                       []byte(text),
		"UTF-8 with a mark":           []byte("\ufeff" + text),
		"little endian with a mark":   utf16Text(text, binary.LittleEndian, true),
		"big endian with a mark":      utf16Text(text, binary.BigEndian, true),
		"little endian without marks": utf16Text(text, binary.LittleEndian, false),
		"big endian without marks":    utf16Text(text, binary.BigEndian, false),
	} {
		if got := string(ToUTF8(raw)); got != text {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, raw := range map[string]string{
		"nothing": "", "one byte": "{", "zeros": "\x00\x00\x00\x00", "binary": "P\x00\x00\x01", "half a mark": "\xef\xbb",
	} {
		if got := string(ToUTF8([]byte(raw))); got != raw {
			t.Errorf("%s: %q became %q", name, raw, got)
		}
	}
	if got := string(ToUTF8([]byte("\xff\xfea\x00b"))); got != "a\uFFFD" {
		t.Errorf("half a character became %q", got)
	}
}

func FuzzToUTF8(f *testing.F) {
	f.Add([]byte("\xff\xfeP\x00O\x00"))
	f.Add([]byte("\x00P\x00\xd8"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := ToUTF8(raw)
		if utf8.Valid(raw) && len(raw) > 0 && raw[0] != 0xef && !utf8.Valid(text) {
			t.Errorf("%q became %q", raw, text)
		}
		if len(text) > 2*len(raw)+3 {
			t.Errorf("%d bytes became %d", len(raw), len(text))
		}
	})
}
