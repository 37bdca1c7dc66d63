package handover

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// TestReloadsCutNothingOff reloads again and again, every third time with a
// configuration that fails, while clients post that never repeat a request.
func TestReloadsCutNothingOff(t *testing.T) {
	tcp, second := processtest.FreeAddress(t), processtest.FreeAddress(t)
	unix := filepath.Join(t.TempDir(), "site.sock")
	inherited, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	file, err := inherited.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	given = append(given, file)
	held := strconv.Itoa(int(file.Fd()))
	host, port, _ := net.SplitHostPort(tcp)
	number, _ := strconv.Atoi(port)
	withTLS := object{"tls_connection_policies": []object{{}}}
	proxied := func() (net.Conn, error) {
		c, err := net.Dial("tcp", tcp)
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 203.0.113.7 127.0.0.1 40000 80\r\n")
		}
		return c, err
	}
	for _, test := range []struct {
		name   string
		listen []string
		server object
		post   func() poster
	}{
		{"new connections", nil, nil, func() poster { return raw(dialer("tcp", tcp), true) }},
		{"kept connections", nil, nil, func() poster { return raw(dialer("tcp", tcp), false) }},
		{"only HTTP/1", nil, object{"protocols": []string{"h1"}}, func() poster { return raw(dialer("tcp", tcp), false) }},
		{"two addresses", []string{second, "tcp4/" + tcp}, nil, func() poster { return raw(dialer("tcp", tcp), false) }},
		{"a range of ports", []string{fmt.Sprintf("%s:%d-%d", host, number, number+1)}, nil, func() poster {
			return raw(dialer("tcp", net.JoinHostPort(host, strconv.Itoa(number+1))), false)
		}},
		{"Unix socket", []string{"unix/" + unix + "|0660"}, nil, func() poster { return raw(dialer("unix", unix), false) }},
		{"Unix socket, new connections", []string{"unix/" + unix}, nil, func() poster { return raw(dialer("unix", unix), true) }},
		{"TLS on a Unix socket", []string{"unix/" + unix}, object{"protocols": []string{"h1", "h2", "h3"}, "tls_connection_policies": []object{{}}}, func() poster {
			return raw(func() (net.Conn, error) {
				c, err := net.Dial("unix", unix)
				if err != nil {
					return nil, err
				}
				return tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "site.example"}), nil
			}, false)
		}},
		{"inherited socket", []string{"fd/" + held}, nil, func() poster { return raw(dialer("tcp", inherited.Addr().String()), true) }},
		{"TLS, new connections", nil, withTLS, func() poster { return raw(tlsDialer(tcp), true) }},
		{"TLS, kept connections", nil, withTLS, func() poster { return raw(tlsDialer(tcp), false) }},
		{"HTTP/3 beside it", nil, object{"protocols": []string{"h1", "h2", "h3"}, "tls_connection_policies": []object{{}}}, func() poster { return raw(tlsDialer(tcp), false) }},
		{"HTTP/2", nil, withTLS, func() poster { return http2Client("https", tcp) }},
		{"HTTP/2 without TLS", nil, object{"protocols": []string{"h1", "h2c"}}, func() poster { return http2Client("http", tcp) }},
		{"proxy protocol", nil, object{"listener_wrappers": []object{{"wrapper": "proxy_protocol"}, {"wrapper": "tls"}}}, func() poster { return raw(proxied, false) }},
		{"proxy protocol, new connections", nil, object{"listener_wrappers": []object{{"wrapper": "proxy_protocol"}, {"wrapper": "tls"}}}, func() poster { return raw(proxied, true) }},
		{"wrapper that hides connections", nil, object{"listener_wrappers": []object{{"wrapper": "handover_hiding"}}}, func() poster { return raw(dialer("tcp", tcp), false) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := object{"listen": []string{tcp}}
			if test.listen != nil {
				server["listen"] = test.listen
			}
			for name, value := range test.server {
				server[name] = value
			}
			apps := object{"tls": object{"certificates": object{"load_pem": []object{certificate(t, "site.example")}}}}
			load(t, configure(1, server, apps))
			stop, posters := make(chan struct{}), new(sync.WaitGroup)
			for range 4 {
				post := test.post()
				posters.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(2 * time.Millisecond):
						}
						if _, err := post(); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			last := 1
			for generation := 2; generation <= 7; generation++ {
				if generation%3 == 0 {
					broken := object{"handover_failing": object{}}
					for name, value := range apps {
						broken[name] = value
					}
					if err := caddy.Load(configure(generation, server, broken), true); err == nil {
						t.Fatal("an app that fails started")
					}
					continue
				}
				if err := caddy.Load(configure(generation, server, apps), true); err != nil {
					t.Fatal(err)
				}
				last = generation
			}
			close(stop)
			posters.Wait()
			if answered, err := test.post()(); err != nil || answered != last {
				t.Errorf("generation %d answered, not %d: %v", answered, last, err)
			}
		})
	}
}
