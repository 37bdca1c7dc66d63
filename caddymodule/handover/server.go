package handover

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// server is what this package adds to one of Caddy's HTTP servers: it learns of
// each request, so that it knows which connections are between two of them, and
// says which answer is the last on its connection.
type server struct {
	// retired is set when the configuration of the server is about to be stopped.
	retired atomic.Bool

	once sync.Once
	next http.Handler
}

type connKey struct{}

// connected is called for each connection that the server has accepted, before it
// reads from it. It takes hold of the server's handler before the first request:
// Caddy has no other place that sees the requests of all sites of a server.
func (s *server) connected(ctx context.Context, outer net.Conn) context.Context {
	s.once.Do(func() {
		server := ctx.Value(http.ServerContextKey).(*http.Server)
		s.next, server.Handler = server.Handler, s
	})
	c, plain := inner(outer)
	if c == nil {
		return ctx
	}
	c.recognize(plain)
	return context.WithValue(ctx, connKey{}, c)
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	last := s.retired.Load() && r.Header.Get("Upgrade") == ""
	if last {
		w.Header().Set("Connection", "close") // In HTTP/2 it becomes a GOAWAY.
	}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		c.begin(r.ProtoMajor, last)
	}
	s.next.ServeHTTP(w, r)
}

// stateChanged is called by net/http when the state of a connection changes.
func stateChanged(outer net.Conn, state http.ConnState) {
	if state != http.StateIdle && state != http.StateHijacked {
		return
	}
	c, _ := inner(outer)
	switch {
	case c == nil:
	case state == http.StateIdle:
		c.rest()
	default:
		c.listener.forget(c) // The server has nothing more to do with it.
	}
}

// inner returns the connection of this package that a server's connection reads
// from, and whether it is that very one. It returns nil if a listener wrapper of
// the user hides it.
func inner(outer net.Conn) (c *conn, plain bool) {
	for plain = true; ; plain = false {
		switch wrapped := outer.(type) {
		case *conn:
			return wrapped, plain
		case interface{ NetConn() net.Conn }: // crypto/tls
			outer = wrapped.NetConn()
		case interface{ Raw() net.Conn }: // proxy_protocol
			outer = wrapped.Raw()
		default:
			return nil, false
		}
	}
}
