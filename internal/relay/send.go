package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestEvent is an event that an administrator makes up to try the rules.
type TestEvent struct {
	Source string `json:"source"`
	// Event is the name of an event that the source knows.
	Event string `json:"event"`
	// Values are sent like the query of a request.
	Values map[string]string `json:"values,omitempty"`
	// Body and ContentType are sent as they are. A body without a type is read
	// as what it looks like.
	Body        string `json:"body,omitempty"`
	ContentType string `json:"content_type,omitempty"`
}

// Sent is what became of a test event.
type Sent struct {
	// IDs are the events that were stored: several, if the body holds a batch.
	IDs []string `json:"ids"`
}

// Send takes a test event through the same way as any other: it is decided,
// stored and carried out, and marked as a test throughout. Dedupe does not
// apply to it. Its errors are *WrongInput, and those of queue.Queue's Put.
func (r *Runtime) Send(ctx context.Context, test TestEvent) (Sent, error) {
	generation := r.Newest()
	if generation == nil {
		return Sent{}, fmt.Errorf("sending a test event: %w", errNotInService)
	}
	received, err := generation.receiveTest(ctx, test)
	if err != nil {
		return Sent{}, err
	}
	if err := r.Accept(ctx, generation, received); err != nil {
		return Sent{}, fmt.Errorf("storing a test event: %w", err)
	}
	sent := Sent{IDs: make([]string, len(received.Events))}
	for i, event := range received.Events {
		sent.IDs[i] = event.ID
	}
	return sent, nil
}

// receiveTest reads a test event as its source reads its requests.
func (g *Generation) receiveTest(ctx context.Context, test TestEvent) (*receive.Received, error) {
	if test.Source != OwnSource {
		if err := g.checkSource(test.Source); err != nil {
			return nil, &WrongInput{Field: "source", Err: err}
		}
	}
	if test.Event == "" {
		return nil, wrong("event", "give the name of an event of source %s", test.Source)
	}
	_, event, err := rules.FindEvent(g.declared, test.Source+":"+test.Event)
	if err != nil {
		return nil, &WrongInput{Field: "event", Err: err}
	}
	query := url.Values{}
	for name, value := range test.Values {
		query.Set(name, value)
	}
	if test.Source == OwnSource {
		return ownTest(event, query, test.Body)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.testPath(test.Source, event)+"?"+query.Encode(), strings.NewReader(test.Body))
	if err != nil {
		return nil, fmt.Errorf("making a test event: %w", err)
	}
	if test.ContentType != "" {
		request.Header.Set("Content-Type", test.ContentType)
	}
	received, err := g.receiver.ReceiveTest(test.Source, event, request)
	if refusal := (*receive.Refusal)(nil); errors.As(err, &refusal) {
		return nil, &WrongInput{Field: "body", Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("making a test event: %w", err)
	}
	received.DedupeKeys = nil
	return received, nil
}

// testPath is where a sender would post the event, as far as that is known, so
// that the stored request names the event like others of its source.
func (g *Generation) testPath(source, event string) string {
	at, err := parseMount(g.configuration.Addresses[source])
	if err != nil {
		at = mount{}
	}
	at.origin = ""
	return at.at(event).String()
}

// ownTest makes a test of one of the relay's own events, so that an
// administrator can see whether it would reach anybody.
func ownTest(name string, query url.Values, body string) (*receive.Received, error) {
	members := map[string]any{}
	if body != "" {
		decoded, err := event.DecodeJSON([]byte(body))
		if err != nil {
			return nil, &WrongInput{Field: "body", Err: err}
		}
		var isObject bool
		if members, isObject = decoded.(map[string]any); !isObject {
			return nil, wrong("body", "the body of an event of the relay is a JSON object")
		}
	}
	e, err := ownEvent(name, time.Now().UTC().Round(0), members)
	if err != nil {
		return nil, fmt.Errorf("making a test event: %w", err)
	}
	e.Test, e.Method, e.Query = true, http.MethodPost, query
	return &receive.Received{Source: OwnSource, Events: []*event.Event{e}}, nil
}
