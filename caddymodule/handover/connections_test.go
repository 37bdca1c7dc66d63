package handover

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// TestIdleConnectionMoves posts on one connection before and after a reload.
func TestIdleConnectionMoves(t *testing.T) {
	server := object{"listen": []string{processtest.FreeAddress(t)}}
	load(t, configure(1, server, nil))
	conn, err := net.Dial("tcp", server["listen"].([]string)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	post := raw(func() (net.Conn, error) { return conn, nil }, false)
	for generation := 1; generation < 4; generation++ {
		if answered, err := post(); err != nil || answered != generation {
			t.Fatalf("generation %d answered, not %d: %v", answered, generation, err)
		}
		load(t, configure(generation+1, server, nil))
	}
}

// TestConnectionTakesCertificateOfItsConfiguration begins the handshake of a
// connection of the old configuration after the reload.
func TestConnectionTakesCertificateOfItsConfiguration(t *testing.T) {
	address := processtest.FreeAddress(t)
	server := object{"listen": []string{address}, "tls_connection_policies": []object{{"default_sni": "site.example"}}}
	with := func(pem object) object {
		return object{"tls": object{"certificates": object{"load_pem": []object{pem}}}}
	}
	load(t, configure(1, server, with(certificate(t, "site.example"))))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	present := certificate(t, "site.example")
	load(t, configure(2, server, with(present)))
	encrypted := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "site.example"})
	if err := encrypted.HandshakeContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(present["certificate"].(string)))
	if shown := encrypted.ConnectionState().PeerCertificates[0]; !bytes.Equal(shown.Raw, block.Bytes) {
		t.Error("the certificate is the old configuration's")
	}
}

// TestHalfRequestIsAnswered reloads while half of a request has come. The old
// configuration answers it, says that the connection ends, and is gone after that;
// also if the new one listens elsewhere.
func TestHalfRequestIsAnswered(t *testing.T) {
	for _, test := range []struct{ name, before, after string }{
		{"same address", "127.0.0.1:0", "127.0.0.1:0"},
		{"other address", processtest.FreeAddress(t), processtest.FreeAddress(t)},
	} {
		t.Run(test.name, func(t *testing.T) {
			load(t, configure(1, object{"listen": []string{test.before}}, nil))
			conn, err := net.Dial("tcp", boundTo(t, test.before))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			half := "POST / HTTP/1.1\r\nHost: site.example\r\n"
			if _, err := io.WriteString(conn, half); err != nil {
				t.Fatal(err)
			}
			processtest.WaitFor(t, "half of a request to be read", func() bool { return phases(test.before)[reading] == 1 })
			old := only(t, test.before)
			loaded := make(chan error)
			go func() {
				loaded <- caddy.Load(configure(2, object{"listen": []string{test.after}}, nil), true)
			}()
			processtest.WaitFor(t, "the old configuration to be left", func() bool { return retired(old) })
			sender := &processtest.Sender{Dial: func() (net.Conn, error) { return rest{conn, half}, nil }}
			status, answer, err := sender.Post("site.example", "/", "{}")
			if err != nil || status != http.StatusOK || answer != "1" {
				t.Errorf("answered %d %s: %v", status, answer, err)
			}
			if err := <-loaded; err != nil {
				t.Error(err)
			}
			if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading after the last answer: %v", err)
			}
		})
	}
}

// rest leaves out of the first write what was sent before.
type rest struct {
	net.Conn
	sent string
}

func (r rest) Write(p []byte) (int, error) {
	text := string(p)
	_, after, found := strings.Cut(text, "Host: site.example\r\n")
	if !found {
		return 0, fmt.Errorf("writing %q", text)
	}
	if _, err := io.WriteString(r.Conn, after); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestClientAddressOverReloads has the client's address named by a proxy, on a
// connection that a reload moves and on one that it ends.
func TestClientAddressOverReloads(t *testing.T) {
	address := processtest.FreeAddress(t)
	routes := []object{{"handle": []object{{"handler": "handover_client"}}}}
	for _, test := range []struct {
		name          string
		server        object
		before, field string // what comes before the first request, and a field of each
	}{
		{"X-Forwarded-For", object{"trusted_proxies": object{"source": "static", "ranges": []string{"127.0.0.1/32"}}},
			"", "X-Forwarded-For: 203.0.113.7\r\n"},
		{"proxy protocol", object{"listener_wrappers": []object{{"wrapper": "proxy_protocol", "allow": []string{"127.0.0.1/32"}}, {"wrapper": "tls"}}},
			"PROXY TCP4 203.0.113.7 127.0.0.1 40000 80\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := object{"listen": []string{address}, "routes": routes}
			for name, value := range test.server {
				server[name] = value
			}
			var conn net.Conn
			defer func() {
				if conn != nil {
					conn.Close()
				}
			}()
			for generation := range 4 {
				load(t, configure(generation, server, nil))
				for range 2 {
					before := ""
					if conn == nil {
						var err error
						if conn, err = net.Dial("tcp", address); err != nil {
							t.Fatal(err)
						}
						before = test.before
					}
					if _, err := io.WriteString(conn, before+"GET / HTTP/1.1\r\nHost: site.example\r\n"+test.field+"\r\n"); err != nil {
						t.Fatal(err)
					}
					response, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						t.Fatal(err)
					}
					if answer, err := io.ReadAll(response.Body); err != nil || string(answer) != "203.0.113.7" {
						t.Errorf("generation %d took the client for %s: %v", generation, answer, err)
					}
				}
				if test.before != "" {
					// It cannot move: the wrapper hides what it has read.
					conn.Close()
					conn = nil
				}
			}
		})
	}
}
