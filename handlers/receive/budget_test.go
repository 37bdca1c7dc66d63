package receive_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// unprovenSources prove their requests in the head, by the body and by a
// signature. With bodies of 1 KiB, one client's share is at least 134,147 bytes,
// which is 32 requests of the least charge.
func unprovenSources() []config.Source {
	return []config.Source{
		{Name: "head", Auth: bearer("a"), MaxBody: 1 << 10},
		{Name: "body", MaxBody: 1 << 10, Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{"b"}}}},
		{Name: "signed", MaxBody: 1 << 10, Auth: []config.Credential{
			{Kind: auth.HMAC, Name: "X-Sig", Algorithm: "sha256", Values: []string{"k"}}}},
	}
}

const clientShare = 32 // requests

// TestUnprovenBytes lets requests stall, and checks how many of each client give
// way to others, that those which did not are served when their body comes, and
// that nothing stays counted.
func TestUnprovenBytes(t *testing.T) {
	single := func(address string) func(int) netip.Addr {
		return func(int) netip.Addr { return netip.MustParseAddr(address) }
	}
	type stalled struct {
		client  func(i int) netip.Addr
		count   int
		gaveWay int
	}
	for name, test := range map[string]struct {
		bytes int64
		all   []stalled
	}{
		"within its share": {1 << 20, []stalled{{single("192.0.2.1"), clientShare - 1, 0}}},
		"one client":       {1 << 20, []stalled{{single("192.0.2.1"), 100, 100 - clientShare + 1}, {single("192.0.2.2"), 10, 0}}},
		"mapped":           {1 << 20, []stalled{{single("::ffff:192.0.2.1"), 20, 40 - clientShare + 1}, {single("192.0.2.1"), 20, 0}}},
		"a /64": {1 << 20, []stalled{
			{func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)) }, 40, 40 - clientShare + 1},
			{single("2001:db8:0:1::1"), 10, 0}}},
		"unknown addresses": {1 << 20, []stalled{{func(int) netip.Addr { return netip.Addr{} }, 40, 40 - clientShare + 1}}},
		// 1 MiB is 256 requests. The honest one is the 257th.
		"many clients": {1 << 20, []stalled{
			{func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}) }, 255, 255 + 10 - 256 + 1},
			{single("192.0.2.2"), 10, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, receive.Options{UnprovenBytes: test.bytes}, unprovenSources()...)
			send := func(client netip.Addr, body io.Reader) error {
				request, from := post("", "application/json", ""), origin
				request.Body, request.ContentLength, from.Client = io.NopCloser(body), -1, client
				_, err := r.Receive(request, from)
				return err
			}
			for round := range 3 {
				var writers []*io.PipeWriter
				var results []chan error
				for _, s := range test.all {
					for i := range s.count {
						reader, writer := io.Pipe()
						result := make(chan error, 1)
						writers, results = append(writers, writer), append(results, result)
						go func() { result <- send(s.client(i), reader) }()
						// A write returns when it is read; that of nothing, when what was
						// read before has been counted and its arrival noted.
						for _, piece := range []string{`{"token":"b"`, `,`, ``} {
							if _, err := io.WriteString(writer, piece); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				// One that is honest comes in from the first address.
				if err := send(test.all[0].client(0), strings.NewReader(`{"token":"b"}`)); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				request := post("", "application/json", "{}")
				request.Header.Set("Authorization", "Bearer a")
				r.one(t, request)
				at, odd := 0, 0
				for i, s := range test.all {
					gone := 0
					for range s.count {
						if odd++; odd%2 == 0 {
							writers[at].Close() // broken JSON, but all that there is
						} else {
							fmt.Fprint(writers[at], `"n":1}`)
							writers[at].Close()
						}
						switch err := <-results[at]; {
						case status(err) == http.StatusServiceUnavailable:
							gone++
						case err != nil:
							t.Fatal(err)
						}
						at++
					}
					if gone != s.gaveWay {
						t.Errorf("round %d: %d of group %d gave way, want %d", round, gone, i, s.gaveWay)
					}
				}
			}
		})
	}
}

