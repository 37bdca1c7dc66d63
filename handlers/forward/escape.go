package forward

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape says how a value is put into the place where its tag stands.
type escape uint8

const (
	// asIs puts a value in unchanged: raw bodies are sent unprocessed.
	asIs escape = iota
	// percent is for path segments and query values: all but the unreserved
	// characters are percent-encoded, a slash and a blank too.
	percent
	// jsonText is for inside the quotes of a JSON string.
	jsonText
	// jsonValue makes the value a JSON value.
	jsonValue
	// xmlText is for XML text and attributes.
	xmlText
	// cdataText is for inside a CDATA section of XML. The section ends before the
	// value and begins again after it, because nothing can be escaped in one.
	cdataText
	// partName is for the name of a form's part.
	partName
	// headerText is for header values.
	headerText
)

// errControl means that a header value would hold a control character.
var errControl = errors.New("the value holds a control character")

// append appends a value, escaped.
func (e escape) append(dst []byte, value any) ([]byte, error) {
	if e == jsonValue {
		return appendJSON(dst, value)
	}
	if number, ok := value.(int64); ok {
		// Digits need no escaping anywhere.
		return strconv.AppendInt(dst, number, 10), nil
	}
	text, err := textOf(value)
	if err != nil {
		return dst, err
	}
	switch e {
	case percent:
		return appendPercent(dst, text, isUnreserved), nil
	case jsonText:
		return appendJSONText(dst, text), nil
	case xmlText:
		return appendXML(dst, text), nil
	case cdataText:
		return append(appendXML(append(dst, "]]>"...), text), "<![CDATA["...), nil
	case partName:
		return appendPartName(dst, text), nil
	case headerText:
		if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
			return dst, fmt.Errorf("%w (%U)", errControl, []rune(text[i:])[0])
		}
	}
	return append(dst, text...), nil
}

const upperHex = "0123456789ABCDEF"

// appendPercent appends a text with every byte percent-encoded that may not
// stay.
func appendPercent(dst []byte, text string, stays func(byte) bool) []byte {
	for i := range len(text) {
		if c := text[i]; stays(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~'
}

// What the administrator wrote in a URL is sent as written, percent signs
// included, save for what cannot stand in a request line. Postman encodes the
// same characters.
func staysInPath(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("\"<>\\`{}#?", rune(c))
}

func staysInQuery(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("\"<>'#", rune(c))
}

// A query value that is a setting of its own is to arrive as it reads, so what
// has a meaning in a query is encoded, and no more.
func staysInQueryName(c byte) bool {
	return isUnreserved(c) || strings.ContainsRune("!$()*,:@/?[]", rune(c))
}

func staysInQueryValue(c byte) bool { return c == '=' || staysInQueryName(c) }

// encodeWith returns the function that percent-encodes what may not stay.
func encodeWith(stays func(byte) bool) func(string) string {
	return func(text string) string { return string(appendPercent(nil, text, stays)) }
}

// unchanged returns a literal as it is.
func unchanged(text string) string { return text }

// appendJSONText appends a text as it stands between the quotes of a JSON
// string. Bytes that are no UTF-8 become U+FFFD.
func appendJSONText(dst []byte, text string) []byte {
	done := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, text[done:i]...)
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
				dst = append(dst, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
			}
			i++
			done = i
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, text[done:i]...), "\uFFFD"...)
			done = i + size
		case r == '\u2028' || r == '\u2029':
			// Line ends to a JavaScript that reads the body as its own source.
			dst = append(append(dst, text[done:i]...), `\u202`...)
			dst = append(dst, upperHex[r&15])
			done = i + size
		}
		i += size
	}
	return append(dst, text[done:]...)
}

// appendXML appends a text as it stands in XML text or an attribute.
// Characters that XML 1.0 cannot hold become U+FFFD.
func appendXML(dst []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&quot;"...)
		case r == '\'':
			dst = append(dst, "&apos;"...)
		case r == '\t' || r == '\n' || r == '\r':
			dst = append(dst, '&', '#', 'x', upperHex[r], ';')
		case r < ' ' || r == 0xfffe || r == 0xffff:
			dst = append(dst, "\uFFFD"...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
