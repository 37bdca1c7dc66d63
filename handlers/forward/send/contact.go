package send

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// stuckAfter is how long after its end an attempt waits for a connection of
// HTTP/2 to let go of it.
const stuckAfter = time.Second

// contact is what net/http tells of the connections of one attempt.
type contact struct {
	// connection is the last that was ready for the request, nil for none.
	connection atomic.Pointer[net.Conn]
	// answering says that a first byte of an answer came.
	answering atomic.Bool
}

// watch returns a context with which net/http reports to the contact.
func (c *contact) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			again := c.connection.Swap(&info.Conn) != nil
			if again && info.Reused && !isHTTP2(info.Conn) {
				// net/http repeats a request by itself when a kept connection is
				// closed before an answer came, on the next one that is kept. A
				// target that acts and then closes would act once for each of
				// them. So the request goes out on a kept connection once: with
				// the others closed, the next is a new one, which ends the
				// repetition.
				_ = info.Conn.Close()
			}
		},
		GotFirstResponseByte: func() { c.answering.Store(true) },
	})
}

func isHTTP2(connection net.Conn) bool {
	secured, ok := connection.(*tls.Conn)
	return ok && secured.ConnectionState().NegotiatedProtocol == "h2"
}

// reached reports, of an attempt that ended with an error, whether a part of the
// request may have arrived at the target.
func (c *contact) reached(err error) bool {
	return c.connection.Load() != nil && !isRefusedCertificate(err)
}

// isRefusedCertificate reports whether the target ended the TLS handshake because
// of the client's certificate or for want of one. With TLS 1.3 that is only known
// after the request was written, but no server reads it then.
func isRefusedCertificate(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate")
}

// read returns the beginning of an answer's body and whether it is all of it. It
// returns when ctx ends, whatever the target does.
func (c *contact) read(ctx context.Context, response *http.Response) (text string, whole bool) {
	switch {
	case response.StatusCode == http.StatusSwitchingProtocols:
		// What follows is no body but another protocol, which no context ends.
		_ = response.Body.Close()
		return "", true
	case response.ProtoMajor < 2:
		return readAndClose(response.Body)
	}
	// Reading from and closing a stream of HTTP/2 writes to the connection, and
	// that waits for a target that reads nothing.
	type part struct {
		text  string
		whole bool
	}
	read := make(chan part, 1)
	go func() {
		text, whole := readAndClose(response.Body)
		read <- part{text, whole}
	}()
	select {
	case p := <-read:
		return p.text, p.whole
	case <-ctx.Done():
	}
	// The end of ctx ends the reading, unless the connection is stuck: then it
	// is of no use for other requests either.
	select {
	case p := <-read:
		return p.text, p.whole
	case <-time.After(stuckAfter):
	}
	if connection := c.connection.Load(); connection != nil {
		_ = (*connection).Close()
	}
	return "", false
}

// readAndClose is readSome for a body of net/http, which knows by its end whether its
// connection can be used again.
func readAndClose(body io.ReadCloser) (text string, whole bool) {
	defer func() { _ = body.Close() }()
	text, whole, _ = readSome(body)
	return text, whole
}
