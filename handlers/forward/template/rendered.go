package template

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
)

// Rendered is what an action sends for an event, an HTTP request (Request) or a mail
// (Mail). It can be sent any number of times, and shown also if it is never sent.
type Rendered interface {
	// Send sends it through connections and reads what the target answers, within a
	// time-out.
	Send(ctx context.Context, through *send.Connections, timeout time.Duration) send.Result

	// Empty names the tags that rendered as nothing, each once.
	Empty() []string

	// String shows it as it is sent, for an administrator: credentials and secrets
	// masked, and cut to 4 KiB.
	String() string
}

var (
	_ Rendered = (*Request)(nil)
	_ Rendered = (*Mail)(nil)
)

// shownBytes bounds what is shown of what is sent.
const shownBytes = 4 << 10
