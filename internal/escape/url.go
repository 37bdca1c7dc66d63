package escape

import (
	"cmp"
	"slices"
	"strings"
)

// Set is a set of ASCII characters that percent-encoding leaves as they are. Every
// other byte is encoded.
type Set [256]bool

// The sets for the places of a URL.
var (
	// Unreserved are the characters that mean nothing but themselves anywhere in a
	// URL (RFC 3986, 2.3). It is the set for text that is not trusted, and the one
	// that every reader of a path, a query or a form decodes alike.
	Unreserved = setOf(func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~", c) >= 0
	})

	// Path and Query are for a path and a query as an administrator wrote them.
	// Percent signs stay, so that what is encoded already is not encoded again. Only
	// what cannot stand in a request line is encoded. Postman encodes the same.
	Path  = setOf(func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte("\"<>\\`{}#?", c) < 0 })
	Query = setOf(func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte("\"<>'#", c) < 0 })

	// QueryName and QueryValue are for a name and a value of a query that are
	// written by themselves and are to arrive as they read.
	QueryName  = setOf(func(c byte) bool { return Unreserved[c] || strings.IndexByte("!$()*,:@/?[]", c) >= 0 })
	QueryValue = setOf(func(c byte) bool { return QueryName[c] || c == '=' })
)

func setOf(has func(c byte) bool) *Set {
	set := new(Set)
	for c := range set {
		set[c] = has(byte(c))
	}
	return set
}

const upperHex = "0123456789ABCDEF"

// Append appends a text with every byte percent-encoded that is not in the set.
func (s *Set) Append(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; s[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// Encode returns a text with every byte percent-encoded that is not in the set.
func (s *Set) Encode(text string) string { return string(s.Append(nil, text)) }

// DecodePercent undoes percent-encoding. A percent sign that is not followed by two
// hex digits stays as it is, and so does a plus.
func DecodePercent(text string) string {
	if strings.IndexByte(text, '%') < 0 {
		return text
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if isEncoded(text[i:]) {
			plain = append(plain, fromHex(text[i+1])<<4|fromHex(text[i+2]))
			i += 2
			continue
		}
		plain = append(plain, text[i])
	}
	return string(plain)
}

// LowerPercent returns a percent-encoded text with its hex digits in lower case, as
// some programs write them.
func LowerPercent(text string) string {
	lower := []byte(text)
	for i := range lower {
		if isEncoded(text[i:]) {
			lower[i+1] |= 0x20
			lower[i+2] |= 0x20
		}
	}
	return string(lower)
}

// LongestFirst returns forms of a text in the order in which they are to be looked
// for, each once: one that contains another comes before it.
func LongestFirst(forms []string) []string {
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(forms)
}

// isEncoded reports whether a text begins with a percent-encoded byte.
func isEncoded(text string) bool {
	return len(text) > 2 && text[0] == '%' && isHex(text[1]) && isHex(text[2])
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
