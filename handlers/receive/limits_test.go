package receive_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// endless is a body without an end. It fails the test when more is read than a
// limit justifies.
type endless struct {
	t    *testing.T
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left -= len(p); e.left < 0 {
		e.t.Error("read on beyond the limit")
		return 0, io.EOF
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func (unread) Close() error { return nil }

func TestTooLarge(t *testing.T) {
	small := config.Source{Name: "small", Auth: bearer("small"), MaxBody: 100}
	large := config.Source{Name: "large", Auth: bearer("large"), MaxBody: 200}
	signed := config.Source{Name: "signed", MaxBody: 300, Auth: []config.Credential{
		{Kind: auth.HMAC, Name: "X-Sig", Algorithm: "sha256", Values: []string{"k"}}}}
	r := newRelay(t, receive.Options{}, small, large, signed)

	declared := func(length int64, token string) *http.Request {
		request := post("?event=x", "", "")
		request.Body, request.ContentLength = unread{t}, length
		request.Header.Set("Authorization", "Bearer "+token)
		return request
	}
	for name, request := range map[string]*http.Request{
		"beyond all":       declared(301, "wrong"), // also before any credential is looked at
		"beyond the large": declared(201, "large"),
		"beyond the small": declared(101, "small"),
		"most":             declared(1<<62, "small"),
	} {
		if _, err := r.Receive(request, origin); status(err) != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: got %v, want 413", name, err)
		}
	}
	for size, want := range map[int]int{100: 0, 101: 413} {
		request := post("?event=x", "", strings.Repeat("x", size))
		request.Header.Set("Authorization", "Bearer small")
		request.ContentLength = -1
		if _, err := r.Receive(request, origin); status(err) != want {
			t.Errorf("%d bytes chunked: got %v, want %d", size, err, want)
		}
	}
	// Of several sources that a request proves, one that takes the body gets it;
	// one that it does not prove is no help.
	for name, test := range map[string]struct {
		change func(*http.Request)
		source string
		status int
	}{
		"both":       {func(q *http.Request) { q.Header.Set("X-Key", "both") }, "large", 0},
		"not proven": {func(q *http.Request) { q.Header.Set("Authorization", "Bearer small"); q.Header.Set("X-Sig", "00") }, "", 413},
	} {
		both := config.Credential{Kind: auth.APIKey, In: auth.InHeader, Name: "X-Key", Values: []string{"both"}}
		small, large := small, large
		small.Auth, large.Auth = append(bearer("small"), both), append(bearer("large"), both)
		request := post("?event=x", "", strings.Repeat("x", 150))
		test.change(request)
		received, err := newRelay(t, receive.Options{}, small, large, signed).Receive(request, origin)
		if status(err) != test.status || err == nil && received.Source != test.source {
			t.Errorf("%s: got %+v, %v", name, received, err)
		}
	}
	request := post("?event=x", "", "")
	request.Body, request.ContentLength = io.NopCloser(&endless{t, 1000}), -1
	request.Header.Set("X-Sig", "00")
	if _, err := r.Receive(request, origin); status(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("endless: got %v, want 413", err)
	}
	request = post("?event=x", "", "")
	request.Body = http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(&endless{t, 1000}), 50)
	request.ContentLength = -1
	request.Header.Set("Authorization", "Bearer small")
	if _, err := r.Receive(request, origin); status(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("limited by what stands in front: got %v, want 413", err)
	}
}

// TestLargestBody checks that a body of exactly the limit is kept whole, however
// it arrives.
func TestLargestBody(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, size := range []int{1, 4095, 4096, 64 << 10, 64<<10 + 1, 700_000, 1 << 20} {
		for _, length := range []int64{int64(size), -1} {
			body := strings.Repeat("x", size)
			request := post("?event=x", "text/plain", body)
			request.Body, request.ContentLength = io.NopCloser(onebyone{strings.NewReader(body)}), length
			if e := r.one(t, request); string(e.RawBody) != body {
				t.Errorf("of %d bytes %d are left", size, len(e.RawBody))
			}
		}
	}
}

