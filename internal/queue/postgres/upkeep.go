package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// keepUp does each second what else would be done only when events come: it finds out
// whether the database can be written again, counts what is unfinished, and adds tallies
// to the tables that count.
func (db *DB) keepUp() {
	const second = time.Second
	for n := 1; ; n++ {
		timer := time.NewTimer(second)
		select {
		case <-timer.C:
		case <-db.closed:
			timer.Stop()
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		err := db.connected(ctx, func(conn *pgxpool.Conn) error {
			if err := db.countPending(ctx, conn); err != nil {
				return err
			}
			failed, full := db.hasFailed()
			if failed {
				if err := db.probe(ctx, conn); err != nil {
					return err
				}
				db.working()
			}
			if full {
				switch err := db.probeRoom(ctx, conn); {
				case err == nil:
					db.roomy()
				case fateOf(err) != overfull:
					return err
				}
			}
			if n%30 != 0 {
				return nil
			}
			_, err := conn.Exec(ctx, forgetKeys)
			return err
		})
		cancel()
		if err != nil && !db.isClosed() {
			if fateOf(err) == unreached || isLost(err) {
				db.failing(err)
			} else {
				db.logger.Warn("looking after the queue", zap.Error(err))
			}
		}
		if err == nil {
			db.addUp(n%30 == 0)
		}
	}
}

func (db *DB) hasFailed() (failed, full bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.failed, db.full
}

// probe writes next to nothing, to find out whether writing works again: when it does
// not, senders may stay away, and no other write comes to show it.
func (db *DB) probe(ctx context.Context, q querier) error {
	_, err := q.Exec(ctx, "UPDATE sessions SET watching = watching WHERE id = $1", db.nodes.session)
	return err
}

// probeRoom finds out whether the disk has room again: it writes more than fits into
// what the tables have already, and takes it back.
func (db *DB) probeRoom(ctx context.Context, conn *pgxpool.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, "INSERT INTO facts (name, text) SELECT 'room', string_agg(md5(random()::text), '') FROM generate_series(1, 2048)")
	return err
}
