package receive

import (
	"errors"
	"fmt"
)

// ErrSenderGone means that the sender went away before its request was
// complete. No answer can reach it.
var ErrSenderGone = errors.New("sender went away")

// Methods are the methods that a sender may use, for an Allow header.
const Methods = "GET, HEAD, PUT, POST, PATCH, DELETE"

// Refusal says why a request was refused. The sender learns the status and
// nothing more.
type Refusal struct {
	// Status is 400 (broken framing only), 401, 403, 405, 408, 413, 415 or 503.
	Status int
	// Reason is a sentence for an administrator. It holds nothing of the
	// request's body or credentials.
	Reason string
	// Carried says that the request carries a credential that a source asks for, right
	// or wrong: it most likely comes from a sender.
	Carried bool
}

// Error returns the reason.
func (r *Refusal) Error() string {
	return fmt.Sprintf("refusing request with %d: %s", r.Status, r.Reason)
}

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Reason: fmt.Sprintf(format, args...)}
}
