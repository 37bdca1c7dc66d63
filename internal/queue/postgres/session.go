package postgres

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// minServer is the first version of PostgreSQL that has what the engine uses.
const minServer = 13

// Without these a node that vanishes in the midst of a transaction would hold its
// locks for as long as the kernel takes to notice, which is two hours.
const (
	idleInTransaction = 10 * time.Second
	lockTimeout       = 5 * time.Second
	userTimeout       = 10 * time.Second
	connectTimeout    = 5 * time.Second
)

// parseDSN reads a DSN. Its error holds nothing of it: what the parsers say quotes parts
// of it, and a part of it is a password.
func parseDSN(dsn string) (*pgxpool.Config, error) {
	if strings.TrimSpace(dsn) == "" {
		return nil, queue.Mistaken("the DSN is empty: give one such as postgres://USER:PASSWORD@HOST/DATABASE; if it is a placeholder such as {env.RELAY_DB}, set that variable")
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil || !isEscaped(dsn) {
		return nil, queue.Mistaken("the DSN cannot be read: it must be a URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=require, or pairs such as host=HOST user=USER dbname=DATABASE; in a URL, write special characters of the password as %%XX; files that it names must exist")
	}
	return config, nil
}

// isEscaped reports whether a URL has no password with an @ or a / that is not written as
// %XX. The parser takes what follows for the host, the database or a setting, which are shown
// everywhere.
func isEscaped(dsn string) bool {
	scheme, rest, isURL := strings.Cut(dsn, "://")
	if !isURL || scheme != "postgres" && scheme != "postgresql" {
		return true
	}
	// As the parser does: only a / ends the search for user and password.
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		rest = rest[i+1:]
	}
	place, settings, _ := strings.Cut(rest, "?")
	name, _, _ := strings.Cut(settings, "=")
	return !strings.Contains(place, "@") && !strings.Contains(name, "@")
}

// schemaName is what needs no quotes, wherever an administrator types it.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// poolConfig is how this process connects.
func (o Options) poolConfig() (*pgxpool.Config, error) {
	config, err := parseDSN(o.DSN)
	switch {
	case err != nil:
		return nil, err
	case o.Connections < MinConnections:
		return nil, queue.Mistaken("%d connections are too few: at least %d are needed", o.Connections, MinConnections)
	case o.Lease < MinLease:
		return nil, queue.Mistaken("a lease of %s is too short: a node that is slow for a moment would lose what it delivers; %s is the least", o.Lease, MinLease)
	case !schemaName.MatchString(o.Schema) || strings.HasPrefix(o.Schema, "pg_"):
		return nil, queue.Mistaken("%q cannot be the name of the schema: it is made of the letters a to z, digits and _, begins with a letter other than those of pg_, and has at most 63", o.Schema)
	}
	config.MaxConns = int32(o.Connections - 1) // and one to listen
	config.MinConns, config.MinIdleConns = 0, 0
	c := config.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}, Control: limitUnacknowledged}
	c.DialFunc = dialer.DialContext
	c.OnNotice = noteWarning
	// Set after connecting and not while: poolers refuse settings that they do not know.
	set := strings.Join([]string{
		"SET search_path = " + pgx.Identifier{o.Schema}.Sanitize(),
		"SET application_name = " + quote("event-relay "+o.Node),
		"SET idle_in_transaction_session_timeout = " + strconv.FormatInt(idleInTransaction.Milliseconds(), 10),
		"SET lock_timeout = " + strconv.FormatInt(lockTimeout.Milliseconds(), 10),
		"SET tcp_user_timeout = " + strconv.FormatInt(userTimeout.Milliseconds(), 10),
		"SET standard_conforming_strings = on",
		// Statements that wait for a lock must see what was committed meanwhile.
		"SET default_transaction_isolation = 'read committed'",
		// A plan is kept that was made while a table was empty. Without these it would
		// go through the whole of it when a million deliveries wait.
		"SET enable_seqscan = off",
		"SET jit = off",
		// An answer of 200 means that it is on disk, whatever the server's default is.
		"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
	}, "; ")
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if err := checkServer(conn.PgConn()); err != nil {
			return err
		}
		if _, err := conn.PgConn().Exec(ctx, set).ReadAll(); err != nil {
			return fmt.Errorf("preparing a session: %w", err)
		}
		takesArrays(conn.TypeMap(), roomOf(conn))
		return nil
	}
	return config, nil
}

