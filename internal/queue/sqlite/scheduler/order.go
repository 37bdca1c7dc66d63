package scheduler

import "time"

// Of the unfinished deliveries of one action and order key only the first, the
// head, has a time at which it is due. The others are behind it: their time in
// storage lies beyond all times. So a reading by time never meets them, and none of
// them is in memory. The transaction that ends the head releases the next. So the
// order takes no memory, and a crash does not change it.

// Behind is added to the time of a delivery that waits for its order key. As a
// time it lies 146,000 years ahead.
const Behind = int64(1) << 62

// DueAt is a due time as storage has it: neither 0, which is no time, nor one
// that says that a delivery is behind another. It is rounded up to a
// microsecond, so that nothing is handed out early.
func DueAt(t time.Time) int64 {
	return min(max(t.Add(time.Microsecond-1).UnixMicro(), 1), Behind-1)
}

// Released is when a delivery is due that was behind another until now: at its
// own time, else since its event was received, so that it keeps its place among
// those who wait.
func Released(due, received, now int64) int64 {
	return max(OwnTime(due), min(received, now), 1)
}

// OwnTime returns the due time of a delivery without what Behind added to it: 0
// if it has none.
func OwnTime(due int64) int64 {
	if due >= Behind {
		return due - Behind
	}
	return due
}
