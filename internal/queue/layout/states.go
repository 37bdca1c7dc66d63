package layout

import "github.com/caddy-event-relay/event-relay/internal/queue"

// States are the states of deliveries in the order of their stored numbers.
var States = [...]queue.State{queue.Pending, queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled}

// The states as the table attempts has them.
const (
	Pending = iota
	Delivered
	Failed
	Expired
	Cancelled
)

// Mended is added to the stored state of a delivery that is mended (see queue.Mend),
// so that the index of those that ended badly tells them apart.
const Mended = 3

// StateOf returns the state that is stored as a number, and false if there is none.
func StateOf(n int64) (queue.State, bool) {
	if n > Cancelled && n <= Cancelled+Mended {
		n -= Mended
	}
	if n < 0 || n >= int64(len(States)) {
		return "", false
	}
	return States[n], true
}

// StateNumber returns the stored number of a state, and false for an unknown one.
func StateNumber(s queue.State) (int64, bool) {
	for i, state := range States {
		if state == s {
			return int64(i), true
		}
	}
	return 0, false
}
