package postgres

import (
	"errors"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// unreadable tells of a part of an event that cannot be read. A nil error tells nothing.
func (db *DB) unreadable(event string, err error) {
	if err == nil {
		return
	}
	if errors.Is(err, layout.ErrChecksum) {
		db.troubles.Damaged(event)
	}
	db.logger.Error("a stored event cannot be read", zap.String("event", event), zap.Error(err))
}
