package event

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// UnknownName is the name of an event whose request did not say which event
// it is. Such an event is kept, because an authenticated request is never
// dropped.
const UnknownName = "unknown"

// Event is one thing that happened at a sender, as one accepted request (or
// one element of a batch) told it. Once it has left the room that received it,
// an event is shared between goroutines and must not be changed.
type Event struct {
	// ID is a UUID of version 7 in its text form. It orders by time of receipt.
	ID string

	// Source is the name of the configured source that sent the event.
	Source string

	// Name is the event's name as rules name it, or UnknownName.
	Name string

	// Subject tells a person in one short line which project or caller the event is
	// about. Empty where that is not known. It is text for people in the form of
	// Line.
	Subject string

	// SubjectError says why there is no Subject although its source has a template for
	// it. It holds no values of the event.
	SubjectError string

	// Received is when the request was accepted.
	Received time.Time

	// Test marks an event that an administrator sent to try the rules.
	Test bool

	// Method, Path and IP describe the request. Path is the request's path
	// without credentials. IP is the sender's address as Caddy determined it.
	Method, Path, IP string

	// Query and Headers hold the request's query values and header fields
	// without credentials. Header names are in canonical form. A key that came
	// more than once keeps all its values in order; rules see the first.
	Query, Headers map[string][]string

	// RawBody is the body as it came, after content decoding and without
	// credentials.
	RawBody []byte

	// Body is the decoded body: nil, bool, int64, json.Number (a number that
	// int64 cannot hold, digits kept), string, []any or map[string]any.
	Body any

	// BodyIsRaw says that Body is exactly what DecodeJSON(RawBody) gives, so
	// that an engine need not store it a second time.
	BodyIsRaw bool

	// ParseError says what was wrong with a body that could not be read as
	// what it claimed to be. Body then holds what could be recovered.
	ParseError string

	// Parameters are the system parameters, nil where absent. Date and Time are in
	// their forms, Y-m-d and H:i:s, unless what was sent cannot be read with
	// certainty: then they are as they were sent.
	Parameters Parameters

	// Unread holds what was sent as a numeric parameter and cannot be read as a
	// number with certainty. Such a parameter is absent. Nil where there is none.
	Unread map[Parameter]string

	// Fields are the values of the source's own fields, nil where absent.
	Fields map[string]any
}

// Notes says why there is no subject, if it could not be made, and of each system
// parameter that could not be read what was sent in its place, in the order of the
// parameters. The texts hold values of the event.
func (e *Event) Notes() []string {
	var notes []string
	if e.SubjectError != "" {
		notes = append(notes, "there is no subject: "+e.SubjectError)
	}
	for p, value := range e.Parameters {
		p := Parameter(p)
		text, isText := value.(string)
		switch {
		case p.Numeric():
			if sent, ok := e.Unread[p]; ok {
				instead := "absent"
				if p == UnixTime {
					instead = "that of date and time, or of the receipt"
				}
				notes = append(notes, fmt.Sprintf("%s was sent as %s, which is not certain to be a number; it is %s", p, shown(sent), instead))
			}
		case isText && p == Date && ambiguous(text):
			notes = append(notes, fmt.Sprintf("%s was sent as %s, which can be two days; it is left as it was sent", p, shown(text)))
		case isText && (p == Date && !hasForm(text, time.DateOnly) || p == Time && !hasForm(text, time.TimeOnly)):
			notes = append(notes, fmt.Sprintf("%s was sent as %s, which is in no known form; it is left as it was sent", p, shown(text)))
		}
	}
	return notes
}

// ambiguous reports whether a text can mean two days.
func ambiguous(text string) bool {
	_, err := ReadTime(text, time.UTC)
	return errors.Is(err, errDayOrder)
}

// hasForm reports whether a text is a date or time in that form.
func hasForm(text, layout string) bool {
	_, err := time.Parse(layout, text)
	return err == nil && len(text) == len(layout)
}

// shown returns a text in quotes, cut when it is long.
func shown(text string) string {
	const most = 60
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strconv.Quote(text)
}

// Tenant returns the code of the tenant at which the event happened, "" if there
// is none.
func (e *Event) Tenant() string {
	switch tenant := e.Parameters[Tenant].(type) {
	case string:
		return tenant
	case nil:
		return ""
	default:
		text, _ := TextOf(tenant)
		return text
	}
}
