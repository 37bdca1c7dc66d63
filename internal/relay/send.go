package relay

import "context"

// TestEvent is an event that an administrator makes up to try the rules.
type TestEvent struct {
	Source string `json:"source"`
	Event  string `json:"event"`
	// Values are sent like the query of a request.
	Values map[string]string `json:"values,omitempty"`
	// Body and ContentType are sent as they are.
	Body        string `json:"body,omitempty"`
	ContentType string `json:"content_type,omitempty"`
}

// Sent is what became of a test event.
type Sent struct {
	// IDs are the events that were stored.
	IDs []string `json:"ids"`
}

// Send takes a test event through the same way as any other: it is decided,
// stored and carried out, and marked as a test throughout. Dedupe does not
// apply to it.
func (r *Runtime) Send(ctx context.Context, test TestEvent) (Sent, error) {
	return Sent{}, errNotBuilt
}
