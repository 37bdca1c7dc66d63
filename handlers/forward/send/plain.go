package send

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

// plain sends requests to targets without TLS. The goroutine of the attempt itself
// writes the request and reads the answer: net/http has two more goroutines for each
// connection and wakes both for each request, which cost a tenth of the CPU time of a
// delivered event. Answers are read by http.ReadResponse, and what is out of the
// ordinary is left to net/http as a whole: see appendRequest.
//
// What differs from net/http is that nothing reads while a connection is idle. So
// whether the target has closed it is looked at when it is used again.
type plain struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu sync.Mutex
	// idle are the kept connections by the host of the URL, those used last at the end.
	idle map[string][]*connection
	// closing says that connections are closed after use, until one is wanted again.
	closing bool
	// sweeping says that sweep will be called.
	sweeping bool
}

const (
	// plainBytes bounds the requests that are sent this way. They fit into the buffers of
	// the connection, so that writing does not wait for a target that answers before
	// it reads. Larger ones are left to net/http, which reads while it writes.
	plainBytes = 16 << 10
	// idleAtMost and idleFor bound the kept connections of a target, here and in
	// net/http.
	idleAtMost = 512
	idleFor    = 90 * time.Second
)

// connection is a connection that one attempt at a time uses.
type connection struct {
	net.Conn
	raw    syscall.RawConn // nil if it has none
	look   func(fd uintptr) bool
	idle   bool // what look saw
	one    [1]byte
	reader *bufio.Reader
	// left is how many more bytes may be read.
	left int64
	// wrote and answering say of the present request that a part of it was written, and
	// that a first byte of the answer came.
	wrote, answering bool
	since            time.Time // when it became idle
}

// Read reads no more than left.
func (c *connection) Read(to []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLarge
	}
	if int64(len(to)) > c.left {
		to = to[:c.left]
	}
	n, err := c.Conn.Read(to)
	c.left -= int64(n)
	return n, err
}

// errHeaderTooLarge is worded as that of net/http is.
var errHeaderTooLarge = fmt.Errorf("server response headers exceeded %d bytes; aborted", MaxHeader)

var requestBuffers = sync.Pool{New: func() any { return new([plainBytes]byte) }}

// send sends a request if it is one for this way, else it says no. See
// Connections.Send.
func (p *plain) send(ctx context.Context, request *Request, deadline time.Time) (result Result, ok bool) {
	if !checksIdle || len(request.Body) > plainBytes {
		return result, false
	}
	buffer := requestBuffers.Get().(*[plainBytes]byte)
	defer requestBuffers.Put(buffer)
	text, ok := appendRequest(buffer[:0], request)
	if !ok || len(text) > plainBytes {
		return result, false
	}
	if own, ok := ctx.Deadline(); ok && own.Before(deadline) {
		deadline = own
	}
	for again := false; ; again = true {
		c, kept, err := p.connect(ctx, request.URL.Host, deadline, again)
		if err != nil {
			result.Err = whyEnded(ctx, deadline, err)
			return result, true
		}
		var response *http.Response
		interrupted := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		response, err = c.exchange(text, request.Method, kept)
		if err == nil {
			answered := resultOf(request, response)
			reusable := c.finish(request, response, &answered)
			if interrupted() && reusable {
				p.keep(request.URL.Host, c)
			} else {
				_ = c.Close()
			}
			return answered, true
		}
		interrupted()
		_ = c.Close()
		// The target closed a kept connection, most likely while it was idle. As net/http
		// does, the request goes out once more if none of it was written, or if it may be
		// repeated and no answer had begun. With the others closed, that is on a new
		// connection: a target that acts and then closes would else act once for each.
		err = whyEnded(ctx, deadline, err)
		if kept && !c.answering && !isOver(err) && (!c.wrote || repeatable(request)) {
			result.Reached = c.wrote
			p.closeIdleTo(request.URL.Host)
			continue
		}
		result.Err, result.Reached, result.Answering = err, true, c.answering
		return result, true
	}
}

// whyEnded returns the error of an attempt: that its time is over, if it is.
func whyEnded(ctx context.Context, deadline time.Time, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !time.Now().Before(deadline):
		return context.DeadlineExceeded
	}
	return err
}

