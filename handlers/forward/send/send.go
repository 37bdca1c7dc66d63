// Package send sends a request or a mail to a target and reads the answer. It decides which
// addresses may be called, at the moment they are dialled, and how TLS is spoken.
// It knows no template and no queue.
package send

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// MaxHeader bounds the headers of an answer, in bytes. An answer with more is an
// error.
const MaxHeader = 64 << 10

const (
	// responseRead bounds how many bytes of a body are read, and responseKept how
	// many of them are kept.
	responseRead = 64 << 10
	responseKept = 2 << 10
)

const (
	// EventHeader holds the id of the event in requests and mails.
	EventHeader = "X-Event-Id"
	// TestHeader marks the requests and mails for test events.
	TestHeader = "X-Event-Test"
)

// Request is what is sent. It can be sent any number of times.
type Request struct {
	Method string
	// URL holds scheme, host, path and query. Opaque, if set, is sent byte for byte
	// in place of the path.
	URL *url.URL
	// Host is what the Host header says, empty for the URL's.
	Host string
	// Header must not be nil.
	Header http.Header
	Body   []byte
	// TLS is how a connection is made, nil for Go's defaults.
	TLS *TLS
	// Masker masks the secrets in what is kept of the answer, nil for none.
	Masker *secret.Masker
}

// Sender sends requests to targets. One Sender serves all actions and outlives
// reloads, so that connections are kept.
type Sender struct {
	resolver *net.Resolver
	mu       sync.Mutex
	current  atomic.Pointer[Connections]
}

// Connections are the connections to a set of targets, which were checked when they
// were dialled. Other targets need other connections: one that is kept open would
// otherwise outlive its permission.
type Connections struct {
	// direct is the way for requests without TLS, transport that for all others.
	direct    plain
	transport *http.Transport
	targets   *Targets
	// dial connects to a target, for what is not HTTP.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// make makes a further transport to the same targets.
	make func(*tls.Config) *http.Transport

	mu sync.Mutex
	// byTLS are the transports for the TLS settings of actions.
	byTLS map[[32]byte]*http.Transport
}

// NewSender returns a Sender that calls only the given targets. The resolver is
// for tests; nil means the system's.
func NewSender(targets *Targets, resolver *net.Resolver) *Sender {
	s := &Sender{resolver: resolver}
	s.Restrict(targets)
	return s
}

// Restrict replaces the targets that may be called: by Send from now on,
// and by Connections that Current returns from now on. Those it returned before
// keep their targets.
func (s *Sender) Restrict(targets *Targets) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	if old != nil && targets.same(old.targets) {
		return
	}
	s.current.Store(s.transport(targets))
	if old != nil {
		old.closeIdle()
	}
}

// Current returns the connections to the targets that may be called now. Attempts
// of one configuration keep them, so that its actions and its targets change
// together.
func (s *Sender) Current() *Connections { return s.current.Load() }

// Close closes the connections that are not in use.
func (s *Sender) Close() { s.current.Load().closeIdle() }

func (s *Sender) transport(targets *Targets) *Connections {
	g := &Connections{targets: targets, byTLS: map[[32]byte]*http.Transport{}}
	g.dial = s.dialer(targets)
	g.make = func(config *tls.Config) *http.Transport { return newTransport(g.dial, config) }
	g.transport = g.make(nil)
	g.direct.dial = g.dial
	return g
}

