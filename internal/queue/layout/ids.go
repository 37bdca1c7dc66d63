package layout

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
