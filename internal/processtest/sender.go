package processtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Sender posts over HTTP/1.1 as simple senders do: it never repeats a request, and
// it does not look whether its connection is still open before it writes. It makes
// a new connection only if it has none or the last answer said that it is closed.
type Sender struct {
	// Dial makes a connection, with TLS if that is wanted.
	Dial func() (net.Conn, error)
	// Fresh makes the sender use a connection for each request.
	Fresh bool

	conn   net.Conn
	reader *bufio.Reader
}

// Post sends one request and returns the answer's status and body.
func (s *Sender) Post(host, uri, body string) (int, string, error) {
	if s.conn == nil {
		conn, err := s.Dial()
		if err != nil {
			return 0, "", fmt.Errorf("connecting: %w", err)
		}
		s.conn, s.reader = conn, bufio.NewReader(conn)
	}
	_ = s.conn.SetDeadline(time.Now().Add(Patience))
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		uri, host, len(body), body)
	if _, err := io.WriteString(s.conn, request); err != nil {
		s.Close()
		return 0, "", fmt.Errorf("sending: %w", err)
	}
	response, err := http.ReadResponse(s.reader, nil)
	if err != nil {
		s.Close()
		return 0, "", fmt.Errorf("reading the answer: %w", err)
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.Close || s.Fresh {
		s.Close()
	}
	return response.StatusCode, strings.TrimSpace(string(answer)), err
}

// Close closes the connection, if there is one.
func (s *Sender) Close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}
