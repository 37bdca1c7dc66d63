package escape

import (
	"strings"
	"unicode"
)

// OneLine returns a text on one line: line ends and other blanks as single blanks,
// other control characters left out, and what is not UTF-8 replaced. So it can stand
// in the header of a mail, where a line end would begin another field.
func OneLine(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(text), " ")
}
