package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Body is the body of an action's request.
type Body struct {
	// What the body is: `json` (the text is a JSON document, and what is put
	// into it is escaped as JSON), `xml` (the same with XML), `raw` (the text
	// is sent as it is), `form` (the fields, as multipart/form-data),
	// `urlencoded` (the fields, as application/x-www-form-urlencoded),
	// `forward` (the body of the event's request as it came, with its
	// Content-Type) or `none`. Default: `none`.
	Kind string `json:"kind,omitempty"`

	// The Content-Type of a `raw` body. If it says JSON or XML, what is put into
	// the text is escaped for that. A `Content-Type` header of the action goes
	// before it. Default: `text/plain; charset=utf-8`.
	Type string `json:"type,omitempty"`

	// The text of a `json`, `xml` or `raw` body, a template.
	Text string `json:"text,omitempty"`

	// The fields of a `form` or `urlencoded` body, in this order.
	Fields []BodyField `json:"fields,omitempty"`
}

// BodyField is a field of a form. Names may be given more than once.
type BodyField struct {
	// The name, a template.
	Name string `json:"name"`

	// The value, a template.
	Value string `json:"value"`

	// The Content-Type of the field's part in a `form` body, a template that may
	// hold nothing but custom parameters. If it says JSON or XML, what is put
	// into the value is escaped for that. Default: none, so that the part says
	// nothing about it.
	Type string `json:"type,omitempty"`
}

// The kinds of bodies.
const (
	// BodyNone is no body.
	BodyNone = "none"
	// BodyForm is multipart/form-data with one part for each field.
	BodyForm = "form"
	// BodyURLEncoded is application/x-www-form-urlencoded.
	BodyURLEncoded = "urlencoded"
	// BodyRaw is text that is sent as it is written.
	BodyRaw = "raw"
	// BodyJSON is one JSON value.
	BodyJSON = "json"
	// BodyXML is one XML document.
	BodyXML = "xml"
	// BodyForward is the event's own body, byte for byte, with its own
	// Content-Type. An event without a body makes a request without one.
	BodyForward = "forward"
)

// BodyKinds are the kinds of bodies, in the order of the manual.
var BodyKinds = []string{BodyNone, BodyForm, BodyURLEncoded, BodyRaw, BodyJSON, BodyXML, BodyForward}

// Check finds unknown kinds, what has no meaning for the kind, and placeholders
// in templates.
func (b *Body) Check() error {
	kind, takes := b.Kind, []string(nil)
	switch b.Kind {
	case "":
		kind = BodyNone
	case BodyNone, BodyForward:
	case BodyRaw:
		takes = []string{"type", "text"}
	case BodyJSON, BodyXML:
		takes = []string{"text"}
	case BodyForm, BodyURLEncoded:
		takes = []string{"fields"}
	default:
		return names.Unknown("body kind", b.Kind, BodyKinds, "")
	}
	if err := refuseOthers("body "+kind, takes, given{"type", b.Type != ""}, given{"text", b.Text != ""}, given{"fields", len(b.Fields) > 0}); err != nil {
		return err
	}
	switch {
	case strings.Contains(b.Type, "{{"):
		return errors.New("the type of a raw body is no template; a header Content-Type may hold parameters")
	case strings.ContainsFunc(b.Type, unicode.IsControl):
		return fmt.Errorf("%q cannot be a Content-Type", b.Type)
	}
	for _, field := range b.Fields {
		if field.Name == "" {
			return errors.New("a field needs a name")
		}
		if field.Type != "" && b.Kind != BodyForm {
			return fmt.Errorf("field %s: only the parts of a form have a type", field.Name)
		}
		for _, text := range []string{field.Name, field.Value, field.Type} {
			if err := CheckTemplate(text); err != nil {
				return fmt.Errorf("field %s: %w", field.Name, err)
			}
		}
	}
	return CheckTemplate(b.Text)
}
