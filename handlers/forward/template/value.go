package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// textOf returns the value of an expression as text: numbers with their exact
// digits, lists and objects as JSON, and nothing for what is absent.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	}
	text, err := appendPlain(nil, value)
	return string(text), err
}

// appendPlain appends a value that is neither a text nor absent. What it writes
// is JSON too.
func appendPlain(dst []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	}
	buffer := bytes.NewBuffer(dst)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return dst, fmt.Errorf("writing a %T as JSON: %w", value, err)
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

// appendJSON appends a value as JSON. A number that JSON cannot spell (a phone
// number's leading zero) is written as a text.
func appendJSON(dst []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return append(escape.AppendJSON(append(dst, '"'), v), '"'), nil
	case json.Number:
		if !isJSONNumber(v.String()) {
			return appendJSON(dst, v.String())
		}
		return append(dst, v...), nil
	}
	return appendPlain(dst, value)
}

func isJSONNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}
