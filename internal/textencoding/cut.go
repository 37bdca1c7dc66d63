package textencoding

import "unicode/utf8"

// cutMark ends a text that was cut.
const cutMark = "…"

// Cut returns a text of at most limit bytes: the text itself, or its beginning up to
// the end of a character, with … behind it.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := max(limit-len(cutMark), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + cutMark
}
