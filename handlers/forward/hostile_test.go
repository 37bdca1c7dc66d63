package forward

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// raw starts a target that is nothing but what is done with each connection, and
// returns its address. Connections are closed at the end of the test.
func raw(t testing.TB, serve *tls.Config, do func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = connection.Close() })
			if serve != nil {
				connection = tls.Server(connection, serve)
			}
			go do(connection)
		}
	}()
	return listener.Addr().String()
}

// readHead reads a request up to the end of its headers.
func readHead(c net.Conn) bool {
	_, err := http.ReadRequest(bufio.NewReader(c))
	return err == nil
}

// Whatever a target does, an attempt ends, and the exit does not wait for it.
func TestNothingHoldsAnAttempt(t *testing.T) {
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			if readHead(c) {
				_, _ = io.WriteString(c, text)
			}
		}
	}
	repeats := func(begin, again string, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			if !readHead(c) {
				return
			}
			for _, err := io.WriteString(c, begin); err == nil; _, err = io.WriteString(c, again) {
				time.Sleep(pause)
			}
		}
	}
	const soon = 5 * time.Millisecond
	cases := []struct {
		name   string
		do     func(net.Conn)
		http2  bool
		body   int
		status int // 0: none
	}{
		{name: "101", do: says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), status: 101},
		{name: "101 with a body", do: repeats("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "more", soon), status: 101},
		{name: "101 that says nothing of a protocol", do: says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), status: 101},
		{name: "101 with a length", do: says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nContent-Length: 100\r\n\r\n"), status: 101},
		{name: "endless 1xx", do: repeats("", "HTTP/1.1 103 Early Hints\r\n\r\n", soon)},
		{name: "nothing but 100", do: repeats("", "HTTP/1.1 100 Continue\r\n\r\n", soon)},
		{name: "slow headers", do: repeats("HTTP/1.1 200 OK\r\n", "X: y\r\n", soon)},
		{name: "slow status line", do: repeats("H", "T", soon)},
		{name: "slow body", do: repeats("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x", soon), status: 200},
		{name: "slow chunks", do: repeats("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", soon), status: 200},
		{name: "endless chunk extension", do: repeats("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x", soon), status: 200},
		{name: "endless body without a length", do: repeats("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 1<<16), 0), status: 200},
		{name: "slow body without a length", do: repeats("HTTP/1.1 200 OK\r\n\r\n", "x", soon), status: 200},
		{name: "body that never comes", do: says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), status: 200},
		{name: "half closed", do: func(c net.Conn) {
			if readHead(c) {
				_ = c.(*net.TCPConn).CloseWrite()
			}
		}},
		{name: "half closed in the body", do: func(c net.Conn) {
			if readHead(c) {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
				_ = c.(*net.TCPConn).CloseWrite()
			}
		}, status: 200},
		{name: "reads nothing", do: func(net.Conn) {}, body: 32 << 20},
		{name: "reads the headers alone", do: func(c net.Conn) { readHead(c) }, body: 32 << 20},
		{name: "HTTP/2, silent", do: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, http2: true},
		{name: "HTTP/2, reads nothing", do: func(c net.Conn) { _ = c.(*tls.Conn).Handshake() }, http2: true, body: 32 << 20},
		{name: "HTTP/2, settings alone", do: frames(func(f *http2.Framer, _ uint32) error { return f.WriteSettingsAck() }, soon), http2: true},
		{name: "HTTP/2, headers alone", do: frames(func(f *http2.Framer, stream uint32) error { return writeStatus(f, stream, 200) }, time.Hour), http2: true, status: 200},
		{name: "HTTP/2, endless 1xx", do: frames(func(f *http2.Framer, stream uint32) error { return writeStatus(f, stream, 103) }, soon), http2: true},
		{name: "HTTP/2, slow body", do: frames(bodyAfterStatus("x"), soon), http2: true, status: 200},
		{name: "HTTP/2, body and no more reading", do: func(c net.Conn) {
			// It lets the client send much, and reads nothing of it.
			framer, stream := beginHTTP2(c, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			if framer == nil {
				return
			}
			_ = framer.WriteWindowUpdate(0, 1<<30)
			_ = writeStatus(framer, stream, 200)
			for framer.WriteData(stream, false, []byte(strings.Repeat("x", 100))) == nil {
				time.Sleep(soon)
			}
		}, http2: true, body: 32 << 20, status: 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			action := config.Action{URL: "http://", Timeout: config.Duration(300 * time.Millisecond), RetryFor: -1, Concurrency: 1, Body: &config.Body{Kind: config.BodyRaw, Text: strings.Repeat("b", c.body)}}
			var serve *tls.Config
			if c.http2 {
				serve = selfSigned(t)
				serve.NextProtos = []string{"h2"}
				if c.status != 0 {
					// The handshake and the status arrive in time also on a busy machine.
					action.Timeout = config.Duration(2 * time.Second)
				}
				action.URL, action.TLS = "https://", &config.TLS{InsecureSkipVerify: true}
			}
			action.URL += raw(t, serve, c.do)
			w := newWorkbench(t)
			// Two, so that the second shows that the first holds up nothing.
			ids := w.queue.add("test", eventtest.With(nil), 2)
			w.Use([]*Prepared{prepare(t, action)})
			eventually(t, "both attempts end", func() bool {
				if w.clock.waiting() > 0 {
					w.advance(10 * time.Minute) // the second waits for the circuit
				}
				return w.attemptsAt(ids) == len(ids)
			})
			for _, id := range ids {
				r := w.attempted(t, id, 1)
				if a := r.attempts[0]; a.Status != c.status || r.state == queue.Pending {
					t.Errorf("%s: %d %s", r.state, a.Status, a.Error)
				}
			}
			if err := w.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// beginHTTP2 takes a connection up to the headers of the first request.
func beginHTTP2(c net.Conn, settings ...http2.Setting) (*http2.Framer, uint32) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil {
		return nil, 0
	}
	framer := http2.NewFramer(c, c)
	if framer.WriteSettings(settings...) != nil {
		return nil, 0
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return nil, 0
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok {
			return framer, headers.StreamID
		}
	}
}

// frames answers each request of HTTP/2 with frames, again and again.
func frames(write func(*http2.Framer, uint32) error, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		framer, stream := beginHTTP2(c)
		if framer == nil {
			return
		}
		// The next request is to come on a connection of its own.
		if framer.WriteGoAway(stream, http2.ErrCodeNo, nil) != nil {
			return
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for write(framer, stream) == nil {
			time.Sleep(pause)
		}
	}
}

func writeStatus(f *http2.Framer, stream uint32, status int) error {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: fmt.Sprint(status)})
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
}

func bodyAfterStatus(text string) func(*http2.Framer, uint32) error {
	var begun sync.Map // by framer: connections are served beside each other
	return func(f *http2.Framer, stream uint32) error {
		if _, ok := begun.LoadOrStore(f, true); !ok {
			return writeStatus(f, stream, 200)
		}
		return f.WriteData(stream, false, []byte(text))
	}
}

// An exit leaves behind what does not end.
func TestStopLeavesBehind(t *testing.T) {
	w := newWorkbench(t)
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	w.running.Go(func() { <-held })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Stop(ctx); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("got %v", err)
	}
}

// What a target may have carried out is not repeated for ever: the attempts count,
// and retry_for runs, whatever became of the answer. Others go on.
func TestRetryForRunsOnceReached(t *testing.T) {
	answers := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			if readHead(c) {
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name   string
		do     func(net.Conn)
		secure bool
		reason string
	}{
		{"status line twice", answers("HTTP/1.0 200 OK\r\nHTTP/1.0 200 OK\r\n\r\nok"), false, `not valid HTTP (malformed MIME header: missing colon: "HTTP/1.0 200 OK")`},
		{"header without colon", answers(ok + "Content-Type text/plain\r\n\r\nok"), false, `not valid HTTP (malformed MIME header: missing colon: "Content-Type text/plain")`},
		{"bare text", answers("OK\r\n"), false, `not valid HTTP (malformed HTTP response "OK")`},
		{"ICY", answers("ICY 200 OK\r\n\r\nok"), false, `not valid HTTP (malformed HTTP version "ICY")`},
		{"length with a unit", answers(ok + "Content-Length: 2 bytes\r\n\r\nok"), false, `not valid HTTP (bad Content-Length "2 bytes")`},
		{"two lengths", answers(ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), false, "multiple Content-Length headers"},
		{"umlaut in a name", answers(ok + "X-Gerät: 1\r\n\r\nok"), false, "not valid HTTP (malformed MIME header line: \"X-Gerät: 1\")"},
		{"control characters", answers(ok + "X-\x1b[2J\xff: 1\r\n\r\nok"), false, `not valid HTTP (malformed MIME header line: "X-\x1b[2J\xff: 1")`},
		{"HTTP/2 in the status line", answers("HTTP/2 200 OK\r\n\r\nok"), false, "not valid HTTP ("},
		{"headers too large", answers(ok + "X: " + strings.Repeat("x", 70<<10) + "\r\n\r\nok"), false, "the headers of the target's answer are larger than 64 KiB, more than the relay reads; it may"},
		{"closes", answers(""), false, "the target closed the connection without an answer (EOF); it may have carried out the request (if it must not be asked twice, set retry_for off)"},
		{"resets", func(c net.Conn) {
			readHead(c)
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}, false, "the target closed the connection without an answer ("},
		{"breaks off in the headers", answers(ok + "X: "), false, "not valid HTTP (unexpected EOF); it may"},
		{"says nothing", func(c net.Conn) { readHead(c) }, false, "did not answer within the timeout of 100ms; it may have carried out the request (if it needs longer, raise timeout)"},
		{"answers in TLS", answers("\x15\x03\x01\x00\x02\x02\x0a"), false, "the target answered an http request in TLS"},
		{"closes, in TLS", answers(""), true, "the target closed the connection without an answer (EOF)"},
		{"bare text, in TLS", answers("OK\r\n"), true, `not valid HTTP (malformed HTTP response "OK")`},
		{"HTTP/2, goes away", func(c net.Conn) {
			if framer, stream := beginHTTP2(c); framer != nil {
				// Said first, so that no later attempt begins on this connection
				// before its end is noticed.
				_ = framer.WriteGoAway(stream, http2.ErrCodeNo, nil)
				_ = framer.WriteRSTStream(stream, http2.ErrCodeInternal)
				_ = c.Close()
			}
		}, true, "not valid HTTP (stream error: stream ID 1; INTERNAL_ERROR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			action := config.Action{URL: "http://", Timeout: config.Duration(10 * time.Second), RetryFor: config.Duration(time.Hour), RetryInterval: &config.RetryInterval{First: config.Duration(10 * time.Minute), Cap: config.Duration(10 * time.Minute)}}
			if c.name == "says nothing" {
				action.Timeout = config.Duration(100 * time.Millisecond)
			}
			var serve *tls.Config
			if c.secure {
				serve = selfSigned(t)
				action.URL, action.TLS = "https://", &config.TLS{InsecureSkipVerify: true}
				if strings.HasPrefix(c.name, "HTTP/2") {
					serve.NextProtos = []string{"h2"}
				}
			}
			action.URL += raw(t, serve, func(connection net.Conn) { asked.Add(1); c.do(connection) })
			w := newWorkbench(t)
			w.Use([]*Prepared{prepare(t, action)})
			id := w.queue.add("test", eventtest.With(nil), 1)[0]
			attempts := 1
			r := w.attempted(t, id, attempts)
			for r.state == queue.Pending {
				if attempts++; attempts > 8 {
					t.Fatalf("%d attempts, and no end: %s", attempts, r.attempts[0].Error)
				}
				w.advance(max(r.delivery.Due.Sub(w.clock.Now()), 0))
				r = w.attempted(t, id, attempts)
			}
			if r.state != queue.Failed || attempts < 6 || asked.Load() != int64(attempts) {
				t.Errorf("%s after %d attempts, asked %d times", r.state, attempts, asked.Load())
			}
			if first, last := r.attempts[0].Error, r.attempts[attempts-1].Error; !strings.Contains(first, c.reason) || !strings.HasSuffix(last, "; given up after 7 attempts, as retry_for says") {
				t.Errorf("reasons: %s\n%s", first, last)
			}
		})
	}
}

// With TLS 1.3 a server says only after the handshake that it wants another client
// certificate. It has not read the request.
func TestRefusedClientCertificateIsNotReached(t *testing.T) {
	served := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	server.StartTLS()
	defer server.Close()
	w := newWorkbench(t)
	w.Use([]*Prepared{prepare(t, config.Action{URL: server.URL, TLS: &config.TLS{InsecureSkipVerify: true}})})
	r := w.attempted(t, w.queue.add("test", eventtest.With(nil), 1)[0], 1)
	if reason := r.attempts[0].Error; served || !strings.HasPrefix(reason, "connecting to the target: ") || !strings.HasSuffix(reason, "retry_for stands still") {
		t.Errorf("got %s", reason)
	}
}