// checkServer refuses a server that the engine does not fit.
func checkServer(conn *pgconn.PgConn) error {
	version := conn.ParameterStatus("server_version")
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(version)
	}
	if major, err := strconv.Atoi(version[:end]); err == nil && major < minServer {
		return queue.Mistaken("the server is PostgreSQL %s, and at least %d is needed", version, minServer)
	}
	if encoding := conn.ParameterStatus("server_encoding"); encoding != "" && encoding != "UTF8" {
		return queue.Mistaken("the database has the encoding %s, and UTF8 is needed: make one with: createdb -E UTF8 -T template0 NAME", encoding)
	}
	return nil
}

// mistakenPooling says that a pooler gives each transaction another session.
var mistakenPooling = queue.Mistaken("a pooler such as PgBouncer stands before the database and gives each transaction another session, but a node needs sessions of its own: it sets them up, listens, and prepares statements; set pool_mode = session for this database, or give a DSN that leads past the pooler")

// refusePooling refuses a pooler that does not give each connection a session of its
// own. Nodes would use tables of another schema, or prepare a statement where another
// has.
func (db *DB) refusePooling(ctx context.Context, conn *pgx.Conn) error {
	session, err := sessionOf(ctx, conn)
	if err != nil || session == conn.PgConn().PID() {
		return err // what the server said itself when it was connected to
	}
	// While another connection has a session for a transaction, this must have the one
	// that it had before.
	waiting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	other, err := db.connectApart(waiting)
	if err != nil {
		if waiting.Err() != nil {
			err = fmt.Errorf("the pooler before the database gives no second session: its pool (default_pool_size of PgBouncer) must hold those of all nodes, which are %d for this one: %w", db.options.Connections, err)
		}
		return err
	}
	defer func() { _ = other.Close(ctx) }()
	for range 5 { // a pooler with other clients may give the same by chance
		its, mine := uint32(0), uint32(0)
		if err := pgx.BeginFunc(ctx, other, func(tx pgx.Tx) (err error) {
			if its, err = sessionOf(ctx, tx); err == nil {
				mine, err = sessionOf(ctx, conn)
			}
			return err
		}); err != nil {
			return err
		}
		if its == session || mine != session {
			return mistakenPooling
		}
	}
	return nil
}

// sessionOf returns the number of the process of the server that carries out what is
// asked. It prepares no statement.
func sessionOf(ctx context.Context, q querier) (number uint32, err error) {
	err = q.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&number)
	return number, err
}

// quote returns a text as a literal.
func quote(text string) string { return "'" + strings.ReplaceAll(encodeText(text), "'", "''") + "'" }

// warningKey is where a connection keeps whether the server warned.
const warningKey = "event-relay warned"

// noteWarning notes that the server warned. It warns of a commit that it could not
// hand to a synchronous standby.
func noteWarning(conn *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.Severity == "WARNING" || notice.SeverityUnlocalized == "WARNING" {
		conn.CustomData()[warningKey] = notice.Message
	}
}

func clearWarnings(conn *pgx.Conn) { delete(conn.PgConn().CustomData(), warningKey) }

// warned returns errWarned if the server warned since clearWarnings.
func warned(conn *pgx.Conn) error {
	if message, ok := conn.PgConn().CustomData()[warningKey]; ok {
		return fmt.Errorf("%w: %v", errWarned, message)
	}
	return nil
}
