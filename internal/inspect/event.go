package inspect

import (
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Show returns everything that is known of one event, by its id or the id of
// one of its deliveries, or a beginning of either. It wraps queue.ErrNotFound.
func Show(ctx context.Context, runtime *relay.Runtime, id string) (Detail, error) {
	history, err := runtime.Store().Find(ctx, id)
	if err != nil {
		return Detail{}, err
	}
	detail := Detail{Summary: history.Summary}
	if event := history.Event; event != nil {
		detail.Request = requestOf(event)
		detail.Parameters = parametersOf(event)
		detail.Fields = event.Fields
		detail.Notes = event.Notes()
		detail.Values = valuesOf(event)
	}
	SayWhy(runtime, []queue.Summary{history.Summary})
	detail.Deliveries = make([]DeliveryDetail, len(history.Summary.Deliveries))
	for i, delivery := range history.Summary.Deliveries {
		detail.Deliveries[i] = DeliveryDetail{
			DeliveryState: delivery,
			Behind:        history.Behind[delivery.ID],
			History:       attemptsOf(history.Attempts[delivery.ID]),
		}
	}
	return detail, nil
}

// Detail is one event as the admin API and the commands show it.
type Detail struct {
	queue.Summary
	Request    Request        `json:"request"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Fields     map[string]any `json:"fields,omitempty"`
	// Values are what templates and conditions can use of the event, but for its
	// headers: single values, by the names that they have there.
	Values []Value `json:"values,omitempty"`
	// Notes say which system parameters could not be read, and what was sent.
	Notes      []string         `json:"notes,omitempty"`
	Deliveries []DeliveryDetail `json:"deliveries,omitempty"`
}

// Value is a value of an event.
type Value struct {
	// Path is how templates and conditions call it, such as body.project.id.
	Path string `json:"path"`
	// Value is the value as JSON, shortened.
	Value string `json:"value"`
}

// Request is the event's request, without its credentials.
type Request struct {
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	IP      string              `json:"ip,omitempty"`
	Query   map[string][]string `json:"query,omitempty"`
	Headers map[string][]string `json:"headers,omitempty"`
	// Body is the body as it came, if it is text.
	Body string `json:"body,omitempty"`
	// Binary is the body as it came, if it is not.
	Binary []byte `json:"body_base64,omitempty"`
}

// DeliveryDetail is one delivery with its attempts.
type DeliveryDetail struct {
	queue.DeliveryState
	// Behind is the delivery of the same order key that must end before this one
	// may be attempted, by its id. Empty for a delivery that waits for no other.
	Behind  string    `json:"behind,omitempty"`
	History []Attempt `json:"history,omitempty"`
}

// Attempt is one try, with the request as sent (secrets masked) and the first
// part of the answer.
type Attempt struct {
	Began    time.Time `json:"began"`
	Millis   float64   `json:"took_ms"`
	Status   int       `json:"status,omitempty"`
	Error    string    `json:"error,omitempty"`
	Request  string    `json:"request,omitempty"`
	Response string    `json:"response,omitempty"`
	Empty    []string  `json:"empty,omitempty"`
}

func requestOf(event *event.Event) Request {
	request := Request{
		Method: event.Method, Path: event.Path, IP: event.IP,
		Query: event.Query, Headers: event.Headers,
	}
	if utf8.Valid(event.RawBody) {
		request.Body = string(event.RawBody)
	} else {
		request.Binary = event.RawBody
	}
	return request
}

func valuesOf(event *event.Event) []Value {
	fields := newFields()
	fields.look(event)
	var values []Value
	for _, seen := range fields.list() {
		composed := slices.Contains(seen.Types, "object") || slices.Contains(seen.Types, "array")
		if !composed && group(seen.Path) != groupOfHeaders {
			values = append(values, Value{Path: seen.Path, Value: seen.Example})
		}
	}
	return values
}

func parametersOf(e *event.Event) map[string]any {
	parameters := make(map[string]any)
	for _, parameter := range event.SystemParameters() {
		if value := e.Parameters[parameter]; value != nil {
			parameters[parameter.String()] = value
		}
	}
	return parameters
}

func attemptsOf(attempts []queue.Attempt) []Attempt {
	shown := make([]Attempt, len(attempts))
	for i, attempt := range attempts {
		shown[i] = Attempt{
			Began:  attempt.Began,
			Millis: float64(attempt.Took.Microseconds()) / 1000,
			Status: attempt.Status, Error: attempt.Error,
			Request: attempt.Request, Response: attempt.Response,
			Empty: attempt.Empty,
		}
	}
	return shown
}
