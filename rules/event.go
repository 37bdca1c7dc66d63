package rules

import "time"

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

	// Parameters are the system parameters, nil where absent.
	Parameters Parameters

	// Fields are the values of the source's own fields, nil where absent.
	Fields map[string]any
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
		text, _ := textOf(tenant)
		return text
	}
}
