package relay

import (
	"context"
	"time"
)

// Snapshot is a configuration that was loaded, without secrets.
type Snapshot struct {
	// ID is that of the note that holds it; Digest tells equal ones.
	ID     int64     `json:"id"`
	Digest string    `json:"digest"`
	Loaded time.Time `json:"loaded"`
	// Text is the configuration as indented JSON, and Changes how it differs
	// from the one before, as a unified diff. Both only in Snapshot, not in
	// Snapshots.
	Text    string `json:"text,omitempty"`
	Changes string `json:"changes,omitempty"`
}

// Snapshots lists the configurations that were loaded, newest first.
func (r *Runtime) Snapshots(ctx context.Context) ([]Snapshot, error) { return nil, errNotBuilt }

// Snapshot returns one of them, with what it says and what changed.
func (r *Runtime) Snapshot(ctx context.Context, id int64) (Snapshot, error) {
	return Snapshot{}, errNotBuilt
}

// ExplainThen says what the configuration that was in force when a stored event
// was received does about it. Its secrets are not known any more and show as
// ***.
func (r *Runtime) ExplainThen(ctx context.Context, id string) (Explanation, Snapshot, error) {
	return Explanation{}, Snapshot{}, errNotBuilt
}
