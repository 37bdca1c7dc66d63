package postgres

import (
	"context"
	"net"
	"sync"
)

// lines are the connections to the database that are open. A commit is never cancelled,
// because its outcome would be in doubt, and it takes as long as the server does: for
// ever, while a synchronous standby is away. So Close cuts the lines of what does not
// end. Whatever waits for the server then fails, and what became of it is unknown.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

// line is one of them.
type line struct {
	net.Conn
	of *lines
}

// through makes connections that dial makes known here.
func (l *lines) through(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		made := &line{Conn: conn, of: l}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open == nil {
			l.open = make(map[*line]struct{})
		}
		l.open[made] = struct{}{}
		return made, nil
	}
}

// Close implements net.Conn.
func (l *line) Close() error {
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// cut closes all that are open.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for open := range l.open {
		_ = open.Conn.Close()
	}
	clear(l.open)
}