func isOver(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// repeatable reports whether net/http would repeat a request by itself.
func repeatable(r *Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

// connect returns a connection to the host of a URL, and whether it was kept. If
// fresh is set, it is a new one.
func (p *plain) connect(ctx context.Context, host string, deadline time.Time, fresh bool) (c *connection, kept bool, err error) {
	for !fresh {
		if c = p.take(host); c == nil {
			break
		}
		if c.SetDeadline(deadline) == nil && c.isIdle() {
			return c, true, nil
		}
		_ = c.Close()
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	// The dial goes on when the attempt is over, so that another can use the connection:
	// a target may need longer to connect to than an attempt may take.
	type dialled struct {
		c   *connection
		err error
	}
	ready := make(chan dialled)
	going := context.WithoutCancel(ctx)
	go func() {
		var d dialled
		made, err := p.dial(going, "tcp", addressOf(host))
		if d.err = err; err == nil {
			d.c = newConnection(made)
		}
		select {
		case ready <- d:
		case <-ctx.Done():
			if d.c != nil {
				p.keep(host, d.c)
			}
		}
	}()
	select {
	case d := <-ready:
		if d.err != nil {
			return nil, false, d.err
		}
		if err := d.c.SetDeadline(deadline); err != nil {
			return nil, false, errors.Join(err, d.c.Close())
		}
		return d.c, false, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

// addressOf returns what is dialled for the host of a URL.
func addressOf(host string) string {
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		if at == len(host)-1 {
			return host + "80"
		}
		return host
	}
	return host + ":80"
}

func newConnection(made net.Conn) *connection {
	c := &connection{Conn: made}
	c.reader = bufio.NewReader(c)
	if has, ok := made.(syscall.Conn); ok {
		if raw, err := has.SyscallConn(); err == nil {
			c.raw, c.look = raw, c.lookAt
		}
	}
	return c
}

// exchange writes a request and reads the head of its answer.
func (c *connection) exchange(text []byte, method string, kept bool) (*http.Response, error) {
	c.left, c.answering = MaxHeader, false
	n, wrong := c.Write(text)
	c.wrote = n > 0
	if wrong != nil && kept && !c.wrote {
		return nil, wrong
	}
	// A target that broke off reading may have answered before.
	if _, err := c.reader.Peek(1); err != nil {
		if wrong != nil {
			err = wrong
		}
		return nil, err
	}
	c.answering = true
	request := &anyRequest
	if method == http.MethodHead {
		request = &headRequest
	}
	for {
		response, err := http.ReadResponse(c.reader, request)
		if err != nil {
			if c.left <= 0 {
				err = errHeaderTooLarge
			}
			return nil, err
		}
		// All heads together are bounded, those that only come before the answer too.
		if status := response.StatusCode; status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
			c.left = math.MaxInt64
			return response, nil
		}
	}
}

// anyRequest and headRequest tell http.ReadResponse what an answer answers: only of
// HEAD it is of interest.
var anyRequest, headRequest = http.Request{Method: http.MethodGet}, http.Request{Method: http.MethodHead}

// finish reads the beginning of an answer's body, and reports whether the connection can
// be used again.
func (c *connection) finish(request *Request, response *http.Response, result *Result) bool {
	if response.StatusCode == http.StatusSwitchingProtocols {
		return false // what follows is no body but another protocol
	}
	// The body must not be closed: that would read it to its end, however far that is.
	text, whole, ended := readSome(response.Body)
	result.Response = request.Masker.MaskPart(text, whole, responseKept)
	return ended && !response.Close && request.Method != http.MethodHead && response.StatusCode > 199 && c.reader.Buffered() == 0
}

// take returns a kept connection, nil for none.
func (p *plain) take(host string) *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = false
	idle := p.idle[host]
	if len(idle) == 0 {
		return nil
	}
	c := idle[len(idle)-1]
	idle[len(idle)-1] = nil
	p.idle[host] = idle[:len(idle)-1]
	return c
}

// keep keeps a connection for another request.
func (p *plain) keep(host string, c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || len(p.idle[host]) >= idleAtMost {
		_ = c.Close()
		return
	}
	if p.idle == nil {
		p.idle = map[string][]*connection{}
	}
	c.since = time.Now()
	p.idle[host] = append(p.idle[host], c)
	if !p.sweeping {
		p.sweeping = true
		time.AfterFunc(idleFor, p.sweep)
	}
}

// sweep closes what has been idle for too long.
func (p *plain) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, next := time.Now(), time.Duration(0)
	for host, idle := range p.idle {
		old := 0
		for old < len(idle) && now.Sub(idle[old].since) >= idleFor {
			_ = idle[old].Close()
			old++
		}
		if idle = slices.Delete(idle, 0, old); len(idle) == 0 {
			delete(p.idle, host)
			continue
		}
		p.idle[host] = idle
		if wait := idleFor - now.Sub(idle[0].since); next == 0 || wait < next {
			next = wait
		}
	}
	if p.sweeping = next > 0; p.sweeping {
		time.AfterFunc(next, p.sweep)
	}
}

// closeIdle closes the connections that are not in use, and those that are after
// their request.
func (p *plain) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = true
	for _, idle := range p.idle {
		closeAll(idle)
	}
	clear(p.idle)
}

