package database

import (
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// mistake is an error that trying again does not mend.
type mistake struct{ error }

func (m mistake) Is(target error) bool { return target == queue.ErrMisconfigured }
func (m mistake) Unwrap() error        { return m.error }

// Mistaken returns an error that wraps queue.ErrMisconfigured: trying again does not
// mend what it says.
func Mistaken(format string, args ...any) error { return mistake{fmt.Errorf(format, args...)} }
