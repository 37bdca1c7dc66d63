package activity

import (
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// ShortestID is how much of an id must be given to look for it.
const ShortestID = 8

// NotFound returns the error of Find if so many events have an id that begins as it was
// given.
func NotFound(matches int) error {
	if matches == 0 {
		return fmt.Errorf("%w; give an id as the activity lists it, or a beginning of at least %d characters", queue.ErrNotFound, ShortestID)
	}
	return fmt.Errorf("%w: %d events begin so; give more of the id", queue.ErrNotFound, matches)
}
