package language

import (
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// maxShown is how much of a value is shown, in bytes, with the mark of what was cut.
const maxShown = 200 + len("…")

// show returns a value in JSON, without secrets, and cut when it is long. A
// value that is made from a secret is not shown: not even its length.
func show(masker *secret.Masker, value any, isSecret bool) string {
	if isSecret {
		return secret.Masked
	}
	encoded, err := event.AppendJSON(nil, value)
	if err != nil {
		return "…"
	}
	return masker.MaskTo(string(encoded), maxShown)
}
