// Package escape writes text so that it stays inside the place where it is put:
// a JSON string, XML, a URL, the head of a form's part, a header field. What is not
// escaped could end that place and change what a reader makes of the whole.
//
// Each function appends to a slice and never fails. Where a place cannot hold a
// character at all, its comment says what becomes of that character.
package escape

import "unicode/utf8"

// AppendJSON appends a text as it stands between the quotes of a JSON string. A
// byte that is not UTF-8 becomes U+FFFD. U+2028 and U+2029 are escaped too: to a
// JavaScript that takes the JSON for its own source they would end a line.
func AppendJSON(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	copied := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, text[copied:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			copied = i
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, text[copied:i]...), "\uFFFD"...)
			copied = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, text[copied:i]...), `\u202`...)
			dst = append(dst, hex[r&15])
			copied = i + size
		}
		i += size
	}
	return append(dst, text[copied:]...)
}
