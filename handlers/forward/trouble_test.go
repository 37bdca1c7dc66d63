package forward

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// troubled is a target that misbehaves as told, at one address. It counts the
// connections that it accepts.
type troubled struct {
	address string
	served  chan net.Conn
	config  *tls.Config

	mu       sync.Mutex
	listener net.Listener
	mode     mode
	accepted int
	held     map[net.Conn]bool
	mostHeld int
	requests []string
	status   int
}

// mode is what a troubled target does with a connection.
type mode int

const (
	answers mode = iota // with its status
	hangsUp
	holds   // it says nothing until release
	babbles // it says something that is neither HTTP nor TLS
	refuses // it does not even accept
)

// newTroubled starts a target. With a TLS configuration it speaks TLS.
func newTroubled(t testing.TB, m mode, config *tls.Config) *troubled {
	t.Helper()
	s := &troubled{served: make(chan net.Conn), mode: refuses, held: map[net.Conn]bool{}, status: 200, config: config}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	_ = listener.Close()
	done := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(s.handle)}
	go func() { _ = server.Serve(chanListener{s, done}) }()
	t.Cleanup(func() {
		s.set(t, refuses)
		s.release()
		close(done)
		_ = server.Close()
	})
	s.set(t, m)
	return s
}

func (s *troubled) url() string {
	if s.config != nil {
		return "https://" + s.address
	}
	return "http://" + s.address
}

// set changes what becomes of connections from now on.
func (s *troubled) set(t testing.TB, m mode) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
	if m == refuses && s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
	if m != refuses && s.listener == nil {
		listener, err := net.Listen("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		s.listener = listener
		go s.accept(listener)
	}
}

func (s *troubled) accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.accepted++
		m := s.mode
		if m == holds {
			s.held[connection] = true
			s.mostHeld = max(s.mostHeld, len(s.held))
		}
		s.mu.Unlock()
		switch m {
		case answers:
			if s.config != nil {
				connection = tls.Server(connection, s.config)
			}
			s.served <- connection
		case babbles:
			go babble(connection)
		case hangsUp:
			_ = connection.Close()
		}
	}
}

// babble answers what comes first with nonsense.
func babble(connection net.Conn) {
	_, _ = connection.Read(make([]byte, 1024))
	_, _ = io.WriteString(connection, "SSH-2.0-babble\r\n")
	_ = connection.Close()
}

func (s *troubled) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.RequestURI())
	status := s.status
	s.mu.Unlock()
	// Each attempt is to be a connection, so that they can be counted.
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
}

// answerWith sets the status of the answers.
func (s *troubled) answerWith(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// release hangs up on the connections that are held.
func (s *troubled) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for connection := range s.held {
		_ = connection.Close()
	}
	clear(s.held)
}

// holding returns how many connections are held.
func (s *troubled) holding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// connections returns how many were accepted.
func (s *troubled) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

type chanListener struct {
	s    *troubled
	done chan struct{}
}

func (l chanListener) Accept() (net.Conn, error) {
	select {
	case connection := <-l.s.served:
		return connection, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (chanListener) Close() error     { return nil }
func (l chanListener) Addr() net.Addr { return &net.TCPAddr{} }

// selfSigned is the TLS configuration of a server that nobody trusts.
func selfSigned(t testing.TB) *tls.Config {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return &tls.Config{Certificates: server.TLS.Certificates}
}

// picky is a target that answers all requests but those for /bad, on which it
// hangs up.
type picky struct{ url string }

func newPicky(t testing.TB) picky {
	return picky{serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			panic(http.ErrAbortHandler)
		}
	})}
}
