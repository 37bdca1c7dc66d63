package relay

import (
	"context"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Status is how the relay is, at one glance.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Loaded is when the newest configuration was loaded, Configuration the
	// digest of its snapshot.
	Loaded        time.Time `json:"loaded"`
	Configuration string    `json:"configuration,omitempty"`
	// Off says that the configuration has the relay switched off (active off).
	// Switches are what was switched off at run time.
	Off      bool           `json:"off,omitempty"`
	Switches []queue.Switch `json:"switches"`
	// Backlog is what waits for each action that has unfinished deliveries.
	Backlog []BacklogLine `json:"backlog"`
	// Down are the targets that cannot be reached.
	Down []TargetDown `json:"down"`
	// Quiet are the sources that have been silent for longer than their quiet.
	Quiet []QuietSource `json:"quiet"`
	// LastHour counts events and ended deliveries of the last sixty minutes.
	LastHour map[string]int `json:"last_hour"`
	Queue    queue.Usage    `json:"queue"`
	// RetentionSeconds and RetentionBytes are how much history is kept, and
	// MaxPending and MinFree what the queue takes.
	RetentionSeconds int64 `json:"retention_seconds"`
	RetentionBytes   int64 `json:"retention_bytes"`
	MaxPending       int   `json:"max_pending"`
	MinFree          int64 `json:"min_free"`
}

// BacklogLine is what waits for one action, and why it may.
type BacklogLine struct {
	queue.Backlog
	// Unknown says that no such action is configured any more: its deliveries
	// wait until they are moved or cancelled or it comes back.
	Unknown bool `json:"unknown,omitempty"`
}

// TargetDown is a target that cannot be reached.
type TargetDown struct {
	Target string    `json:"target"`
	Action string    `json:"action"`
	Since  time.Time `json:"since"`
	Error  string    `json:"error"`
}

// QuietSource is a source that was not heard for longer than its quiet.
type QuietSource struct {
	Source string    `json:"source"`
	Last   time.Time `json:"last,omitzero"`
}

// Status returns how the relay is.
func (r *Runtime) Status(ctx context.Context) (Status, error) { return Status{}, errNotBuilt }
