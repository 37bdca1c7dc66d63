package postgres

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// pooler is what PgBouncer is, as far as the engine needs to know it apart: it tells
// connections that it is the server, and gives them a session of the server, for as long
// as they last or for a transaction.
type pooler struct {
	t        *testing.T
	upstream *pgconn.Config
	shares   bool // sessions, between the transactions of several connections

	mu       sync.Mutex
	sessions []*pgconn.HijackedConn // that no connection has, the last used last
	open     []net.Conn
}

// newPooler returns a pooler and how to reach it.
func newPooler(t *testing.T, dsn string, shares bool) (through string) {
	t.Helper()
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pooler{t: t, upstream: config, shares: shares}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.keep(client)
			serving.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		for _, conn := range p.open {
			conn.Close()
		}
		p.mu.Unlock()
		serving.Wait()
	})
	parsed, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Host = listener.Addr().String()
	return parsed.String()
}

func (p *pooler) keep(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, conn)
}

// take returns a session, and free gives it back.
func (p *pooler) take() (*pgconn.HijackedConn, error) {
	p.mu.Lock()
	if n := len(p.sessions); n > 0 {
		defer p.mu.Unlock()
		session := p.sessions[n-1]
		p.sessions = p.sessions[:n-1]
		return session, nil
	}
	p.mu.Unlock()
	conn, err := pgconn.ConnectConfig(context.Background(), p.upstream)
	if err != nil {
		return nil, err
	}
	session, err := conn.Hijack()
	if err == nil {
		p.keep(session.Conn)
	}
	return session, err
}

func (p *pooler) free(session *pgconn.HijackedConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = append(p.sessions, session)
}

// serve serves one connection, until something fails: then it is closed.
func (p *pooler) serve(client net.Conn) {
	defer client.Close()
	from := pgproto3.NewBackend(client, client)
	if _, err := from.ReceiveStartupMessage(); err != nil {
		return
	}
	session, err := p.take()
	if err != nil {
		p.t.Errorf("connecting to the server: %v", err)
		return
	}
	from.Send(&pgproto3.AuthenticationOk{})
	for name, value := range session.ParameterStatuses {
		from.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	from.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	from.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for from.Flush() == nil {
		message, err := from.Receive()
		if err != nil {
			break
		}
		if session == nil {
			if session, err = p.take(); err != nil {
				return
			}
		}
		session.Frontend.Send(message)
		if session.Frontend.Flush() != nil {
			return
		}
		switch message.(type) {
		case *pgproto3.Query, *pgproto3.Sync:
		default:
			continue
		}
		for {
			answer, err := session.Frontend.Receive()
			if err != nil {
				return
			}
			from.Send(answer)
			if ready, ok := answer.(*pgproto3.ReadyForQuery); ok {
				if p.shares && ready.TxStatus == 'I' {
					p.free(session)
					session = nil
				}
				break
			}
		}
	}
}

func TestPoolerThatSharesSessionsIsRefused(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	_, err := Store{DSN: newPooler(t, dsn, true), Schema: schema}.Open(false, zaptest.NewLogger(t))
	if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "pool_mode = session") {
		t.Errorf("opening gave %v", err)
	}
	db := opened(t, Store{DSN: newPooler(t, dsn, false), Schema: schema})
	if _, err := db.Put(t.Context(), []queue.Entry{storedNow("x")}); err != nil {
		t.Error(err)
	}
}
