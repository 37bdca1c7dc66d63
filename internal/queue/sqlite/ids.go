package sqlite

import (
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Ids are numbers that contain the id of what they belong to: the deliveries
// of an event and their attempts are ranges of keys. 40 bits are left for
// events: at 20,000 a second without a pause, enough for a year and a half of
// nothing but that, and for centuries of real work.
const (
	deliveryBits = 11
	attemptBits  = 12

	// maxEvent is behind the last event that can be.
	maxEvent = 1<<(63-deliveryBits-attemptBits) - 1
	// firstEvent is the first event of a new database. Below it there is room for
	// older ones from elsewhere (see merge.go).
	firstEvent = 1 << 36
	// maxDeliveries is how many deliveries an event can have.
	maxDeliveries = 1 << deliveryBits
	// lastAttempt is the number of the last attempt of a delivery that has a
	// row of its own; later ones replace it, so that the latest is always kept.
	lastAttempt = 1<<attemptBits - 1
)

func deliveryID(event int64, n int) int64 { return event<<deliveryBits | int64(n) }
func placeOf(delivery int64) int          { return int(delivery & (maxDeliveries - 1)) }
func attemptID(delivery int64, n int) int64 {
	return delivery<<attemptBits | int64(min(n, lastAttempt))
}

// attemptRange returns the first attempt id of an event and that of the next.
func attemptRange(event int64) (from, to int64) {
	return event << (deliveryBits + attemptBits), (event + 1) << (deliveryBits + attemptBits)
}

// Times are stored as microseconds since 1970, which order, compare and read
// well, and last for ever.

func micros(t time.Time) int64 { return t.UnixMicro() }

// microsUp rounds up, so that what is due then is never early.
func microsUp(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// States as numbers, in the order of the schema's comment.
var states = [...]queue.State{queue.Pending, queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled}

const (
	pending = iota
	delivered
	failed
	expired
	cancelled
)

func stateNumber(s queue.State) (int64, bool) {
	for i, state := range states {
		if state == s {
			return int64(i), true
		}
	}
	return 0, false
}
