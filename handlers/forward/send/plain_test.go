package send

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// way is one of the two ways to send a request without TLS.
type way func(*Connections, context.Context, *Request, time.Duration) Result

func byTransport(c *Connections, ctx context.Context, r *Request, timeout time.Duration) Result {
	return c.sendByTransport(ctx, r, time.Now().Add(timeout))
}

func directly(t testing.TB) way {
	return func(c *Connections, ctx context.Context, r *Request, timeout time.Duration) Result {
		result, ok := c.direct.send(ctx, r, time.Now().Add(timeout))
		if ok != checksIdle {
			t.Fatal("the request is left to net/http")
		}
		if !ok {
			return byTransport(c, ctx, r, timeout)
		}
		return result
	}
}

// classOf returns what errors have in common that are told apart in messages.
func classOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), strings.Contains(err.Error(), "server closed idle connection"):
		return "hang-up"
	case strings.Contains(err.Error(), "response headers exceeded"):
		return "head too large"
	case strings.Contains(err.Error(), "malformed"):
		return "malformed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	}
	return strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: ")
}

// brief is what two ways must have in common.
func brief(r Result) string {
	return fmt.Sprintf("%d %q %q %q %v reached=%t answering=%t error=%s", r.Status, r.Response, r.RetryAfter, r.Location, r.Date, r.Reached, r.Answering, classOf(r.Err))
}

// What is sent is what net/http sends, byte for byte.
func TestPlainRequestIsThatOfNetHTTP(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
		}
		return h
	}
	cases := []struct {
		name   string
		change func(*Request)
		left   bool // to net/http
	}{
		{"POST without a body", func(*Request) {}, false},
		{"POST", func(r *Request) { r.Body = []byte(`{"a":1}`) }, false},
		{"GET", func(r *Request) { r.Method = "GET" }, false},
		{"GET with a body", func(r *Request) { r.Method, r.Body = "GET", []byte("x") }, false},
		{"HEAD", func(r *Request) { r.Method = "HEAD" }, false},
		{"PUT", func(r *Request) { r.Method = "PUT" }, false},
		{"PATCH", func(r *Request) { r.Method = "PATCH" }, false},
		{"DELETE", func(r *Request) { r.Method = "DELETE" }, false},
		{"OPTIONS", func(r *Request) { r.Method = "OPTIONS" }, false},
		{"own method", func(r *Request) { r.Method = "MKCOL" }, false},
		{"method in small letters", func(r *Request) { r.Method = "get" }, true},
		{"not a method", func(r *Request) { r.Method = "G T" }, true},
		{"path and query", func(r *Request) { r.URL.Path, r.URL.RawQuery = "/a b/ü", "x=1&y=%20" }, false},
		{"opaque", func(r *Request) { r.URL.Opaque, r.URL.RawQuery = "/a%2Fb^|", "a%2Fb" }, false},
		{"opaque with a control character", func(r *Request) { r.URL.Opaque = "/a\nb" }, true},
		{"query without a value", func(r *Request) { r.URL.ForceQuery = true }, false},
		{"host", func(r *Request) { r.Host = "other.example:81" }, false},
		{"host beyond ASCII", func(r *Request) { r.Host = "bücher.example" }, true},
		{"headers", func(r *Request) {
			r.Header = header("X-B", "2", "X-A", " 1\t", "Content-Type", "application/json", "X-B", "3", "x-lower", "", "Authorization", "Bearer x")
		}, false},
		{"many headers", func(r *Request) {
			for i := range 40 {
				r.Header.Set(fmt.Sprintf("X-%d", i), "v")
			}
		}, false},
		{"user agent", func(r *Request) { r.Header = header("User-Agent", " relay ") }, false},
		{"no user agent", func(r *Request) { r.Header = header("User-Agent", "") }, false},
		{"user agent in small letters", func(r *Request) { r.Header = header("user-agent", "x") }, true},
		{"Connection", func(r *Request) { r.Header = header("Connection", "close") }, true},
		{"Transfer-Encoding", func(r *Request) { r.Header = header("transfer-encoding", "chunked") }, true},
		{"Content-Length", func(r *Request) { r.Header = header("Content-Length", "5") }, true},
		{"Expect", func(r *Request) { r.Header = header("Expect", "100-continue") }, true},
		{"Upgrade", func(r *Request) { r.Header = header("Upgrade", "websocket") }, true},
		{"line in a value", func(r *Request) { r.Header = header("X-A", "1\r\nX-B: 2") }, true},
		{"line in a name", func(r *Request) { r.Header = header("X-A: 1\r\nX-B", "2") }, true},
		{"large body", func(r *Request) { r.Body = make([]byte, plainBytes) }, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan string, 1)
			address := listen(t, func(connection net.Conn) {
				reader := bufio.NewReader(connection)
				var text strings.Builder
				request, err := http.ReadRequest(bufio.NewReader(io.TeeReader(reader, &text)))
				if err == nil {
					_, _ = io.Copy(io.Discard, request.Body)
				}
				got <- text.String()
				_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			})
			request := requestTo(t, "http://"+address+"/in")
			c.change(request)
			text, ok := appendRequest(nil, request)
			if ok = ok && len(text) <= plainBytes; ok == c.left {
				t.Fatalf("left to net/http: %t", !ok)
			}
			if c.left {
				return
			}
			if result := byTransport(newSender(t).Current(), t.Context(), request, time.Minute); result.Err != nil {
				t.Fatal(result.Err)
			}
			if want := <-got; string(text) != want {
				t.Errorf("got  %q\nwant %q", text, want)
			}
			if result := directly(t)(newSender(t).Current(), t.Context(), request, time.Minute); result.Err != nil {
				t.Fatal(result.Err)
			}
			if sent := <-got; string(text) != sent {
				t.Errorf("sent %q\nwant %q", sent, text)
			}
		})
	}
	for _, address := range []string{"https://192.0.2.1/", "http://b\u00fccher.example/", "http://[fe80::1%25eth0]/", "http:///x"} {
		if _, ok := appendRequest(nil, requestTo(t, address)); ok {
			t.Errorf("%s is not left to net/http", address)
		}
	}
}

