package event

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestLine bounds a Line, in characters.
const longestLine = 200

// Line returns a text of an event as one line for people, of at most 200 characters:
// line breaks and other white space become single blanks, and characters that cannot
// be seen are left out, among them those that turn the direction of writing. So a
// caller's name can neither fill a page nor make the text around it read otherwise.
func Line(text string) string {
	if isLine(text) {
		return text
	}
	var b strings.Builder
	count, blank := 0, false
	end := 0 // of what is kept if there turns out to be more
	for _, r := range text {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			blank = count > 0
			continue
		case isUnseen(r):
			continue
		}
		if blank {
			b.WriteByte(' ')
			count++
			blank = false
		}
		if count >= longestLine {
			return strings.TrimRight(b.String()[:end], " ") + "…"
		}
		b.WriteRune(r) // U+FFFD for bytes that are no text
		if count++; count == longestLine-1 {
			end = b.Len()
		}
	}
	return b.String()
}

// isLine reports whether a text is a Line already, as most are.
func isLine(text string) bool {
	count, last := 0, ' '
	for _, r := range text {
		switch {
		case r == ' ':
			if last == ' ' {
				return false
			}
		case r <= ' ' || r == utf8.RuneError || r >= 0x7f && (unicode.IsSpace(r) || unicode.IsControl(r) || isUnseen(r)):
			return false
		}
		last = r
		count++
	}
	return count <= longestLine && (text == "" || last != ' ')
}

// isUnseen reports whether a character has no form of its own. The two joiners are
// kept, which shape letters of some scripts and pictures of people.
func isUnseen(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return r >= utf8.RuneSelf && r != nonJoiner && r != joiner && unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs)
}
