package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// What the answers of a target mean.
func TestAnswers(t *testing.T) {
	answer := func(status int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
		}
	}
	hijack := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			connection, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(connection, text)
			_ = connection.(*net.TCPConn).SetLinger(0)
			_ = connection.Close()
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	cases := []struct {
		name    string
		handler http.HandlerFunc
		success []string
		state   queue.State
		reason  string
		// pause bounds the time to the next attempt.
		pause [2]time.Duration
	}{
		{"200", answer(200), nil, queue.Delivered, "", [2]time.Duration{}},
		{"204", answer(204), nil, queue.Delivered, "", [2]time.Duration{}},
		{"409 as success", answer(409), []string{"2xx", "409"}, queue.Delivered, "", [2]time.Duration{}},
		{"only 202", answer(200), []string{"202"}, queue.Failed, "the target answered 200 OK", [2]time.Duration{}},
		{"400", answer(400), nil, queue.Failed, "the target answered 400 Bad Request", [2]time.Duration{}},
		{"404", answer(404), nil, queue.Failed, "the target answered 404 Not Found", [2]time.Duration{}},
		{"302", answer(302, "Location", "http://u:p@elsewhere/login?next=x#y"), nil, queue.Failed, "the target answered 302 Found, which points to http://elsewhere/login; redirects are not followed", [2]time.Duration{}},
		{"304", answer(304), nil, queue.Failed, "the target answered 304 Not Modified", [2]time.Duration{}},
		{"408", answer(408), nil, queue.Pending, "the target answered 408 Request Timeout", [2]time.Duration{1e9, 2e9}},
		{"425", answer(425), nil, queue.Pending, "the target answered 425 Too Early", [2]time.Duration{1e9, 2e9}},
		{"429", answer(429, "Retry-After", "120"), nil, queue.Pending, "the target answered 429 Too Many Requests", [2]time.Duration{120e9, 120e9}},
		{"500", answer(500), nil, queue.Pending, "the target answered 500 Internal Server Error", [2]time.Duration{1e9, 2e9}},
		{"503, date", answer(503, "Date", "Wed, 02 Jan 2030 03:04:05 GMT", "Retry-After", "Wed, 02 Jan 2030 03:05:05 GMT"), nil, queue.Pending, "the target answered 503 Service Unavailable", [2]time.Duration{60e9, 60e9}},
		{"503, past", answer(503, "Retry-After", "Wed, 02 Jan 2019 03:05:05 GMT"), nil, queue.Pending, "503", [2]time.Duration{1e9, 2e9}},
		{"503, junk", answer(503, "Retry-After", "soon"), nil, queue.Pending, "503", [2]time.Duration{1e9, 2e9}},
		{"503, for ever", answer(503, "Retry-After", "99999999999999999999"), nil, queue.Pending, "503", [2]time.Duration{3600e9, 3600e9}},
		{"599", answer(599), nil, queue.Pending, "the target answered 599", [2]time.Duration{1e9, 2e9}},
		{"reset", hijack(""), nil, queue.Pending, "the target closed the connection without an answer (", [2]time.Duration{1e9, 2e9}},
		{"no HTTP", hijack("SSH-2.0-OpenSSH\r\n"), nil, queue.Pending, `the target's answer is not valid HTTP (malformed HTTP response "SSH-2.0-OpenSSH"); it may have carried out the request (if it must not be asked twice, set retry_for off)`, [2]time.Duration{1e9, 2e9}},
		{"header without end", hijack("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), nil, queue.Pending, "the headers of the target's answer are larger than 64 KiB, more than the relay reads; it may have carried out the request", [2]time.Duration{1e9, 2e9}},
		{"body breaks off", hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), nil, queue.Delivered, "", [2]time.Duration{}},
		{"hangs", hang, nil, queue.Pending, "the target was reached and did not answer within the timeout of 50ms; it may have carried out the request (if it needs longer, raise timeout)", [2]time.Duration{1e9, 2e9}},
		{"header drips", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			<-r.Context().Done()
		}, nil, queue.Pending, "the target began to answer and did not get to the end of the headers within the timeout of 50ms; it may have carried out the request (if it needs longer, raise timeout)", [2]time.Duration{1e9, 2e9}},
		{"body drips", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, nil, queue.Delivered, "", [2]time.Duration{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorkbench(t)
			timeout := time.Minute
			switch {
			case strings.Contains(c.reason, "50ms"):
				timeout = 50 * time.Millisecond
			case c.name == "body drips":
				timeout = time.Second // time enough for the head
			}
			w.Use([]*Prepared{prepare(t, config.Action{URL: serve(t, c.handler), Success: c.success, Timeout: config.Duration(timeout)})})
			id := w.queue.add("test", eventtest.With(nil), 1)[0]
			r := w.attempted(t, id, 1)
			if r.state != c.state || !strings.HasPrefix(r.attempts[0].Error, c.reason) && !strings.Contains(r.attempts[0].Error, c.reason) || c.reason == "" && r.attempts[0].Error != "" {
				t.Fatalf("got %s: %s", r.state, r.attempts[0].Error)
			}
			if c.state == queue.Pending {
				pause := r.delivery.Due.Sub(w.clock.Now())
				if pause < c.pause[0] || pause > c.pause[1] {
					t.Errorf("next attempt after %s", pause)
				}
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	for name, url := range map[string]string{
		"connection refused": "http://" + listener.Addr().String(),
		"tls: first record does not look like a TLS handshake":     strings.Replace(plain, "http:", "https:", 1),
		"tls: failed to verify certificate: x509: certificate sig": secure(t),
	} {
		w := newWorkbench(t)
		w.Use([]*Prepared{prepare(t, config.Action{URL: url})})
		r := w.attempted(t, w.queue.add("test", eventtest.With(nil), 1)[0], 1)
		if r.state != queue.Pending || !strings.Contains(r.attempts[0].Error, name) {
			t.Errorf("%s: %s: %s", name, r.state, r.attempts[0].Error)
		}
	}
}

// secure starts a target whose certificate nobody knows.
func secure(t testing.TB) string {
	target := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	target.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	target.StartTLS()
	t.Cleanup(target.Close)
	return target.URL
}

// A delivery is tried again until it is delivered, with the same key.
func TestRetriesUntilDelivered(t *testing.T) {
	w := newWorkbench(t)
	var mu sync.Mutex
	var keys []string
	url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if keys = append(keys, r.Header.Get("Idempotency-Key")); len(keys) < 5 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w.Use([]*Prepared{prepare(t, config.Action{URL: url})})
	id := w.queue.add("test", eventtest.With(nil), 1)[0]
	for n := 1; n < 5; n++ {
		r := w.attempted(t, id, n)
		w.clock.advance(r.delivery.Due.Sub(w.clock.Now()))
		w.queue.poke()
	}
	w.settledAs(t, id, queue.Delivered)
	if len(keys) != 5 || slices.ContainsFunc(keys, func(k string) bool { return k != id }) {
		t.Errorf("keys are %q", keys)
	}
}

// After retry_for a delivery fails for good, and the last attempt comes not
// later than that.
func TestGivesUp(t *testing.T) {
	w := newWorkbench(t)
	url := serve(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.Use([]*Prepared{prepare(t, config.Action{URL: url, RetryFor: config.Duration(time.Minute)})})
	id := w.queue.add("test", eventtest.With(map[string]any{"secret": "payload"}), 1)[0]
	begin := w.clock.Now()
	r := w.attempted(t, id, 1)
	for n := 2; r.state == queue.Pending; n++ {
		if due := r.delivery.Due; due.After(begin.Add(time.Minute)) || !due.After(w.clock.Now()) {
			t.Fatalf("attempt %d is due %s after the first", n, due.Sub(begin))
		}
		w.clock.advance(r.delivery.Due.Sub(w.clock.Now()))
		w.queue.poke()
		r = w.attempted(t, id, n)
	}
	last := r.attempts[len(r.attempts)-1]
	if r.state != queue.Failed || len(r.attempts) < 4 || last.Error != fmt.Sprintf("the target answered 500 Internal Server Error; given up after %d attempts, as retry_for says", len(r.attempts)) {
		t.Errorf("%s after %d attempts: %s", r.state, len(r.attempts), last.Error)
	}
	if last.Began.Sub(begin) < 58*time.Second {
		t.Errorf("the last attempt was %s after the first", last.Began.Sub(begin))
	}
	if err := w.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(w.log.String(), "\n"); lines != 1 || !strings.Contains(w.log.String(), `"msg":"delivery failed"`) || strings.Contains(w.log.String(), "payload") {
		t.Errorf("log: %s", w.log)
	}
}

func TestRetryOff(t *testing.T) {
	w := newWorkbench(t)
	url := serve(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.Use([]*Prepared{prepare(t, config.Action{URL: url, RetryFor: -1})})
	r := w.settledAs(t, w.queue.add("test", eventtest.With(nil), 1)[0], queue.Failed)
	if r.attempts[0].Error != "the target answered 500 Internal Server Error; retry_for is off" {
		t.Error(r.attempts[0].Error)
	}
}
