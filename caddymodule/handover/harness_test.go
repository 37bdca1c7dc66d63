package handover

import (
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
	"runtime"
	"strconv"
	"strings"
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
