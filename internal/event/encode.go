package event

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// invalidBytes says what becomes of bytes that are not valid UTF-8, which JSON
// cannot hold.
type invalidBytes bool

const (
	// replaceInvalid writes U+FFFD for each.
	replaceInvalid invalidBytes = false
	// escapeInvalid writes the byte 0xNN as the lone surrogate \udcNN, which no
	// valid text contains, so that decodeJSON can restore it.
	escapeInvalid invalidBytes = true
)

// AppendJSON appends a value as an event holds it as compact JSON, members sorted
// by name. Bytes that are not valid UTF-8 become U+FFFD. It fails for values that
// are nested deeper than MaxDepth, and for those of types that no event holds.
func AppendJSON(out []byte, v any) ([]byte, error) {
	return appendValue(out, v, replaceInvalid, 0)
}

// AppendText appends a text as a JSON string, as AppendJSON does.
func AppendText(out []byte, text string) []byte {
	return appendText(out, text, replaceInvalid)
}

// appendValue appends a value as compact JSON, members sorted by name. It fails
// only for values that are nested too deep.
func appendValue(out []byte, v any, invalid invalidBytes, depth int) (_ []byte, err error) {
	if depth > MaxDepth {
		return out, ErrDepth
	}
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case string:
		return appendText(out, v, invalid), nil
	case int64:
		return strconv.AppendInt(out, v, 10), nil
	case json.Number:
		// A literal that JSON does not know must not spoil the whole text.
		if IsNumberLiteral(string(v)) {
			return append(out, v...), nil
		}
		return appendText(out, string(v), invalid), nil
	case []any:
		out = append(out, '[')
		for i, element := range v {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendValue(out, element, invalid, depth+1); err != nil {
				return out, err
			}
		}
		return append(out, ']'), nil
	case map[string]any:
		out = append(out, '{')
		for i, name := range sortedNames(v) {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendText(out, name, invalid)
			out = append(out, ':')
			if out, err = appendValue(out, v[name], invalid, depth+1); err != nil {
				return out, err
			}
		}
		return append(out, '}'), nil
	}
	return out, fmt.Errorf("a value of type %T has no JSON form", v)
}

// sortedNames returns the keys of a map in order.
func sortedNames[V any](m map[string]V) []string {
	names := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(names)
	return names
}

// appendText appends a text as a JSON string.
func appendText(out []byte, text string, invalid invalidBytes) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	copied := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		} else if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		out = append(out, text[copied:i]...)
		switch {
		case c == '"', c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c == '\t':
			out = append(out, '\\', 't')
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case invalid == escapeInvalid:
			out = append(out, '\\', 'u', 'd', 'c', hex[c>>4], hex[c&15])
		default:
			out = utf8.AppendRune(out, utf8.RuneError)
		}
		i++
		copied = i
	}
	out = append(out, text[copied:]...)
	return append(out, '"')
}