func TestAddressOf(t *testing.T) {
	for host, want := range map[string]string{"a": "a:80", "a:": "a:80", "a:81": "a:81", "[::1]": "[::1]:80", "[::1]:81": "[::1]:81", "192.0.2.1": "192.0.2.1:80"} {
		if got := addressOf(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

// Of whatever a target answers, a request comes to the same as by way of net/http, and
// so does the next one to the same target.
func TestPlainAnswerIsThatOfNetHTTP(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	long := strings.Repeat("x", 10<<10)
	cases := []struct {
		name, method, answer string
		// stay keeps the connection open, and reset ends it with a reset. once asks once:
		// when net/http finds out that a kept connection is of no use is a matter of
		// microseconds.
		stay, reset, once bool
	}{
		{name: "length", answer: ok, stay: true},
		{name: "length, then closed", answer: ok},
		{name: "chunks", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", stay: true},
		{name: "chunks with a trailer", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n", stay: true},
		{name: "chunks that break off", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok"},
		{name: "no chunk", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok\r\n"},
		{name: "length and chunks", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{name: "two lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"},
		{name: "twice the same length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", stay: true},
		{name: "bad length", answer: "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"},
		{name: "unknown encoding", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"},
		{name: "to the end", answer: "HTTP/1.1 200 OK\r\n\r\nok"},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{name: "HTTP/1.0 kept", answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", stay: true},
		{name: "close", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", stay: true},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", stay: true},
		{name: "204 with a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", once: true},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", stay: true},
		{name: "HEAD", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", stay: true},
		{name: "100 first", answer: "HTTP/1.1 100 Continue\r\n\r\n" + ok, stay: true},
		{name: "103 first", answer: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok, stay: true},
		{name: "103 alone", answer: "HTTP/1.1 103 Early Hints\r\n\r\n"},
		{name: "many 103", answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+long+"\r\n\r\n", 8) + ok},
		{name: "101", answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nmore", stay: true},
		{name: "101 of nothing", answer: "HTTP/1.1 101 Switching Protocols\r\n\r\n", stay: true},
		{name: "302", answer: "HTTP/1.1 302 Found\r\nLocation: http://u:p@elsewhere/login?next=x#y\r\nContent-Length: 0\r\n\r\n", stay: true},
		{name: "503", answer: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", stay: true},
		{name: "unknown status", answer: "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", stay: true},
		{name: "status 099", answer: "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", stay: true},
		{name: "status of two digits", answer: "HTTP/1.1 20 OK\r\n\r\n"},
		{name: "no reason", answer: "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", stay: true},
		{name: "HTTP/2 answer", answer: "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{name: "preface of HTTP/2", answer: "\x00\x00\x12\x04\x00\x00\x00\x00\x00"},
		{name: "other protocol", answer: "SSH-2.0-OpenSSH\r\n"},
		{name: "TLS", answer: "\x15\x03\x01\x00\x02\x02\x46"},
		{name: "bare line feeds", answer: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", stay: true},
		{name: "space before the colon", answer: "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"},
		{name: "folded header", answer: "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", stay: true},
		{name: "header without a colon", answer: "HTTP/1.1 200 OK\r\nnonsense\r\n\r\nok"},
		{name: "NUL in a header", answer: "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\nok"},
		{name: "large head", answer: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*MaxHeader) + "\r\nContent-Length: 2\r\n\r\nok"},
		{name: "head of many lines", answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", MaxHeader/4) + "\r\n"},
		{name: "head that ends early", answer: "HTTP/1.1 200 OK\r\nContent-Length"},
		{name: "body that ends early", answer: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"},
		{name: "longer than is kept", answer: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), stay: true},
		{name: "longer than is read", answer: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<20, strings.Repeat("x", 1<<20)), stay: true},
		{name: "exactly what is read at once", answer: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 4<<10, strings.Repeat("x", 4<<10)), stay: true},
		{name: "nothing", answer: ""},
		{name: "reset", reset: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			target := func() (string, *atomic.Int64) {
				var requests atomic.Int64
				return listen(t, func(connection net.Conn) {
					reader := bufio.NewReader(connection)
					for {
						if _, err := http.ReadRequest(reader); err != nil {
							return
						}
						requests.Add(1)
						if c.reset {
							_ = connection.(*net.TCPConn).SetLinger(0)
						} else {
							_, _ = io.WriteString(connection, c.answer)
						}
						if !c.stay {
							_ = connection.Close()
							return
						}
					}
				}), &requests
			}
			results := map[string]string{}
			for name, send := range map[string]way{"net/http": byTransport, "direct": directly(t)} {
				address, requests := target()
				sender := newSender(t)
				for i := range 2 {
					if i > 0 && c.once {
						break
					}
					request := requestTo(t, "http://"+address+"/")
					if c.method != "" {
						request.Method = c.method
					}
					result := send(sender.Current(), t.Context(), request, time.Minute)
					results[name] += fmt.Sprintf("%d: %s\n", i, brief(result))
					if !c.stay {
						sender.Close() // for the same reason
					}
				}
				results[name] += fmt.Sprint(requests.Load(), " requests")
			}
			if results["direct"] != results["net/http"] {
				t.Errorf("directly:\n%s\nby way of net/http:\n%s", results["direct"], results["net/http"])
			}
		})
	}
}

// A target that answers a new connection before it reads has answered. (net/http takes
// that for an answer or for an error, as it happens.)
func TestAnswerBeforeRequest(t *testing.T) {
	address := listen(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n")
		_, _ = http.ReadRequest(bufio.NewReader(c))
	})
	if result := directly(t)(newSender(t).Current(), t.Context(), requestTo(t, "http://"+address+"/"), time.Minute); checksIdle && (result.Status != 429 || result.RetryAfter != "5") {
		t.Errorf("got %s", brief(result))
	}
}

// kept returns how many connections are kept, of all targets.
func (p *plain) kept() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, idle := range p.idle {
		n += len(idle)
	}
	return n
}

// waitFor waits until a condition holds.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// A target that takes the request on a kept connection and closes it without an answer
// gets it once more only if it may be repeated, on a new connection.
func TestRepeatsWhatNetHTTPRepeats(t *testing.T) {
	for _, c := range []struct {
		name    string
		method  string
		key     string
		repeats int64
	}{{"POST", "POST", "", 0}, {"POST with a key", "POST", "Idempotency-Key", 1}, {"PUT", "PUT", "", 0}, {"GET", "GET", "", 1}, {"OPTIONS", "OPTIONS", "", 1}, {"DELETE", "DELETE", "", 0}} {
		t.Run(c.name, func(t *testing.T) {
			for name, send := range map[string]way{"net/http": byTransport, "direct": directly(t)} {
				var requests atomic.Int64
				address := listen(t, func(connection net.Conn) {
					reader := bufio.NewReader(connection)
					for {
						if _, err := http.ReadRequest(reader); err != nil {
							return
						}
						if requests.Add(1) > 3 {
							_ = connection.Close()
							return
						}
						_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
				})
				sender := newSender(t)
				request := requestTo(t, "http://"+address+"/")
				request.Method, request.Body = c.method, []byte("x")
				if c.key != "" {
					request.Header.Set(c.key, "1")
				}
				for i := range 3 {
					if result := send(sender.Current(), t.Context(), request, time.Minute); result.Status != 200 {
						t.Fatalf("%s, %d: %+v", name, i, result)
					}
				}
				result := send(sender.Current(), t.Context(), request, time.Minute)
				if !result.Reached || result.Answering || classOf(result.Err) != "hang-up" {
					t.Errorf("%s: %s", name, brief(result))
				}
				if n := requests.Load() - 4; n != c.repeats {
					t.Errorf("%s: repeated %d times", name, n)
				}
			}
		})
	}
}

// The end of a context breaks off a request, and its connection is not used again.
func TestCancelled(t *testing.T) {
	for name, send := range map[string]way{"net/http": byTransport, "direct": directly(t)} {
		for _, head := range []string{"", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"} {
			arrived, ended := make(chan bool), make(chan bool)
			address := listen(t, func(c net.Conn) {
				reader := bufio.NewReader(c)
				if _, err := http.ReadRequest(reader); err != nil {
					return
				}
				_, _ = io.WriteString(c, head)
				arrived <- true
				_, _ = reader.ReadByte() // until it is closed
				ended <- true
			})
			ctx, cancel := context.WithCancel(t.Context())
			results := make(chan Result)
			sender := newSender(t)
			go func() { results <- send(sender.Current(), ctx, requestTo(t, "http://"+address+"/"), time.Hour) }()
			<-arrived
			cancel()
			result := <-results
			<-ended
			if strings.Contains(head, " 200 ") {
				// The status may be read before or after the context ends.
				if result.Status != 200 && !errors.Is(result.Err, context.Canceled) {
					t.Errorf("%s: %s", name, brief(result))
				}
			} else if !errors.Is(result.Err, context.Canceled) || !result.Reached {
				t.Errorf("%s, %q: %s", name, head, brief(result))
			}
		}
	}
}

// Before its time is over, an attempt that cannot connect ends with it; a connection
// that comes about later is kept for the next attempt.
func TestLateConnection(t *testing.T) {
	address := listen(t, func(c net.Conn) {
		reader := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(reader); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	release := make(chan bool)
	var dials atomic.Int64
	p := &plain{dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		<-release
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(p.closeIdle)
	request := requestTo(t, "http://"+address+"/")
	// On a busy machine the time may be over before anything begins.
	for wait := time.Millisecond; dials.Load() == 0; wait *= 2 {
		result, _ := p.send(t.Context(), request, time.Now().Add(wait))
		if !errors.Is(result.Err, context.DeadlineExceeded) || result.Reached {
			t.Fatalf("got %s", brief(result))
		}
	}
	close(release)
	waitFor(t, "the connection is kept", func() bool { return p.kept() == 1 })
	if result, _ := p.send(t.Context(), request, time.Now().Add(time.Minute)); result.Status != 200 || dials.Load() != 1 {
		t.Errorf("got %s after %d dials", brief(result), dials.Load())
	}
}

// Connections that were made for other targets are closed, also those in use when the
// targets change, and so are those that have been idle for long.
func TestKeptConnectionsEnd(t *testing.T) {
	answer := make(chan bool)
	var open atomic.Int64
	address := listen(t, func(c net.Conn) {
		open.Add(1)
		defer open.Add(-1)
		reader := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(reader); err != nil {
				return
			}
			<-answer
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	sender := newSender(t)
	old := sender.Current()
	results := make(chan Result)
	request := requestTo(t, "http://"+address+"/")
	for range 2 {
		go func() { results <- directly(t)(old, t.Context(), request, time.Minute) }()
	}
	waitFor(t, "both requests wait for their answers", func() bool { return open.Load() == 2 })
	answer <- true
	<-results
	if n := old.direct.kept(); n != 1 {
		t.Fatalf("%d connections are kept", n)
	}
	sender.Restrict(mustTargets(t, "127.0.0.0/8"))
	answer <- true
	if result := <-results; result.Status != 200 {
		t.Errorf("got %s", brief(result))
	}
	waitFor(t, "both connections are closed", func() bool { return open.Load() == 0 })
	if n := old.direct.kept(); n != 0 {
		t.Errorf("%d connections are kept", n)
	}

	p := &sender.Current().direct
	go func() { answer <- true }()
	if result := directly(t)(sender.Current(), t.Context(), request, time.Minute); result.Status != 200 || p.kept() != 1 {
		t.Fatalf("got %s", brief(result))
	}
	p.sweep()
	if p.kept() != 1 {
		t.Error("a connection that was just used is closed")
	}
	c := p.take(address)
	p.keep(address, c)
	c.since = c.since.Add(-idleFor)
	p.sweep()
	if p.kept() != 0 {
		t.Error("a connection that was idle for long is kept")
	}
	waitFor(t, "it is closed", func() bool { return open.Load() == 0 })
}

// Many requests at once, to a target that closes connections as it likes, each get their
// own answer.
func TestManyAtOnce(t *testing.T) {
	var count atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1)%7 == 0 {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	defer target.Close()
	sender := newSender(t)
	var running sync.WaitGroup
	for i := range 16 {
		running.Go(func() {
			for j := range 50 {
				path := fmt.Sprintf("/%d/%d", i, j)
				if result := directly(t)(sender.Current(), t.Context(), requestTo(t, target.URL+path), time.Minute); result.Response != path {
					t.Errorf("%s: %s", path, brief(result))
				}
				if j == 25 {
					sender.Current().closeIdle()
				}
			}
		})
	}
	running.Wait()
}

// Whatever a target answers comes to the same as by way of net/http.
func FuzzPlainAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 No Content\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /x?y\r\nRetry-After: 1\r\n\r\nbody", "SSH-2.0\r\n", "",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	to, err := url.Parse("http://target.example/")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer string, head bool) {
		if !checksIdle {
			return
		}
		dial := func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				// The request is read as a whole before anything is answered.
				if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
					_, _ = io.WriteString(there, answer)
				}
				_ = there.Close()
			}()
			return here, nil
		}
		request := &Request{Method: http.MethodGet, URL: to, Header: http.Header{}}
		if head {
			request.Method = http.MethodHead
		}
		results := [2]string{}
		for i, send := range []way{byTransport, directly(t)} {
			c := &Connections{transport: newTransport(dial, nil)}
			c.direct.dial = dial
			results[i] = brief(send(c, t.Context(), request, time.Minute))
			c.closeIdle()
		}
		if results[0] != results[1] {
			t.Errorf("an answer of %q\nby way of net/http: %s\ndirectly:           %s", answer, results[0], results[1])
		}
	})
}

func BenchmarkSend(b *testing.B) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	defer target.Close()
	request := requestTo(b, target.URL)
	request.Body = []byte(`{"id":1}`)
	for name, send := range map[string]way{"net/http": byTransport, "direct": directly(b)} {
		b.Run(name, func(b *testing.B) {
			sender := newSender(b)
			b.ReportAllocs()
			for b.Loop() {
				if result := send(sender.Current(), b.Context(), request, time.Minute); result.Status != 200 {
					b.Fatal(brief(result))
				}
			}
		})
	}
}
