package queue

import "time"

// Trouble is something about a queue that an administrator should know while it
// lasts.
type Trouble struct {
	Kind TroubleKind `json:"kind"`
	// Message says what is wrong, where, and what to do about it.
	Message string `json:"message"`
	// Since is when it began, or when it was noticed.
	Since time.Time `json:"since"`
	// Refusing says that events are refused because of it, with status 503.
	Refusing bool `json:"refusing,omitempty"`
}

// TroubleKind distinguishes troubles. There is at most one trouble of a kind.
type TroubleKind string

const (
	// TroubleUnavailable means that the queue could not be opened yet.
	TroubleUnavailable TroubleKind = "unavailable"
	// TroubleUnwritable means that the queue is open and cannot be written.
	TroubleUnwritable TroubleKind = "unwritable"
	// TroubleSpace means that less space is free than must be.
	TroubleSpace TroubleKind = "min_free"
	// TroublePending means that as many deliveries are unfinished as may be.
	TroublePending TroubleKind = "max_pending"
	// TroubleLog means that accepted events may be missing after a crash, because
	// what was written last could not be read.
	TroubleLog TroubleKind = "log"
	// TroubleClock means that the clock of the machine jumped ahead.
	TroubleClock TroubleKind = "clock"
	// TroubleDamage means that something stored was found to be damaged.
	TroubleDamage TroubleKind = "damage"
)
