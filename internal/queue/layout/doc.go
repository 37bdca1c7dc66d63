// Package layout is how engines lay out in storage what they keep of events: the
// numbers of events, deliveries and attempts, times and states as numbers, and records,
// verdicts and lists of deliveries as JSON. A queue can be read by one engine and
// written by another because they share it.
package layout
