package handover

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/proxyprotocol"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// site is a handler that keeps its server's connections and answers with the
// generation of its configuration.
type site struct {
	Generation int `json:"generation"`
}

func (*site) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.handover_site", New: func() caddy.Module { return new(site) }}
}

func (*site) Provision(ctx caddy.Context) error { return Keep(ctx) }

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	_, err := io.WriteString(w, strconv.Itoa(s.Generation))
	return err
}

// client is a handler that answers with the address of the client.
type client struct{}

func (*client) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.handover_client", New: func() caddy.Module { return new(client) }}
}

func (*client) Provision(ctx caddy.Context) error { return Keep(ctx) }

func (*client) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	_, err := fmt.Fprint(w, caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey))
	return err
}

// failing is an app that cannot start.
type failing struct{}

func (*failing) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "handover_failing", New: func() caddy.Module { return new(failing) }}
}

func (*failing) Start() error { return errors.New("failing as it is told") }
func (*failing) Stop() error  { return nil }

// hiding is a listener wrapper whose connections tell nothing of those inside.
type hiding struct{ net.Listener }

func (*hiding) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.handover_hiding", New: func() caddy.Module { return new(hiding) }}
}

func (*hiding) WrapListener(l net.Listener) net.Listener { return &hiding{l} }

func (h *hiding) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

func init() {
	caddy.RegisterModule(new(site))
	caddy.RegisterModule(new(client))
	caddy.RegisterModule(new(failing))
	caddy.RegisterModule(new(hiding))
}

// given holds descriptors that Caddy was given, and keeps for good.
var given []*os.File

type object = map[string]any

// certificate returns a certificate for a name, and its key, both as PEM.
func certificate(t *testing.T, name string) object {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return object{
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"key":         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// configure returns a configuration with one kept server.
func configure(generation int, server, apps object) []byte {
	all := object{
		"listen":          []string{"127.0.0.1:0"},
		"automatic_https": object{"disable": true},
		"protocols":       []string{"h1", "h2"},
		"routes":          []object{{"handle": []object{{"handler": "handover_site", "generation": generation}}}},
	}
	for name, value := range server {
		all[name] = value
	}
	http := object{"servers": object{"site": all}}
	config := object{"http": http}
	for name, value := range apps {
		if name == "http" {
			for name, value := range value.(object) {
				http[name] = value
			}
			continue
		}
		config[name] = value
	}
	text, err := json.Marshal(object{"admin": object{"disabled": true, "config": object{"persist": false}}, "apps": config,
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}}})
	if err != nil {
		panic(err)
	}
	return text
}

func load(t *testing.T, config []byte) {
	t.Helper()
	if !supported {
		t.Skip("connections are not kept on " + runtime.GOOS)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
}

func dialer(network, address string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.Dial(network, address) }
}

func tlsDialer(address string) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		return tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "site.example"})
	}
}

// poster posts and returns the generation that answered.
type poster func() (int, error)

func raw(dial func() (net.Conn, error), fresh bool) poster {
	sender := &processtest.Sender{Dial: dial, Fresh: fresh}
	return func() (int, error) {
		status, answer, err := sender.Post("site.example", "/", "{}")
		if err != nil || status != http.StatusOK {
			return 0, fmt.Errorf("answered %d %s: %w", status, answer, err)
		}
		return strconv.Atoi(answer)
	}
}

// http2Client posts over HTTP/2, with bodies that cannot be sent again.
func http2Client(scheme, address string) poster {
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "site.example"}}
	transport.Protocols.SetHTTP2(scheme == "https")
	transport.Protocols.SetUnencryptedHTTP2(scheme == "http")
	client := &http.Client{Transport: transport, Timeout: processtest.Patience}
	return func() (int, error) {
		response, err := client.Post(scheme+"://"+address, "application/json", io.MultiReader(strings.NewReader("{}")))
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil || response.ProtoMajor != 2 {
			return 0, fmt.Errorf("answered %s %s %s: %w", response.Proto, response.Status, answer, err)
		}
		return strconv.Atoi(string(answer))
	}
}

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

// only returns the listener of the single configuration on an address.
func only(t *testing.T, address string) *listener {
	t.Helper()
	sockets.Lock()
	defer sockets.Unlock()
	s := sockets.open["tcp/"+address]
	if s == nil || len(s.listeners) != 1 {
		t.Fatalf("there is not one listener on %s", address)
	}
	return s.listeners[0]
}

func boundTo(t *testing.T, address string) string { return only(t, address).Addr().String() }

func retired(l *listener) bool {
	for _, s := range l.configuration.servers {
		if !s.retired.Load() {
			return false
		}
	}
	return true
}

