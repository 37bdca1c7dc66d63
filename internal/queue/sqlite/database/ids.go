package database

import (
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Ids are numbers that contain the id of what they belong to: the deliveries
// of an event and their attempts are ranges of keys. 40 bits are left for
// events: at 20,000 a second without a pause, enough for a year and a half of
// nothing but that, and for centuries of real work.
const (
	// DeliveryBits are the low bits of a delivery's id: its place in the event's list.
	DeliveryBits = 11
	// AttemptBits are the low bits of an attempt's id: its number, from 0.
	AttemptBits = 12

	// MaxEvent is behind the last event that can be.
	MaxEvent = 1<<(63-DeliveryBits-AttemptBits) - 1
	// FirstEvent is the first event of a new database. Below it there is room for
	// older events from another database, which a merge adds.
	FirstEvent = 1 << 36
	// MaxDeliveries is how many deliveries an event can have.
	MaxDeliveries = 1 << DeliveryBits
	// LastAttempt is the number of the last attempt of a delivery that has a
	// row of its own; later ones replace it, so that the latest is always kept.
	LastAttempt = 1<<AttemptBits - 1
)

// DeliveryID returns the id of the delivery at place n of an event.
func DeliveryID(event int64, n int) int64 { return event<<DeliveryBits | int64(n) }

// PlaceOf returns the place of a delivery in the list of its event.
func PlaceOf(delivery int64) int { return int(delivery & (MaxDeliveries - 1)) }

// AttemptID returns the id of attempt n of a delivery, from 0.
func AttemptID(delivery int64, n int) int64 {
	return delivery<<AttemptBits | int64(min(n, LastAttempt))
}

// AttemptRange returns the first attempt id of an event and that of the next.
func AttemptRange(event int64) (from, to int64) {
	return event << (DeliveryBits + AttemptBits), (event + 1) << (DeliveryBits + AttemptBits)
}

// Micros returns a time as it is stored: in microseconds since 1970, which SQLite
// orders and compares as numbers.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// MicrosUp is Micros but rounds up, so that what is due then is never early.
func MicrosUp(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

// FromMicros returns the time that is stored as n.
func FromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

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
