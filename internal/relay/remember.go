package relay

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// noteWithin bounds how long a reload waits for its snapshot to be stored.
const noteWithin = 5 * time.Second

// inForce says since when a configuration has been the newest.
type inForce struct {
	since  time.Time
	digest string
}

// remember notes that a generation is in force from now on, unless the newest
// note of this node says that it was already. A configuration that cannot be noted works all
// the same. The caller holds the mutex.
func (r *Runtime) remember(generation *Generation) {
	now := time.Now()
	r.inForce = inForce{since: now}
	text := generation.Configuration.Snapshot
	if len(text) == 0 {
		return
	}
	digest := digestOf(text)
	r.inForce.digest = digest
	ctx, cancel := context.WithTimeout(context.Background(), noteWithin)
	defer cancel()
	newest, err := r.newestNote(ctx, queue.NoteConfiguration, false)
	if err == nil && newest.Name != digest {
		err = r.engine.Note(ctx, queue.Note{At: now, Kind: queue.NoteConfiguration, Name: digest, Text: string(text)})
	}
	if err != nil {
		r.logger.Error("keeping a snapshot of the configuration; explain --then cannot use it later", zap.Error(err))
	}
}