// onebyone gives at most 1000 bytes at once.
type onebyone struct{ r io.Reader }

func (o onebyone) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1000)]) }

// TestRefusedUnread checks what is refused without reading the body.
func TestRefusedUnread(t *testing.T) {
	r := newRelay(t, receive.Options{},
		config.Source{Name: "a", Auth: bearer("a"), Allow: []string{"203.0.113.0/24"}},
		config.Source{Name: "b", Allow: []string{"203.0.113.0/24"}, Auth: []config.Credential{
			{Kind: auth.HMAC, Name: "X-Sig", Algorithm: "sha256", Timestamp: "X-Time", Values: []string{"k"}},
			{Kind: auth.StandardWebhooks, Values: []string{"whsec_a2V5"}}}})
	for name, test := range map[string]struct {
		change func(*http.Request, *receive.Origin)
		status int
	}{
		"method":        {func(q *http.Request, _ *receive.Origin) { q.Method = "OPTIONS" }, 405},
		"address":       {func(_ *http.Request, from *receive.Origin) { from.Client = netip.MustParseAddr("192.0.2.1") }, 403},
		"no credential": {func(*http.Request, *receive.Origin) {}, 401},
		"wrong token":   {func(q *http.Request, _ *receive.Origin) { q.Header.Set("Authorization", "Bearer b") }, 401},
		"stale time": {func(q *http.Request, _ *receive.Origin) {
			q.Header.Set("X-Sig", "00")
			q.Header.Set("X-Time", "1")
		}, 401},
		"stale standard": {func(q *http.Request, _ *receive.Origin) {
			signStandard(q, "key", "msg", now.Add(-time.Hour), "")
		}, 401},
	} {
		request, from := post("?event=x", "", ""), origin
		request.Body, request.ContentLength = unread{t}, 10
		test.change(request, &from)
		if _, err := r.Receive(request, from); status(err) != test.status {
			t.Errorf("%s: got %v, want %d", name, err, test.status)
		}
	}
}

// server runs a receiver behind a real server, and returns what its requests
// came to.
func server(t *testing.T, r relay) (*httptest.Server, <-chan error) {
	outcomes := make(chan error, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		from := origin
		from.SetReadDeadline = http.NewResponseController(w).SetReadDeadline
		_, err := r.Receive(request, from)
		if status := status(err); status != 0 {
			w.WriteHeader(status)
		}
		outcomes <- err
	}))
	t.Cleanup(s.Close)
	return s, outcomes
}