// TestLeastRate checks when the next bytes are due of a sender that has not
// proven itself, and that no limit is left once the body is there.
func TestLeastRate(t *testing.T) {
	r := newRelay(t, receive.Options{BodyTimeout: time.Hour}, config.Source{Name: "b", Auth: []config.Credential{
		{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{"b"}}}})
	limits := 0
	from := origin
	lifted := false
	from.SetReadDeadline = func(at time.Time) error {
		if lifted = at.IsZero(); !lifted {
			limits++
			if in := time.Until(at); in > 20*time.Minute || in <= 0 {
				t.Errorf("the next bytes are due in %v", in)
			}
		}
		return nil
	}
	request := post("", "application/json", "")
	request.Body, request.ContentLength = io.NopCloser(onebyone{strings.NewReader(`{"token":"b","pad":"` + strings.Repeat("x", 25<<10) + `"}`)}), -1
	if _, err := r.Receive(request, from); err != nil {
		t.Fatal(err)
	}
	if limits != 3 || !lifted {
		t.Errorf("%d limits were set, want one at the beginning and one after each 10 KiB; lifted: %v", limits, lifted)
	}
}

// TestStalledConnections opens 1,000 connections that stall, and checks that
// senders which prove themselves by the body or a signature over it are served.
func TestStalledConnections(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8 without setting it up")
	}
	const stalling = 1000
	for name, attacker := range map[string]func(i int) string{
		"one address":    func(int) string { return "127.0.0.1" },
		"many addresses": func(i int) string { return fmt.Sprintf("127.0.%d.%d", 1+i/200, 1+i%200) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, receive.Options{UnprovenBytes: 1 << 20}, unprovenSources()...)
			var reading, gaveWay atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				from := origin
				from.Client = netip.MustParseAddrPort(request.RemoteAddr).Addr()
				from.SetReadDeadline = http.NewResponseController(w).SetReadDeadline
				if request.Header.Get("X-Stalls") != "" {
					reading.Add(1)
				}
				_, err := r.Receive(request, from)
				if request.Header.Get("X-Stalls") != "" && status(err) == http.StatusServiceUnavailable {
					gaveWay.Add(1)
				}
				if code := status(err); code != 0 {
					w.WriteHeader(code)
				} else if err != nil && !errors.Is(err, receive.ErrSenderGone) {
					w.WriteHeader(http.StatusInternalServerError)
				}
			}))
			defer s.Close()
			dial := func(local string) net.Conn {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
				connection, err := dialer.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				return connection
			}
			for i := range stalling {
				connection := dial(attacker(i))
				defer connection.Close()
				fmt.Fprint(connection, "POST /listen.php HTTP/1.1\r\nHost: x\r\nX-Stalls: yes\r\nContent-Length: 1000\r\n\r\n{")
			}
			until(t, func() bool { return reading.Load() == stalling })
			for _, honest := range []string{"127.0.0.2", attacker(0)} {
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
					DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(honest), nil }}}
				for i := range 40 {
					body := `{"token":"b"}`
					if i%2 == 0 {
						body = `{"event":"x"}`
					}
					request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/listen.php", strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					if i%2 == 0 {
						request.Header.Set("X-Sig", hex.EncodeToString(mac(sha256.New, "k", body)))
					}
					response, err := client.Do(request)
					if err != nil {
						t.Fatal(err)
					}
					response.Body.Close()
					if response.StatusCode != http.StatusOK {
						t.Errorf("request %d from %s was answered %d", i, honest, response.StatusCode)
					}
				}
			}
			// Those that gave way are over: more than fit are not held.
			fit := int64(1<<20) / (4 << 10)
			if name == "one address" {
				fit = clientShare
			}
			until(t, func() bool { return gaveWay.Load() >= stalling-fit })
		})
	}
}

// until waits for a condition.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}