// phases counts the connections of an address by their phase.
func phases(address string) map[phase]int {
	counts := make(map[phase]int)
	sockets.Lock()
	defer sockets.Unlock()
	s := sockets.open["tcp/"+address]
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, l := range s.listeners {
		for c := range l.conns {
			c.mutex.Lock()
			counts[c.phase]++
			c.mutex.Unlock()
		}
	}
	return counts
}

// TestShutdownDelayIsForAddressesThatEnd reloads with a delay that no test waits
// for, once while the address goes on.
func TestShutdownDelayIsForAddressesThatEnd(t *testing.T) {
	delayed := object{"http": object{"shutdown_delay": "10m"}}
	server := object{"listen": []string{processtest.FreeAddress(t)}}
	load(t, configure(1, server, delayed))
	loaded := make(chan error, 1)
	go func() { loaded <- caddy.Load(configure(2, server, nil), true) }()
	select {
	case err := <-loaded:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(processtest.Patience):
		t.Fatal("the reload waits for shutdown_delay")
	}
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

// TestRedirectsNextToKeptServer has Caddy redirect from http to https for a kept
// server, by a server of its own and by a kept one that has the port already.
func TestRedirectsNextToKeptServer(t *testing.T) {
	plain, secure := processtest.FreeAddress(t), processtest.FreeAddress(t)
	port := func(address string) int {
		_, text, _ := net.SplitHostPort(address)
		number, _ := strconv.Atoi(text)
		return number
	}
	match := func(host string) []object {
		return []object{{"match": []object{{"host": []string{host}}}, "handle": []object{{"handler": "handover_site", "generation": 1}}}}
	}
	other := object{"listen": []string{plain}, "routes": match("other.example")}
	for _, test := range []struct {
		name  string
		other object
	}{{"its own server", nil}, {"kept server on the port", other}} {
		t.Run(test.name, func(t *testing.T) {
			apps := object{
				"http": object{"http_port": port(plain), "https_port": port(secure)},
				"tls":  object{"certificates": object{"load_pem": []object{certificate(t, "site.example")}}},
			}
			server := object{"listen": []string{secure}, "routes": match("site.example"), "automatic_https": object{}}
			for generation := range 3 {
				config := configure(generation, server, apps)
				if test.other != nil {
					var parsed object
					if err := json.Unmarshal(config, &parsed); err != nil {
						t.Fatal(err)
					}
					parsed["apps"].(object)["http"].(object)["servers"].(object)["other"] = test.other
					config, _ = json.Marshal(parsed)
				}
				load(t, config)
				if _, err := raw(tlsDialer(secure), true)(); err != nil {
					t.Errorf("generation %d, with TLS: %v", generation, err)
				}
				sender := &processtest.Sender{Dial: dialer("tcp", plain), Fresh: true}
				if status, _, err := sender.Post("site.example", "/", ""); err != nil || status != http.StatusPermanentRedirect {
					t.Errorf("generation %d: the redirect was answered %d: %v", generation, status, err)
				}
				if test.other == nil {
					continue
				}
				if status, answer, err := sender.Post("other.example", "/", ""); err != nil || status != http.StatusOK || answer != "1" {
					t.Errorf("generation %d: the other site answered %d %s: %v", generation, status, answer, err)
				}
			}
		})
	}
}

// TestAddressOfTwoServersIsRefused has Caddy's own check of addresses, which
// cannot see that a kept server has the same one as another.
func TestAddressOfTwoServersIsRefused(t *testing.T) {
	address := processtest.FreeAddress(t)
	other := object{"listen": []string{address}, "automatic_https": object{"disable": true}}
	config := configure(1, object{"listen": []string{address}}, nil)
	var parsed object
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	parsed["apps"].(object)["http"].(object)["servers"].(object)["other"] = other
	config, _ = json.Marshal(parsed)
	err := caddy.Load(config, true)
	t.Cleanup(func() { _ = caddy.Stop() })
	if supported && (err == nil || !strings.Contains(err.Error(), "listener address repeated")) {
		t.Errorf("two servers on one address: %v", err)
	}
}

// TestNothingIsLeftBehind counts goroutines and descriptors over reloads and
// addresses that come and go.
func TestNothingIsLeftBehind(t *testing.T) {
	before, files := 0, 0
	for generation := range 30 {
		server := object{"listen": []string{processtest.FreeAddress(t)}}
		load(t, configure(generation, server, nil))
		if generation == 5 {
			before, files = runtime.NumGoroutine(), openFiles(t)
		}
	}
	processtest.WaitFor(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	processtest.WaitFor(t, "sockets to be closed", func() bool { return openFiles(t) <= files })
	sockets.Lock()
	defer sockets.Unlock()
	if len(sockets.open) != 1 {
		t.Errorf("%d sockets are open", len(sockets.open))
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
