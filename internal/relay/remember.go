package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
// note says that it was already. A configuration that cannot be noted works all
// the same. The caller holds the mutex.
func (r *Runtime) remember(generation *Generation) {
	now := time.Now()
	r.inForce = inForce{since: now}
	text := generation.Configuration.Snapshot
	if len(text) == 0 {
		return
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])[:12]
	r.inForce.digest = digest
	ctx, cancel := context.WithTimeout(context.Background(), noteWithin)
	defer cancel()
	newest, err := r.engine.Notes(ctx, queue.NoteConfiguration, time.Time{}, time.Time{}, 1, false)
	if err == nil && (len(newest) == 0 || newest[0].Name != digest) {
		err = r.engine.Note(ctx, queue.Note{At: now, Kind: queue.NoteConfiguration, Name: digest, Text: string(text)})
	}
	if err != nil {
		r.logger.Error("keeping a snapshot of the configuration; explain --then cannot use it later", zap.Error(err))
	}
}
