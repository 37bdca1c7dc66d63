package handover

import (
	"io"
	"net"
	"sync"
	"time"
)

// phase says what a server is doing with a connection.
type phase int

const (
	fresh    phase = iota // nothing has been read or written
	reading               // a handshake or a request has begun to arrive
	handling              // a handler has the request
	idle                  // between two requests
)

// conn is an accepted connection. It can move from the server of one
// configuration to that of the next one.
type conn struct {
	net.Conn
	listener *listener

	mutex    sync.Mutex
	readDone sync.Cond // tells that inRead has become false
	phase    phase
	since    time.Time // when the phase began; where phases are unknown, when something was read
	known    bool      // the phases are known: no wrapper hides the connection
	plain    bool      // the server reads from this connection itself, without TLS or a wrapper
	protocol int       // the major version of HTTP, once there was a request
	last     bool      // the client was told that no further request is answered
	ahead    bool      // something of the next request was read while one was handled
	inRead   bool      // a Read is under way
	ended    bool      // reading yields the end of the stream, whatever comes
	moved    bool      // the connection has another server, this value is void
	closed   bool
	prefix   []byte // what was read for another server, to be read first
}

func newConn(nc net.Conn, prefix []byte) *conn {
	c := &conn{Conn: nc, prefix: prefix, since: time.Now()}
	c.readDone.L = &c.mutex
	return c
}

// recognize notes that the server's hooks tell of this connection.
func (c *conn) recognize(plain bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.known, c.plain = true, plain
}

// begin notes that a handler gets a request. If last is set, its answer ends the
// connection.
func (c *conn) begin(protocol int, last bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.protocol, c.last = protocol, c.last || last
	c.phase, c.since = handling, time.Now()
}

// rest notes that a request has been answered and the next one has not begun.
func (c *conn) rest() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.phase, c.since = idle, time.Now()
	if c.ahead {
		c.phase, c.ahead = reading, false
	}
}

// got notes that n bytes were read into a buffer of a size. Call it with the
// mutex held.
func (c *conn) got(n, size int) {
	switch {
	case n == 0:
	case !c.known || c.protocol == 2:
		c.phase, c.since = reading, time.Now()
	case c.phase == fresh || c.phase == idle:
		c.phase, c.since = reading, time.Now()
	case c.phase == handling && size == 1:
		// net/http watches for a client that hangs up by reading a single byte. Such
		// a byte is the first of the next request.
		c.ahead = true
	}
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.mutex.Lock()
	if c.ended {
		c.mutex.Unlock()
		return 0, io.EOF
	}
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		c.got(n, len(p))
		c.mutex.Unlock()
		return n, nil
	}
	c.inRead = true
	c.mutex.Unlock()
	n, err := c.Conn.Read(p)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.inRead = false
	c.readDone.Broadcast()
	switch {
	case c.moved:
		c.prefix = append(c.prefix, p[:n]...)
		return 0, io.EOF
	case c.ended && n == 0:
		return 0, io.EOF
	case c.ended:
		// A request came just before the connection was to be closed.
		c.ended = false
		err = c.Conn.SetReadDeadline(time.Time{})
	}
	c.got(n, len(p))
	return n, err
}

// writable returns an error if the connection is another server's by now.
func (c *conn) writable() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.moved {
		return net.ErrClosed
	}
	if c.phase == fresh {
		c.phase, c.since = reading, time.Now() // The server speaks first.
	}
	return nil
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// ReadFrom implements io.ReaderFrom, so that the kernel can go on to copy files to
// TCP connections.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if err := c.writable(); err != nil {
		return 0, err
	}
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite ends what is sent to the client. net/http and crypto/tls look for it.
func (c *conn) CloseWrite() error {
	if err := c.writable(); err != nil {
		return err
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.Conn.SetReadDeadline, t) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadline(c.Conn.SetDeadline, t) }

// setDeadline sets a deadline unless a Read is to be ended by one.
func (c *conn) setDeadline(set func(time.Time) error, t time.Time) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.ended {
		return nil
	}
	return set(t)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mutex.Lock()
	void := c.moved || c.closed
	c.closed = true
	c.mutex.Unlock()
	if void {
		return net.ErrClosed
	}
	c.listener.forget(c)
	return c.Conn.Close()
}

// longAgo is a deadline that ends a Read at once.
var longAgo = time.Unix(1, 0)

// move returns the connection for another server, if nothing of a request was
// read: what is unread stays unread. To its present server the client seems to
// have closed it. It returns nil if the connection cannot move.
func (c *conn) move() *conn {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	unread := c.phase == fresh || c.phase == idle && c.known && c.plain && c.protocol == 1
	if !unread || c.ended || c.closed {
		return nil
	}
	c.ended, c.moved = true, true
	if c.Conn.SetReadDeadline(longAgo) == nil {
		for c.inRead {
			c.readDone.Wait()
		}
		_ = c.Conn.SetDeadline(time.Time{})
	}
	return newConn(c.Conn, c.prefix)
}

// settled reports whether the server may be shut down as far as this connection
// is concerned. It makes the server close a connection on which nothing comes.
func (c *conn) settled(now time.Time, wait patience) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	age := now.Sub(c.since)
	switch {
	case c.closed || c.moved || c.last:
		return true
	case c.phase == reading && c.known && c.protocol != 2:
		return age > wait.most
	case age <= wait.quiet:
		return false
	case c.phase != idle || !c.known || c.protocol == 2:
		return true
	}
	if !c.ended {
		// Closed here and now, a request can be lost only if it is on the wire in
		// this moment, as on any connection that a server closes for being idle.
		// Shutdown would also drop one that comes before it gets to it.
		c.ended = true
		_ = c.Conn.SetReadDeadline(longAgo)
	}
	return false // The server is about to close it.
}
