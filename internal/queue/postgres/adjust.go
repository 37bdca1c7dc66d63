package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Adjust implements queue.Adjuster. A changed DSN, such as one with a new password or
// another certificate, counts for all connections that are made from then on.
// ReceiveOnly counts at once: what was leased for takers of this node goes back to the
// table.
func (db *DB) Adjust(to queue.Store) (later []string) {
	store, is := to.(Store)
	if !is {
		return nil
	}
	o := store.options()
	config, err := o.poolConfig()
	if err != nil {
		db.logger.Error("taking over changed settings of the queue; the old ones count", zap.Error(err))
		return nil
	}
	db.adjusting.Lock()
	defer db.adjusting.Unlock()
	if o.DSN != db.options.DSN {
		db.options.DSN = o.DSN
		config.ConnConfig.DialFunc = db.lines.through(config.ConnConfig.DialFunc)
		db.connectBy.Store(config.ConnConfig)
		// Connections that are in use are closed when they are given back.
		db.pool.Reset()
	}
	db.mu.Lock()
	db.receiveOnly.Store(o.ReceiveOnly)
	if o.ReceiveOnly {
		for _, l := range db.lanes {
			db.back(db.recall(l)...)
		}
	}
	db.mu.Unlock()
	for _, setting := range []struct {
		name    string
		differs bool
	}{
		{"node", o.Node != "" && o.Node != db.options.Node}, {"lease", o.Lease != db.options.Lease}, {"connections", o.Connections != db.options.Connections},
	} {
		if setting.differs {
			later = append(later, setting.name)
		}
	}
	return later
}

// connectAnew lets a new connection be made by the newest DSN.
func (db *DB) connectAnew(_ context.Context, config *pgx.ConnConfig) error {
	if newest := db.connectBy.Load(); newest != nil {
		*config = *newest.Copy()
	}
	return nil
}
