package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Codes of PostgreSQL's errors.
const (
	insufficientPrivilege = "42501"
	lockNotAvailable      = "55P03"
	uniqueViolation       = "23505"
	diskFull              = "53100"
	readOnly              = "25006"
	undefinedTable        = "42P01"
	noSuchStatement       = "26000" // that was prepared
	statementThere        = "42P05"
)

// errWarned says that the server answered a commit with a warning: it stands, but
// perhaps not where it should, such as on a synchronous standby.
var errWarned = errors.New("the database committed with a warning")

// fate is what an error says of the transaction that it ended.
type fate int

const (
	// unknown: it may be committed or not.
	unknown fate = iota
	// undone: it is not committed, and the same may succeed later or at once.
	undone
	// unreached: it is not committed, because the database cannot be reached or
	// takes no writes.
	unreached
	// overfull: it is not committed, because the database has no room.
	overfull
	// faulty: it is not committed, and never will be as it is.
	faulty
)

// fateOf returns what an error says. An error of the server always means that the
// transaction was rolled back: what goes wrong behind the commit ends the connection
// instead.
func fateOf(err error) fate {
	var refused *pgconn.PgError
	var failed *pgconn.ConnectError
	switch {
	case errors.Is(err, errWarned):
		return unknown
	case errors.As(err, &failed), errors.Is(err, errNoConnection), errors.Is(err, queue.ErrUnavailable), errors.Is(err, queue.ErrClosed), pgconn.SafeToRetry(err):
		return unreached
	case !errors.As(err, &refused):
		return unknown
	}
	switch refused.Code {
	case diskFull:
		return overfull
	case readOnly:
		return unreached
	case noSuchStatement, statementThere:
		return unreached // this session is another's, see mistakenPooling
	}
	if len(refused.Code) < 2 {
		return unknown // from a proxy that gives no code
	}
	switch refused.Code[:2] {
	case "22", "23", "42", "54", "21":
		// Values, constraints, statements, limits. 42 also stands for a schema that was
		// removed or rights that were taken, which no other try mends at once.
		return faulty
	case "08", "57", "58", "28", "3D", "XX":
		return unreached
	}
	return undone // such as a deadlock, or a lock that others held for too long
}

// errNoConnection says that no connection could be had.
var errNoConnection = errors.New("no connection to the database")

// noConnection says why no connection could be had, in one line: the driver gives each try one,
// also where it says the same of two, such as with TLS and without.
func noConnection(err error) error {
	return fmt.Errorf("%w: %w", errNoConnection, inOneLine{err})
}

// inOneLine is an error whose text is one line, in which nothing is said twice.
type inOneLine struct{ error }

func (e inOneLine) Error() string {
	var lines []string
	for line := range strings.Lines(e.error.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if len(lines) > 1 && strings.HasSuffix(lines[0], ":") {
		lines = append([]string{lines[0] + " " + lines[1]}, lines[2:]...)
	}
	return strings.Join(lines, "; ")
}

func (e inOneLine) Unwrap() error { return e.error }

// reached makes an error of a read, or of a write that is known not to be committed,
// into what callers distinguish.
func reached(err error) error {
	switch {
	case err == nil, errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrUnavailable), errors.Is(err, queue.ErrFull):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	switch fateOf(err) {
	case unreached:
		return fmt.Errorf("%w: %w", queue.ErrUnavailable, err)
	case overfull:
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return err
}

// read runs f, which only reads, on a connection of its own. It may be run again.
func (db *DB) read(ctx context.Context, f func(q querier) error) error {
	err := db.withConnection(ctx, func(conn *pgxpool.Conn) error { return f(conn) })
	if fateOf(err) == unknown && err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		var refused *pgconn.PgError
		if !errors.As(err, &refused) && isLost(err) {
			// The connection was lost: reading again does no harm.
			err = db.withConnection(ctx, func(conn *pgxpool.Conn) error { return f(conn) })
			if err != nil && isLost(err) {
				err = fmt.Errorf("%w: %w", queue.ErrUnavailable, err)
			}
		}
	}
	return reached(err)
}

// writeTries is how often a transaction is tried that lost a deadlock, or waited too
// long for a lock.
const writeTries = 5

// write runs f in a transaction, and once more in another if that one was rolled back
// for the sake of others. Where its commit is in doubt, the error says neither that it
// was stored nor that it was not.
func (db *DB) write(ctx context.Context, f func(tx pgx.Tx) error) error {
	for tries := 1; ; tries++ {
		err := db.withConnection(ctx, func(conn *pgxpool.Conn) error { return writeOnce(ctx, conn.Conn(), f) })
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || fateOf(err) != undone || tries == writeTries || !db.pause(10*time.Millisecond) {
			return reached(err)
		}
	}
}

func writeOnce(ctx context.Context, conn *pgx.Conn, f func(tx pgx.Tx) error) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	// After the commit this does nothing.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := f(tx); err != nil {
		return err
	}
	clearWarnings(conn)
	// A commit is never cancelled: its outcome would be in doubt.
	if err := tx.Commit(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return warned(conn)
}

// withConnection runs f on a connection of the pool, once the queue is open.
func (db *DB) withConnection(ctx context.Context, f func(conn *pgxpool.Conn) error) error {
	if err := db.usable(ctx); err != nil {
		return err
	}
	return db.connected(ctx, f)
}

// connected runs f on a connection of the pool, and again on another if the server had
// closed it before: then f has changed nothing.
func (db *DB) connected(ctx context.Context, f func(conn *pgxpool.Conn) error) error {
	for tries := 1; ; tries++ {
		conn, err := db.pool.Acquire(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("waiting for a connection to the database: %w", ctx.Err())
			}
			return noConnection(err)
		}
		err = f(conn)
		conn.Release()
		if tries == 3 || !isStale(err) || ctx.Err() != nil {
			return err
		}
	}
}

// isStale reports whether an error says that the server had ended the connection, such
// as when it was started anew.
func isStale(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code == "57P01" || refused.Code == "57P02"
	}
	return err != nil && pgconn.SafeToRetry(err) && !errors.Is(err, errNoConnection)
}

// isLost reports whether an error means that the connection was lost, or that there was
// none.
func isLost(err error) bool {
	var refused *pgconn.PgError
	if err == nil || errors.As(err, &refused) {
		return false
	}
	var failed *pgconn.ConnectError
	var network net.Error
	return errors.Is(err, errNoConnection) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &failed) || errors.As(err, &network) || pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}
