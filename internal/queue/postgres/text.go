package postgres

import (
	"strings"
	"unicode/utf8"
)

// PostgreSQL's text holds neither a NUL nor bytes that are no UTF-8, and one such byte
// of one sender would fail the batch of all. So each such byte is written as a
// character of its own, from the end of Unicode's second private area. Characters of
// that range that stand in a text are written byte by byte in the same way, so that
// every text comes back as it was.

const (
	firstByteRune = 0x10FE00
	lastByteRune  = firstByteRune + 0xFF
	// privateLead is the first byte of all characters of that area, in UTF-8.
	privateLead = 0xF4
)

// encodeText returns a text as it is written. Nearly all texts are written as they are.
func encodeText(text string) string {
	if strings.IndexByte(text, 0) < 0 && strings.IndexByte(text, privateLead) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == 0 || r == utf8.RuneError && size == 1 || r >= firstByteRune && r <= lastByteRune {
			for range size {
				b.WriteRune(firstByteRune + rune(text[i]))
				i++
			}
			continue
		}
		b.WriteString(text[i : i+size])
		i += size
	}
	return b.String()
}

// decodeText returns what encodeText was given.
func decodeText(written string) string {
	if strings.IndexByte(written, privateLead) < 0 {
		return written
	}
	var b strings.Builder
	for _, r := range written {
		if r >= firstByteRune && r <= lastByteRune {
			b.WriteByte(byte(r - firstByteRune))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// nullText returns a text as it is written in a column where the empty text is null.
func nullText(text string) *string {
	if text == "" {
		return nil
	}
	text = encodeText(text)
	return &text
}
