package relay

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var errNotBuilt = errors.New("not built yet")

// WrongInput is an error about something that a caller gave: which part, and
// what is wrong with it.
type WrongInput struct {
	Field string
	Err   error
}

func (e *WrongInput) Error() string { return e.Err.Error() }
func (e *WrongInput) Unwrap() error { return e.Err }

// Turn turns a switch on or off. An event may be named without its source if
// only one source has it. A during of zero means until it is turned on by hand. It
// returns the switch as it is now.
func (r *Runtime) Turn(ctx context.Context, s queue.Switch, during time.Duration) (queue.Switch, error) {
	return s, errNotBuilt
}

// Switches returns what is switched off.
func (r *Runtime) Switches() []queue.Switch { return nil }

// Cancel ends unfinished deliveries: one, by the id of the delivery, or all of
// an action. It returns how many.
func (r *Runtime) Cancel(ctx context.Context, delivery, action string) (int, error) {
	return 0, errNotBuilt
}

// Move hands the unfinished deliveries of an action to a configured one.
func (r *Runtime) Move(ctx context.Context, from, to string) (int, error) { return 0, errNotBuilt }
