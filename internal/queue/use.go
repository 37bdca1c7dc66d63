package queue

import "time"

// ThingKind is what a Thing is.
type ThingKind string

// The things whose uses are counted.
const (
	EventThing  ThingKind = "event"
	RuleThing   ThingKind = "rule"
	ActionThing ThingKind = "action"
)

// Thing is an event, a rule or an action of a configuration.
type Thing struct {
	Kind ThingKind
	// Name is source:event for an event, rules.ID for a rule, and the name of an
	// action.
	Name string
	// Place is where the configuration has it, for people who read the storage. It
	// may be empty and may change.
	Place string
}

// Use is how often a thing was used.
type Use struct {
	Thing
	// Since is when the thing was first said to exist. Gone is since when it does
	// not exist any more, zero while it does.
	Since, Gone time.Time
	// Count is how often it was used. First and Last are when, zero if never: by the
	// receipt of the events, and for what Amend added by the time of that.
	Count       int64
	First, Last time.Time
	// Delivered, Failed and Expired count the deliveries of an action that ended so
	// and are not mended. One that was handed to another action counts there.
	Delivered, Failed, Expired int64
}