// TestSlowBody checks that a body that does not come is answered 408 and ends
// the connection, also after a request that was in time.
func TestSlowBody(t *testing.T) {
	r := newRelay(t, receive.Options{BodyTimeout: 20 * time.Millisecond}, open(config.Source{}))
	s, outcomes := server(t, r)
	connection, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprint(connection, "POST /listen.php?event=x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
	if err := <-outcomes; err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(connection, "POST /listen.php?event=x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	if err := <-outcomes; status(err) != http.StatusRequestTimeout {
		t.Fatalf("got %v, want 408", err)
	}
	answers, err := io.ReadAll(connection) // until the server closes
	if err != nil || !strings.Contains(string(answers), "HTTP/1.1 200") || !strings.Contains(string(answers), "HTTP/1.1 408") {
		t.Errorf("answered %q, %v", answers, err)
	}
}

// TestSenderGone checks that a sender which hangs up is told apart.
func TestSenderGone(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	s, outcomes := server(t, r)
	connection, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(connection, "POST /listen.php?event=x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	connection.Close()
	if err := <-outcomes; !errors.Is(err, receive.ErrSenderGone) || status(err) != 0 {
		t.Errorf("got %v, want %v", err, receive.ErrSenderGone)
	}
}

// TestBrokenFraming checks that garbage for chunks is refused.
func TestBrokenFraming(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	s, outcomes := server(t, r)
	connection, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprint(connection, "POST /listen.php?event=x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
	if err := <-outcomes; status(err) != http.StatusBadRequest {
		t.Errorf("got %v, want 400", err)
	}
}

// TestDeadlines checks that the time limit is lifted once the body is there, or
// it would end the request while its event is being stored; and that it stays
// where reading failed, so that it also bounds what the server reads of the rest.
func TestDeadlines(t *testing.T) {
	r := newRelay(t, receive.Options{BodyTimeout: time.Minute}, open(config.Source{}))
	for name, test := range map[string]struct {
		protocol int
		body     io.Reader
		want     []bool // is there a limit?
	}{
		"read":           {2, strings.NewReader("{}"), []bool{true, false}},
		"failed":         {2, failing{}, []bool{true}},
		"read, HTTP/1":   {1, strings.NewReader("{}"), []bool{true}}, // net/http lifts it: TestDeadlineIsLifted
		"failed, HTTP/1": {1, failing{}, []bool{true}},
	} {
		var limits []bool
		from := origin
		from.SetReadDeadline = func(at time.Time) error {
			limits = append(limits, !at.IsZero())
			if in := time.Until(at); !at.IsZero() && (in > time.Minute || in <= 0) {
				t.Errorf("%s: the limit is in %v", name, in)
			}
			return nil
		}
		request := post("?event=x", "", "")
		request.ProtoMajor = test.protocol
		request.Body, request.ContentLength = io.NopCloser(test.body), -1
		_, _ = r.Receive(request, from)
		if !slices.Equal(limits, test.want) {
			t.Errorf("%s: limits %v, want %v", name, limits, test.want)
		}
	}
}

// TestDeadlineIsLifted checks with a real server that a body's time limit does not end
// a request that is being stored.
func TestDeadlineIsLifted(t *testing.T) {
	const limit = time.Second
	r := newRelay(t, receive.Options{BodyTimeout: limit}, open(config.Source{}))
	for name, second := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				from := origin
				from.SetReadDeadline = http.NewResponseController(w).SetReadDeadline
				if _, err := r.Receive(request, from); err != nil {
					ended <- err
					return
				}
				select {
				case <-request.Context().Done():
				case <-time.After(limit + limit/2):
				}
				ended <- request.Context().Err()
			}))
			s.EnableHTTP2 = second
			s.StartTLS()
			defer s.Close()
			for range 2 { // the second on the same connection
				response, err := s.Client().Post(s.URL+"/listen.php?event=x", "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if second != (response.ProtoMajor == 2) {
					t.Errorf("the protocol is %s", response.Proto)
				}
				if err := <-ended; err != nil {
					t.Errorf("the request ended while its event was being stored: %v", err)
				}
			}
		})
	}
}

// TestDeadlineUnsupported checks that a writer without deadlines is no reason to
// refuse.
func TestDeadlineUnsupported(t *testing.T) {
	from := origin
	from.SetReadDeadline = http.NewResponseController(httptest.NewRecorder()).SetReadDeadline
	if _, err := newRelay(t, receive.Options{}, open(config.Source{})).Receive(post("?event=x", "", "{}"), from); err != nil {
		t.Error(err)
	}
}

// TestCancelled checks that a request whose context has ended does not wait.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	request := post("", "", "").WithContext(ctx)
	request.Body, request.ContentLength = io.NopCloser(failing{}), -1
	if _, err := newRelay(t, receive.Options{}, open(config.Source{})).Receive(request, origin); !errors.Is(err, receive.ErrSenderGone) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("stream was reset") }

// TestBatchLimit checks the bound on events in one request.
func TestBatchLimit(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{Batch: "body.list"}))
	for n, want := range map[int]int{10_000: 0, 10_001: http.StatusRequestEntityTooLarge} {
		list := "[1" + strings.Repeat(",1", n-1) + "]"
		for _, body := range []string{list, `{"list":` + list + `}`} {
			received, err := r.Receive(post("", "application/json", body), origin)
			if status(err) != want || err == nil && len(received.Events) != n {
				t.Errorf("%d: got %v", n, err)
			}
		}
	}
}