// closeIdleTo closes those to the host of a URL that are not in use.
func (p *plain) closeIdleTo(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	closeAll(p.idle[host])
	delete(p.idle, host)
}

func closeAll(idle []*connection) {
	for _, c := range idle {
		_ = c.Close()
	}
}

// appendRequest appends a request as net/http writes it. It says no to what it leaves
// to net/http: TLS, and whatever has more to it than a method, a path, common headers
// and a body.
func appendRequest(to []byte, r *Request) ([]byte, bool) {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	if r.URL.Scheme != "http" || !isPlainHost(r.URL.Host) || !isPlainHost(host) || !isPlainMethod(r.Method) {
		return to, false
	}
	path := r.URL.RequestURI()
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return to, false
		}
	}
	to = append(append(append(to, r.Method...), ' '), path...)
	to = append(append(append(to, " HTTP/1.1\r\nHost: "...), host...), "\r\n"...)
	agent := "Go-http-client/1.1"
	if own, ok := r.Header["User-Agent"]; ok {
		if agent = ""; len(own) > 0 {
			agent = strings.Trim(own[0], " \t")
		}
	}
	if agent != "" {
		to = appendHeader(to, "User-Agent", agent)
	}
	if r.Method == http.MethodHead {
		to = appendHeader(to, "Connection", "close") // see Request.HTTP
	}
	if len(r.Body) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		to = append(to, "Content-Length: "...)
		to = append(strconv.AppendInt(to, int64(len(r.Body)), 10), "\r\n"...)
	}
	names := make([]string, 0, 16)
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || isFraming(name) {
			return to, false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return to, false
			}
		}
		if name != "User-Agent" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			to = appendHeader(to, name, strings.Trim(value, " \t"))
		}
	}
	to = append(to, "\r\n"...)
	return append(to, r.Body...), true
}

func appendHeader(to []byte, name, value string) []byte {
	to = append(append(to, name...), ": "...)
	return append(append(to, value...), "\r\n"...)
}

// isPlainHost reports whether a host, with or without a port, is made of ordinary
// characters, so that it is what is dialled and what the Host header says.
func isPlainHost(host string) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte(".-_:[]", c) >= 0:
		default:
			return false
		}
	}
	return host != "" && host[0] != ':'
}

func isPlainMethod(method string) bool {
	for i := range len(method) {
		if method[i] < 'A' || method[i] > 'Z' {
			return false
		}
	}
	return method != "" && method != http.MethodConnect
}

// isFraming reports whether a header says how requests follow each other on a
// connection, or is written by net/http itself.
func isFraming(name string) bool {
	for _, framing := range []string{"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		if strings.EqualFold(name, framing) {
			return true
		}
	}
	return strings.EqualFold(name, "User-Agent") && name != "User-Agent"
}

// readSome returns the beginning of a body, whether it is all of it, and reads on to
// its end, so that the connection can be used again, if that is not far. It says
// whether it came there.
func readSome(body io.Reader) (text string, whole, ended bool) {
	if body == http.NoBody {
		return "", true, true
	}
	buffer := readBuffers.Get().(*[4 << 10]byte)
	defer readBuffers.Put(buffer)
	n, err := readFull(body, buffer[:])
	text, whole = string(buffer[:n]), err != nil
	for read := n; err == nil && read < responseRead; read += n {
		n, err = body.Read(buffer[:])
	}
	return text, whole, err == io.EOF
}

// readFull reads until the buffer is full. Other than io.ReadFull it tells the end of
// a body from one that breaks off.
func readFull(from io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = from.Read(buffer[n:])
		n += more
	}
	return n, err
}

var readBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}
