package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// session is a connection that one goroutine keeps, for statements that it runs all
// the time. Their plans are made once: to plan them costs as much as to run them.
type session struct {
	db   *DB
	held *pgxpool.Conn
	// lookups says that its statements only look rows up by their keys, one by one.
	lookups bool

	// What it writes is built here, again and again.
	columns     columns
	settlements settleColumns
}

// onlyLookups is for a session of lookups: a plan that was made for an empty table would
// read all of it to join it.
const onlyLookups = "SET enable_hashjoin = off; SET enable_mergejoin = off"

// conn returns the connection, or another if it was lost.
func (s *session) conn(ctx context.Context) (*pgx.Conn, error) {
	if s.held != nil && s.held.Conn().IsClosed() {
		s.end()
	}
	if s.held == nil {
		// Connecting has its own time limit.
		held, err := s.db.pool.Acquire(ctx)
		if err != nil {
			return nil, noConnection(err)
		}
		plans := "SET plan_cache_mode = force_generic_plan"
		if s.lookups {
			plans += "; " + onlyLookups
		}
		if _, err := held.Exec(ctx, plans, pgx.QueryExecModeSimpleProtocol); err != nil {
			held.Release()
			return nil, noConnection(err)
		}
		s.held = held
	}
	return s.held.Conn(), nil
}

// failed lets go of the connection after an error that leaves it in doubt, and returns
// the error.
func (s *session) failed(err error) error {
	if s.held != nil && (s.held.Conn().IsClosed() || s.held.Conn().PgConn().TxStatus() != 'I' || fateOf(err) == unreached || fateOf(err) == unknown) {
		s.discard()
	}
	return err
}

// discard closes the connection.
func (s *session) discard() {
	if s.held == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_ = s.held.Conn().Close(ctx) // an error changes nothing: the connection is not used again
	s.held.Release()
	s.held = nil
}

// end gives the connection back.
func (s *session) end() { s.discard() }
