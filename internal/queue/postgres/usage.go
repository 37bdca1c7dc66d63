package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

const (
	// usageAge is how old what Usage returns may be: each look asks the server for the
	// size of all tables.
	usageAge = 5 * time.Second
	// usageWithin is how long Usage waits for a server that does not answer.
	usageWithin = 2 * time.Second
	// longOpen is since how long a transaction must be open to be told of.
	longOpen = time.Minute
)

// usage is what Usage returned last.
type usage struct {
	mu   sync.Mutex
	read time.Time
	last queue.Usage
}

// Usage implements queue.Engine. While the server cannot be reached, it says where
// that should be.
func (db *DB) Usage() queue.Usage {
	db.usage.mu.Lock()
	defer db.usage.mu.Unlock()
	if !db.usage.read.IsZero() && time.Since(db.usage.read) < usageAge {
		return db.usage.last
	}
	// Whatever the session is called for, the place is the one that is configured now.
	at := placeOf(&db.connConfig().Config, db.options.Schema)
	found := queue.Usage{Free: -1, Server: &queue.Server{Host: at.written(), Database: at.database, Schema: at.schema}}
	found.Server.Backup, found.Server.Restore = at.commands()
	ctx, cancel := context.WithTimeout(context.Background(), usageWithin)
	defer cancel()
	err := db.withConnection(ctx, func(conn *pgxpool.Conn) error { return readUsage(ctx, conn.Conn(), at, longOpen, &found) })
	if err != nil {
		// What was read in part is not told.
		found.Bytes, found.Server.Version, found.Server.Standbys, found.Server.Oldest = 0, "", "", nil
	}
	db.usage.last, db.usage.read = found, time.Now()
	return found
}

// readUsage asks the server at the other end of a connection.
func readUsage(ctx context.Context, conn *pgx.Conn, at place, longerThan time.Duration, found *queue.Usage) error {
	server := found.Server
	if len(at.hosts) > 1 {
		// It is known only by its address which of them it is.
		server.Host = conn.PgConn().Conn().RemoteAddr().String()
	}
	if err := conn.QueryRow(ctx, `SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1),
		CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN '' ELSE current_setting('synchronous_standby_names') END,
		(SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace($1))`,
		pgx.Identifier{at.schema}.Sanitize()).Scan(&server.Version, &server.Standbys, &found.Bytes); err != nil {
		return fmt.Errorf("reading what the queue takes: %w", err)
	}
	// Of the sessions of other users nothing is shown, but to those who may see all.
	rows, err := conn.Query(ctx, `SELECT since, by FROM (
			SELECT xact_start AS since, concat_ws(', ', nullif(application_name, ''), 'user ' || usename, 'from ' || host(client_addr), state) AS by
			FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
			UNION ALL
			SELECT prepared, concat_ws(', ', 'prepared transaction ' || gid, 'user ' || owner) FROM pg_prepared_xacts WHERE database = current_database()
		) AS open WHERE since < now() - make_interval(secs => $1) ORDER BY since LIMIT 1`, longerThan.Seconds())
	if err != nil {
		return fmt.Errorf("looking for transactions that have been open for long: %w", err)
	}
	open, err := pgx.CollectRows(rows, pgx.RowToStructByPos[queue.OpenTransaction])
	if err != nil {
		return fmt.Errorf("looking for transactions that have been open for long: %w", err)
	}
	if len(open) > 0 {
		server.Oldest = &open[0]
	}
	return nil
}

// connConfig returns by what new connections are made.
func (db *DB) connConfig() *pgx.ConnConfig {
	if newest := db.connectBy.Load(); newest != nil {
		return newest
	}
	return db.pool.Config().ConnConfig
}
