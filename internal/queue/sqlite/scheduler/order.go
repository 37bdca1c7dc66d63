package scheduler

import "github.com/caddy-event-relay/event-relay/internal/queue/layout"

// Of the unfinished deliveries of one action and order key only the first, the
// head, has a time at which it is due. The others are behind it: their time in
// storage lies beyond all times. So a reading by time never meets them, and none of
// them is in memory. The transaction that ends the head releases the next. So the
// order takes no memory, and a crash does not change it.

// Released is when a delivery is due that was behind another until now: at its
// own time, else since its event was received, so that it keeps its place among
// those who wait.
func Released(due, received, now int64) int64 {
	return max(OwnTime(due), min(received, now), 1)
}

// OwnTime returns the due time of a delivery without what layout.Behind added to it: 0
// if it has none.
func OwnTime(due int64) int64 {
	if due >= layout.Behind {
		return due - layout.Behind
	}
	return due
}
