package event

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Kind is what an administrator calls the type of a value.
type Kind string

// The kinds of the values that events hold.
const (
	AbsentKind Kind = "nothing"
	BoolKind   Kind = "true or false"
	NumberKind Kind = "a number"
	TextKind   Kind = "text"
	ListKind   Kind = "a list"
	ObjectKind Kind = "an object"
)

// KindOf returns the kind of a value of an event.
func KindOf(v any) Kind {
	switch v.(type) {
	case nil:
		return AbsentKind
	case bool:
		return BoolKind
	case int64, json.Number:
		return NumberKind
	case string:
		return TextKind
	case []any:
		return ListKind
	case map[string]any:
		return ObjectKind
	}
	return Kind(fmt.Sprintf("a value of type %T", v))
}

// TextOf returns a value of an event as text: nothing for an absent value,
// numbers as they came, lists and objects as JSON. It fails as AppendJSON does.
func TextOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case json.Number:
		return string(v), nil
	}
	text, err := AppendJSON(nil, v)
	return string(text), err
}
