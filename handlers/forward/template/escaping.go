package template

import (
	"strconv"

	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// escaping says how a value is put into the place where its tag stands.
type escaping uint8

const (
	// asIs puts a value in unchanged: raw bodies are sent unprocessed.
	asIs escaping = iota
	// percent is for path segments and query values: all but the unreserved
	// characters are percent-encoded, a slash and a blank too.
	percent
	// jsonText is for inside the quotes of a JSON string.
	jsonText
	// jsonValue makes the value a JSON value.
	jsonValue
	// xmlText is for XML text and attributes.
	xmlText
	// cdataText is for inside a CDATA section of XML.
	cdataText
	// partName is for the name of a form's part.
	partName
	// headerText is for header values.
	headerText
)

// append appends a value, escaped.
func (e escaping) append(dst []byte, value any) ([]byte, error) {
	if e == jsonValue {
		return event.AppendJSON(dst, value)
	}
	if number, ok := value.(int64); ok {
		// Digits need no escaping anywhere.
		return strconv.AppendInt(dst, number, 10), nil
	}
	text, err := event.TextOf(value)
	if err != nil {
		return dst, err
	}
	switch e {
	case percent:
		return escape.Unreserved.Append(dst, text), nil
	case jsonText:
		return escape.AppendJSON(dst, text), nil
	case xmlText:
		return escape.AppendXML(dst, text), nil
	case cdataText:
		return escape.AppendCDATA(dst, text), nil
	case partName:
		return escape.AppendPartName(dst, text), nil
	case headerText:
		if err := escape.CheckHeader(text); err != nil {
			return dst, err
		}
	}
	return append(dst, text...), nil
}

// unchanged returns a literal as it is.
func unchanged(text string) string { return text }
