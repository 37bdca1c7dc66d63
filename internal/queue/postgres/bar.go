package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// barFor is how long a bar lasts that is not renewed: then the node that set it has
// vanished.
const barFor = 30 * time.Second

// bar keeps all nodes from handing out deliveries of an action, for as long as it is
// renewed.
func (db *DB) bar(ctx context.Context, l *lane) error {
	var epoch epoch
	if err := db.write(ctx, func(tx pgx.Tx) (err error) {
		if _, err = tx.Exec(ctx, "UPDATE actions SET barred_until = now_us() + $2 WHERE id = $1", l.id, barFor.Microseconds()); err != nil {
			return err
		}
		epoch, err = db.raise(ctx, tx, false, l.name)
		return err
	}); err != nil {
		return err
	}
	return db.obeyed(ctx, epoch)
}

// unbar ends a bar. If it cannot, the bar ends by itself.
func (db *DB) unbar(l *lane) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if err := db.withConnection(ctx, func(conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, "UPDATE actions SET barred_until = 0 WHERE id = $1", l.id)
		return err
	}); err == nil {
		db.left(l.name)
	}
}
