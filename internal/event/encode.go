package event

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// AppendJSON appends a value as an event holds it as compact JSON, members sorted
// by name. Bytes that are not valid UTF-8 become U+FFFD. It fails for values that
// are nested deeper than MaxDepth, and for those of types that no event holds.
func AppendJSON(out []byte, v any) ([]byte, error) {
	return appendValue(out, v, 0)
}

// appendValue appends a value as compact JSON, members sorted by name. It fails
// only for values that are nested too deep.
func appendValue(out []byte, v any, depth int) (_ []byte, err error) {
	if depth > MaxDepth {
		return out, ErrDepth
	}
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case string:
		return appendText(out, v), nil
	case int64:
		return strconv.AppendInt(out, v, 10), nil
	case json.Number:
		// A literal that JSON does not know must not spoil the whole text.
		if IsNumberLiteral(string(v)) {
			return append(out, v...), nil
		}
		return appendText(out, string(v)), nil
	case []any:
		out = append(out, '[')
		for i, element := range v {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendValue(out, element, depth+1); err != nil {
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
			out = appendText(out, name)
			out = append(out, ':')
			if out, err = appendValue(out, v[name], depth+1); err != nil {
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
func appendText(out []byte, text string) []byte {
	return append(escape.AppendJSON(append(out, '"'), text), '"')
}
