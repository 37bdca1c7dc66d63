package send

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// requestTo returns a request without a body.
func requestTo(t testing.TB, address string) *Request {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &Request{Method: http.MethodPost, URL: to, Header: http.Header{}}
}

// newSender returns a Sender for the default targets.
func newSender(t testing.TB) *Sender {
	t.Helper()
	sender := NewSender(mustTargets(t), nil)
	t.Cleanup(sender.Close)
	return sender
}

// once sends a request on connections of its own.
func once(t testing.TB, request *Request) Result {
	t.Helper()
	return newSender(t).Current().Send(t.Context(), request, time.Minute)
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var asked []string
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.Redirect(w, r, "/login?next=s3cret", http.StatusFound)
	}))
	defer target.Close()
	if result := once(t, requestTo(t, target.URL+"/a")); result.Status != 302 || result.Location != "/login" {
		t.Errorf("got %+v", result)
	}
	if len(asked) != 1 {
		t.Errorf("asked for %q", asked)
	}
}

// Of an endless answer a bounded part is read, and of that a bounded part kept.
func TestHugeAnswer(t *testing.T) {
	written := make(chan int, 1)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		total := 0
		for block := bytes.Repeat([]byte("x"), 32<<10); total < 100<<20; {
			n, err := w.Write(block)
			total += n
			if err != nil {
				break
			}
		}
		written <- total
	}))
	defer target.Close()
	result := once(t, requestTo(t, target.URL))
	if result.Status != 200 || len(result.Response) > 2<<10 || !strings.HasPrefix(result.Response, "xxx") {
		t.Errorf("status %d, %d bytes, %v", result.Status, len(result.Response), result.Err)
	}
	// What was written and not read lies in the buffers of the connection.
	if total := <-written; total >= 100<<20 {
		t.Errorf("all %d bytes were taken", total)
	}
}

// A secret that an answer repeats is masked.
func TestAnswerIsMasked(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "bad token: "+r.Header.Get("X-Token")+"\xff")
	}))
	defer target.Close()
	request := requestTo(t, target.URL)
	request.Header.Set("X-Token", "s3cret")
	request.Masker = secret.New([]string{"s3cret"})
	result := once(t, request)
	if result.Status != 403 || result.Response != "bad token: ***\uFFFD" {
		t.Errorf("got %+v", result)
	}
}

// A connection that the target closed while it was idle costs no attempt.
func TestClosedIdleConnection(t *testing.T) {
	count := 0
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		count++
	}))
	defer target.Close()
	sender, request := newSender(t), requestTo(t, target.URL)
	request.Body = []byte("x")
	// Only a request with such a key is sent once more by net/http.
	request.Header["Idempotency-Key"] = []string{"1"}
	for range 20 {
		if result := sender.Current().Send(t.Context(), request, time.Minute); result.Status != 200 {
			t.Fatalf("%+v", result)
		}
		target.CloseClientConnections()
	}
	if count != 20 {
		t.Errorf("%d requests arrived", count)
	}
}

// Over TLS a target may speak HTTP/2; it gets the same bytes.
func TestHTTP2(t *testing.T) {
	got := make(chan string, 1)
	target := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Proto + " " + r.RequestURI + " " + r.Header.Get("Idempotency-Key") + " " + string(body)
	}))
	target.EnableHTTP2 = true
	target.StartTLS()
	defer target.Close()
	request := requestTo(t, target.URL)
	request.URL.Opaque, request.URL.RawQuery = "/a%2Fb^|", "a%2Fb"
	request.Header["Idempotency-Key"] = []string{"1"}
	request.Body = []byte(`"a/b"`)
	request.TLS = readTLS(t, config.TLS{Pins: []string{fmt.Sprintf("sha256:%x", sha256.Sum256(target.Certificate().Raw))}})
	if result := once(t, request); result.Status != 200 {
		t.Fatalf("%+v", result)
	}
	if text, want := <-got, `HTTP/2.0 /a%2Fb^|?a%2Fb 1 "a/b"`; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

// The status alone decides what an answer to HEAD means, and a body that a device
// sends all the same is not taken for the next answer.
func TestHead(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	statuses := []string{"200 OK", "404 Not Found", "503 Service Unavailable", "204 No Content"}
	go func() {
		for _, status := range statuses {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			request, err := http.ReadRequest(bufio.NewReader(connection))
			if err != nil || request.Method != http.MethodHead {
				status = "405 Method Not Allowed"
			}
			_, _ = io.WriteString(connection, "HTTP/1.1 "+status+"\r\nContent-Length: 20\r\n\r\nHTTP/1.1 500 Wrong\r\n\r\n")
			_ = connection.Close()
		}
	}()
	sender, request := newSender(t), requestTo(t, "http://"+listener.Addr().String()+"/health")
	request.Method = http.MethodHead
	for _, want := range statuses {
		result := sender.Current().Send(t.Context(), request, time.Minute)
		if got := fmt.Sprintf("%d %s", result.Status, http.StatusText(result.Status)); got != want || result.Err != nil || result.Response != "" {
			t.Errorf("got %+v, want %s", result, want)
		}
	}
}

// listen starts a target that is nothing but what is done with each connection, and
// returns its address.
func listen(t testing.TB, do func(net.Conn)) string {
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
			go do(connection)
		}
	}()
	return listener.Addr().String()
}

// net/http repeats by itself a request whose kept connection was closed. A target
// that acts and closes sees it twice at most in one attempt, however many
// connections are kept.
func TestKeptConnectionsDoNotMultiply(t *testing.T) {
	var requests atomic.Int64
	var closing atomic.Bool
	opened := make(chan struct{}, 100)
	release := make(chan struct{})
	address := listen(t, func(c net.Conn) {
		reader := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(reader); err != nil {
				return
			}
			requests.Add(1)
			if closing.Load() {
				_ = c.Close()
				return
			}
			opened <- struct{}{}
			<-release
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	sender, request := newSender(t), requestTo(t, "http://"+address)
	request.Method = http.MethodGet
	const kept = 10
	results := make(chan Result)
	for range kept {
		go func() { results <- sender.Current().Send(t.Context(), request, time.Minute) }()
	}
	for range kept {
		<-opened
	}
	close(release)
	for range kept {
		if result := <-results; result.Status != 200 {
			t.Fatalf("%+v", result)
		}
	}
	closing.Store(true)
	result := sender.Current().Send(t.Context(), request, time.Minute)
	if result.Err == nil || !result.Reached {
		t.Errorf("got %+v", result)
	}
	if n := requests.Load() - kept; n < 1 || n > 2 {
		t.Errorf("asked %d times", n)
	}
}
