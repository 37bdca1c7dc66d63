package handover

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// socket is a listening socket. It is open as long as some configuration listens
// on its address.
type socket struct {
	key   string
	inner net.Listener // of Caddy, so that all its networks work as they do there
	// keepAlive is what the system gives to each accepted connection.
	keepAlive net.KeepAliveConfig

	mutex     sync.Mutex
	changed   sync.Cond
	listeners []*listener // oldest first
	current   *listener   // gets the connections
	queue     []accepted
	accepting bool // the socket is open and its connections come into the queue
}

// accepted is what the socket or another listener gave.
type accepted struct {
	conn *conn
	err  error
}

// sockets holds the open sockets by network and address.
var sockets struct {
	sync.Mutex
	open map[string]*socket
}

// join returns a listener on an address, whose socket is opened if no
// configuration has it open.
func join(ctx context.Context, address caddy.NetworkAddress, config net.ListenConfig) (*listener, error) {
	key := address.Network + "/" + address.JoinHostPort(0)
	sockets.Lock()
	defer sockets.Unlock()
	s := sockets.open[key]
	if s == nil {
		value, err := address.Listen(ctx, 0, config)
		if err != nil {
			return nil, err
		}
		s = &socket{key: key, inner: value.(net.Listener), keepAlive: config.KeepAliveConfig, accepting: true}
		s.changed.L = &s.mutex
		if sockets.open == nil {
			sockets.open = make(map[string]*socket)
		}
		sockets.open[key] = s
		// Not before the listener is there: without one, connections that waited in a
		// socket of systemd would be closed.
		defer func() { go s.accept() }()
	}
	l := &listener{socket: s, keepAlive: config.KeepAliveConfig, conns: make(map[*conn]struct{})}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.listeners = append(s.listeners, l)
	if s.current == nil {
		s.current = l
	}
	return l, nil
}

// maxQueue is how many connections may wait for a server to accept them. More wait
// in the kernel.
const maxQueue = 128

// accept takes connections until the socket is closed.
func (s *socket) accept() {
	for {
		nc, err := s.inner.Accept()
		s.mutex.Lock()
		if errors.Is(err, net.ErrClosed) {
			s.accepting = false
			s.changed.Broadcast()
			s.mutex.Unlock()
			return
		}
		item := accepted{err: err}
		if err == nil {
			item.conn = newConn(nc, nil)
		}
		s.push(item)
		// A server pauses after an error, such as too many open files.
		for len(s.listeners) > 0 && (len(s.queue) >= maxQueue || err != nil && len(s.queue) > 0) {
			s.changed.Wait()
		}
		s.mutex.Unlock()
	}
}

// push queues what the current listener is to return. Call it with the mutex held.
func (s *socket) push(item accepted) {
	if len(s.listeners) == 0 {
		if item.conn != nil {
			_ = item.conn.Conn.Close()
		}
		return
	}
	s.queue = append(s.queue, item)
	s.changed.Broadcast()
}

// stopAccepting closes the socket. What is in the queue can still be taken.
func (s *socket) stopAccepting() {
	sockets.Lock()
	if sockets.open[s.key] == s {
		// A configuration that is loaded now needs a socket of its own.
		delete(sockets.open, s.key)
	}
	sockets.Unlock()
	_ = s.inner.Close()
}

// listener is what a configuration's server accepts connections from.
type listener struct {
	socket        *socket
	configuration *configuration
	keepAlive     net.KeepAliveConfig

	// These are guarded by socket.mutex.
	started bool // the whole configuration has
	closed  bool
	conns   map[*conn]struct{} // that the server has
}

// start lets the server accept connections. Caddy starts its apps one by one, in
// any order: a request could be handled before the relay runs, and a configuration
// that fails to start could have taken one.
func (l *listener) start() {
	l.socket.mutex.Lock()
	defer l.socket.mutex.Unlock()
	l.started = true
	l.socket.changed.Broadcast()
}

// Accept implements net.Listener. It waits while another configuration gets the
// connections.
func (l *listener) Accept() (net.Conn, error) {
	item, err := l.take()
	if err != nil {
		return nil, err
	}
	if tcp, ok := item.conn.Conn.(*net.TCPConn); ok && l.keepAlive != l.socket.keepAlive {
		_ = tcp.SetKeepAliveConfig(l.keepAlive)
	}
	return item.conn, nil
}

func (l *listener) take() (accepted, error) {
	s := l.socket
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for !l.closed && (!l.started || s.current != l || len(s.queue) == 0) {
		s.changed.Wait()
	}
	if l.closed {
		return accepted{}, net.ErrClosed
	}
	item := s.queue[0]
	s.queue = s.queue[1:]
	s.changed.Broadcast()
	if item.err != nil {
		return accepted{}, item.err
	}
	item.conn.listener = l
	l.conns[item.conn] = struct{}{}
	return item, nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.socket.inner.Addr() }

// Close implements net.Listener. The last listener closes the socket.
func (l *listener) Close() error {
	s := l.socket
	s.mutex.Lock()
	if l.closed {
		s.mutex.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	for i, other := range s.listeners {
		if other == l {
			s.listeners = append(s.listeners[:i:i], s.listeners[i+1:]...)
		}
	}
	last := len(s.listeners) == 0
	if s.current == l && !last {
		s.current = s.listeners[len(s.listeners)-1]
	}
	var unserved []accepted
	if last {
		unserved, s.queue = s.queue, nil
	}
	s.changed.Broadcast()
	s.mutex.Unlock()
	if last {
		s.stopAccepting()
	}
	for _, item := range unserved {
		if item.conn != nil {
			_ = item.conn.Conn.Close()
		}
	}
	return nil
}

// forget notes that the server no longer has a connection.
func (l *listener) forget(c *conn) {
	l.socket.mutex.Lock()
	defer l.socket.mutex.Unlock()
	delete(l.conns, c)
}

// next returns the listener of a newer configuration on the same socket, or nil.
func (l *listener) next() *listener {
	s := l.socket
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if l.closed || s.listeners[len(s.listeners)-1] == l {
		return nil
	}
	return s.listeners[len(s.listeners)-1]
}

// retire gives the connections to the next configuration, or closes the socket if
// there is none, and waits until the server of this one can be shut down.
func (l *listener) retire(wait patience) {
	s := l.socket
	next := l.next()
	if next == nil {
		s.stopAccepting()
	} else {
		s.mutex.Lock()
		s.current = next
		s.changed.Broadcast()
		s.mutex.Unlock()
	}
	for began := time.Now(); time.Since(began) < wait.most; time.Sleep(tick) {
		if l.settled(next != nil, wait) {
			return
		}
	}
}

// tick is how often the connections of a server that is to be shut down are
// looked at.
const tick = 2 * time.Millisecond

// settled moves what can move and reports whether the server can be shut down.
func (l *listener) settled(canMove bool, wait patience) bool {
	s := l.socket
	s.mutex.Lock()
	conns := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	// What has been accepted and not taken is this server's if no other follows.
	settled := canMove || !s.accepting && len(s.queue) == 0
	s.mutex.Unlock()
	now := time.Now()
	for _, c := range conns {
		if canMove {
			if moved := c.move(); moved != nil {
				s.mutex.Lock()
				delete(l.conns, c)
				s.push(accepted{conn: moved})
				s.mutex.Unlock()
				continue
			}
		}
		settled = c.settled(now, wait) && settled
	}
	return settled
}
