package activity

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// Text looks for a text in what is stored, and ignores upper and lower case. A part of
// what is stored is JSON, and senders escape it in different ways. Some put a backslash
// before some characters: it looks for each of these forms. Some write letters outside
// ASCII as \u00d6: it reads those as the letters that they stand for.
type Text struct {
	ascii  [][]byte // forms without other characters, in lower case
	others [][]byte // forms with others, in lower case
	folded []byte   // what is looked through, in lower case
	opened []byte   // the same, with \u00d6 read as a letter
}

// NewText returns what looks for a text. It is used by one goroutine at a time.
func NewText(looked string) *Text {
	t := &Text{}
	for _, form := range []string{
		looked,
		escaped(looked, `"\`),
		escaped(looked, `"\<>&`), // Go
		escaped(looked, `"\/`),   // PHP
	} {
		list, form := &t.others, []byte(strings.ToLower(form))
		if isASCII(form) {
			list = &t.ascii
		}
		known := false
		for _, other := range *list {
			known = known || bytes.Equal(other, form)
		}
		if !known {
			*list = append(*list, form)
		}
	}
	return t
}

// escaped returns a text as it can stand in JSON: with a backslash before some
// characters, or as \u003c where that is how they are written.
func escaped(text, special string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case strings.ContainsRune("<>&", r) && strings.ContainsRune(special, r):
			fmt.Fprintf(&b, `\u%04x`, r)
		case strings.ContainsRune(special, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// In reports whether the text stands in another.
func (t *Text) In(other []byte) bool {
	if len(other) == 0 {
		return false
	}
	ascii := true
	t.folded = append(t.folded[:0], other...)
	for i, c := range t.folded {
		if 'A' <= c && c <= 'Z' {
			t.folded[i] = c + 'a' - 'A'
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	for _, form := range t.ascii {
		if bytes.Contains(t.folded, form) {
			return true
		}
	}
	if len(t.others) == 0 {
		return false
	}
	if !ascii && containsAny(bytes.ToLower(other), t.others) {
		return true
	}
	t.opened = appendOpened(t.opened[:0], t.folded)
	return len(t.opened) > 0 && containsAny(bytes.ToLower(t.opened), t.others)
}

func containsAny(text []byte, forms [][]byte) bool {
	for _, form := range forms {
		if bytes.Contains(text, form) {
			return true
		}
	}
	return false
}

// appendOpened appends a text with each \u00d6 in it, and each pair of them that
// makes one character, as the character that it stands for. A text within a
// text has more than one backslash before the u; all of them go. It appends
// nothing if there is no such thing. The work grows with the length of the text and
// not with what is in it.
func appendOpened(to, text []byte) []byte {
	found := false
	for {
		start := bytes.Index(text, []byte(`\u`))
		if start < 0 {
			break
		}
		r, length := escapedRune(text[start:])
		if length == 0 {
			to = append(to, text[:start+2]...)
			text = text[start+2:]
			continue
		}
		found = true
		to = append(to, bytes.TrimRight(text[:start], `\`)...)
		to = utf8.AppendRune(to, r)
		text = text[start+length:]
	}
	if !found {
		return to[:0]
	}
	return append(to, text...)
}

// escapedRune reads \u00d6, or a pair of them, at the beginning of a text. The
// length is 0 if no character outside ASCII is written there: those within stand
// as they are, or in the forms that are looked for.
func escapedRune(text []byte) (r rune, length int) {
	unit, ok := escapedUnit(text)
	if !ok || unit < utf8.RuneSelf {
		return 0, 0
	}
	if !utf16.IsSurrogate(unit) {
		return unit, 6
	}
	behind := bytes.TrimLeft(text[6:], `\`)
	between := len(text) - 6 - len(behind)
	if between == 0 {
		return 0, 0
	}
	low, ok := escapedUnit(text[6+between-1:])
	if pair := utf16.DecodeRune(unit, low); ok && pair != utf8.RuneError {
		return pair, 6 + between - 1 + 6
	}
	return 0, 0
}

// escapedUnit reads \u00d6 at the beginning of a text.
func escapedUnit(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(unit), err == nil
}

// InVerdict reports whether the text stands in a verdict as it is stored, or in its
// reason.
func (t *Text) InVerdict(verdict []byte, decision string) bool {
	return t.In(verdict) && t.In([]byte(layout.DecodeVerdict(verdict, decision).Reason))
}

// InPlans reports whether the text stands in the id of one of the deliveries of an
// event, as they are stored.
func (t *Text) InPlans(deliveries []byte) bool {
	if !t.In(deliveries) {
		return false
	}
	plans, _ := layout.DecodePlans(deliveries)
	for _, p := range plans {
		if t.In([]byte(p.ID)) {
			return true
		}
	}
	return false
}