func newTransport(dial func(context.Context, string, string) (net.Conn, error), config *tls.Config) *http.Transport {
	return &http.Transport{
		// Explicitly none: a proxy from the environment would see every
		// request, and the dialer would check the proxy's address only.
		Proxy:                  nil,
		DialContext:            dial,
		TLSClientConfig:        config,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idleAtMost,
		IdleConnTimeout:        idleFor,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: MaxHeader,
		// A connection whose other end reads nothing any more is closed, and so
		// is one that does not even answer a ping: requests share it.
		HTTP2: &http.HTTP2Config{WriteByteTimeout: 10 * time.Second, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// through returns the transport for a TLS setting. It is made at its first use
// and kept for the actions, also those of later configurations, that have the
// same.
func (c *Connections) through(setting *TLS) *http.Transport {
	if setting == nil {
		return c.transport
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	transport := c.byTLS[setting.key]
	if transport == nil {
		transport = c.make(setting.config.Clone())
		c.byTLS[setting.key] = transport
	}
	return transport
}

// Keep closes the idle connections of all TLS settings but these. Call it when a
// configuration is replaced: without it those of the one before stay open.
func (s *Sender) Keep(settings []*TLS) {
	used := map[[32]byte]bool{}
	for _, setting := range settings {
		used[setting.key] = true
	}
	g := s.current.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, transport := range g.byTLS {
		if !used[key] {
			transport.CloseIdleConnections()
			delete(g.byTLS, key)
		}
	}
}

// closeIdle closes the connections of all transports that are not in
// use.
func (c *Connections) closeIdle() {
	c.direct.closeIdle()
	c.transport.CloseIdleConnections()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, transport := range c.byTLS {
		transport.CloseIdleConnections()
	}
}

// dialer returns the function that connects to a target. Every address is
// checked at the moment it is dialled, after the name was resolved.
func (s *Sender) dialer(targets *Targets) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var allowed atomic.Bool
		dialer := net.Dialer{
			// The dial goes on when its attempt is over, so that another attempt
			// can use the connection. This ends it.
			Timeout:   30 * time.Second,
			KeepAlive: 30 * time.Second,
			Resolver:  s.resolver,
			ControlContext: func(_ context.Context, _, dialled string, _ syscall.RawConn) error {
				address, err := parseDialled(dialled)
				if err == nil {
					err = targets.check(host, address)
				}
				if err == nil {
					allowed.Store(true)
				}
				return err
			},
		}
		connection, err := dialer.DialContext(ctx, network, address)
		var refused *TargetError
		if errors.As(err, &refused) {
			if allowed.Load() {
				// Another address of the same name may be called and did not
				// answer. It may answer at the next attempt.
				return nil, fmt.Errorf("connecting to %s: no address that may be called answers", address)
			}
			return nil, refused
		}
		return connection, err
	}
}

// Result is what came of sending a request.
type Result struct {
	// Status is the answer's, of a mail server the code of its reply, 0 when there
	// was none. Err says why there was none.
	Status int
	Err    error
	// Reached says of an error that the request may have been written, wholly or
	// in part, so that the target may have carried it out. Answering says that
	// the target had begun to answer.
	Reached, Answering bool
	// RetryAfter is the header of that name, Location where a redirect points,
	// without its query.
	RetryAfter, Location string
	// Date is what the target's clock showed, by which a date in RetryAfter is meant. It is
	// zero without one, or if the target does not say.
	Date time.Time
	// Response is the beginning of the answer's body, or the last reply of a mail
	// server, secrets masked.
	Response string
	// Refused says of a mail which command its server refused, and how. It is empty
	// when the server took the mail, and for requests.
	Refused string
}

// Send sends a request and reads the beginning of the answer, within a
// time-out. It follows no redirect. The status alone decides what an answer
// means: a body that breaks off afterwards changes nothing.
func (c *Connections) Send(ctx context.Context, request *Request, timeout time.Duration) Result {
	deadline := time.Now().Add(timeout)
	if result, ok := c.direct.send(ctx, request, deadline); ok {
		return result
	}
	return c.sendByTransport(ctx, request, deadline)
}

// sendByTransport is Send by way of net/http.
func (c *Connections) sendByTransport(ctx context.Context, request *Request, deadline time.Time) Result {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	seen := new(contact)
	response, err := c.through(request.TLS).RoundTrip(request.HTTP(seen.watch(ctx)))
	if err != nil {
		result := Result{Err: err, Reached: seen.reached(err), Answering: seen.answering.Load()}
		if ctx.Err() != nil {
			// Which of the two came first is a matter of microseconds.
			result.Err = ctx.Err()
		}
		return result
	}
	result := resultOf(request, response)
	text, whole := seen.read(ctx, response)
	result.Response = request.Masker.MaskPart(text, whole, responseKept)
	return result
}

// resultOf returns what the head of an answer says.
func resultOf(request *Request, response *http.Response) Result {
	result := Result{Status: response.StatusCode}
	if retry := response.Header["Retry-After"]; len(retry) > 0 {
		result.RetryAfter = retry[0]
		result.Date, _ = http.ParseTime(response.Header.Get("Date")) // zero if there is none
	}
	if response.StatusCode/100 == 3 {
		result.Location = request.Masker.MaskTo(location(response), 512)
	}
	return result
}

// HTTP returns the request as net/http wants it.
func (r *Request) HTTP(ctx context.Context) *http.Request {
	template := http.Request{
		Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		// Some devices answer HEAD with a body, which would be read as the
		// answer to the next request on the same connection.
		Close: r.Method == http.MethodHead,
	}
	if len(r.Body) > 0 {
		// net/http sends head and body in one write if it knows the reader,
		// and with GetBody it tries again on a fresh connection when a kept
		// one turns out to be closed.
		template.ContentLength = int64(len(r.Body))
		template.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
		template.Body, _ = template.GetBody()
	}
	return template.WithContext(ctx)
}

// location returns where a redirect points, without a query: that may repeat
// what came with the event.
func location(response *http.Response) string {
	text := response.Header.Get("Location")
	to, err := url.Parse(text)
	if err != nil {
		return ""
	}
	to.User, to.RawQuery, to.ForceQuery, to.Fragment = nil, "", false, ""
	return to.String()
}
