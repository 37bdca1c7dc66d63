package replay

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
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/relay"
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
// apply to it. Its errors are *relay.WrongInput, and those of queue.Queue's Put.
func Send(ctx context.Context, runtime *relay.Runtime, test TestEvent) (Sent, error) {
	generation := runtime.Generation()
	if generation == nil {
		return Sent{}, fmt.Errorf("sending a test event: %w", relay.ErrNotInService)
	}
	received, err := receiveTest(ctx, generation, test)
	if err != nil {
		return Sent{}, err
	}
	if err := runtime.Accept(ctx, generation, received); err != nil {
		return Sent{}, fmt.Errorf("storing a test event: %w", err)
	}
	sent := Sent{IDs: make([]string, len(received.Events))}
	for i, event := range received.Events {
		sent.IDs[i] = event.ID
	}
	return sent, nil
}

// receiveTest reads a test event as its source reads its requests.
func receiveTest(ctx context.Context, generation *relay.Generation, test TestEvent) (*receive.Received, error) {
	if test.Source != names.RelaySource {
		if err := generation.CheckSource(test.Source); err != nil {
			return nil, &relay.WrongInput{Field: "source", Err: err}
		}
	}
	if test.Event == "" {
		return nil, relay.Wrong("event", "give the name of an event of source %s", test.Source)
	}
	_, event, err := rules.FindEvent(generation.Declared, test.Source+":"+test.Event)
	if err != nil {
		return nil, &relay.WrongInput{Field: "event", Err: err}
	}
	query := url.Values{}
	for name, value := range test.Values {
		query.Set(name, value)
	}
	if test.Source == names.RelaySource {
		return ownTest(generation, event, query, test.Body)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, testURL(generation, test.Source, event, query), strings.NewReader(test.Body))
	if err != nil {
		return nil, fmt.Errorf("making a test event: %w", err)
	}
	if test.ContentType != "" {
		request.Header.Set("Content-Type", test.ContentType)
	}
	received, err := generation.Receiver.ReceiveTest(test.Source, event, request)
	if refusal := (*receive.Refusal)(nil); errors.As(err, &refusal) {
		return nil, &relay.WrongInput{Field: "body", Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("making a test event: %w", err)
	}
	received.DedupeKeys = nil
	return received, nil
}

// testURL is where a sender would post the event, as far as that is known, so
// that the stored request names the event like others of its source.
func testURL(generation *relay.Generation, source, event string, query url.Values) string {
	path := "/"
	if address, err := url.Parse(generation.Configuration.Addresses[source]); err == nil && address.Path != "" {
		path = address.Path
	}
	return (&url.URL{Path: path}).JoinPath(url.PathEscape(event)).String() + "?" + query.Encode()
}

// ownTest makes a test of one of the relay's own events, so that an
// administrator can see whether it would reach a target.
func ownTest(generation *relay.Generation, name string, query url.Values, body string) (*receive.Received, error) {
	members := map[string]any{}
	if body != "" {
		decoded, err := event.DecodeJSON(body)
		if err != nil {
			return nil, &relay.WrongInput{Field: "body", Err: err}
		}
		var isObject bool
		if members, isObject = decoded.(map[string]any); !isObject {
			return nil, relay.Wrong("body", "the body of an event of the relay is a JSON object")
		}
	}
	e, err := generation.OwnEvent(name, time.Now().UTC().Round(0), members)
	if err != nil {
		return nil, fmt.Errorf("making a test event: %w", err)
	}
	e.Test, e.Method, e.Query = true, http.MethodPost, query
	return &receive.Received{Source: names.RelaySource, Events: []*event.Event{e}}, nil
}
