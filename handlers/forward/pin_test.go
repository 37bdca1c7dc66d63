package forward

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// appliance starts a target as old appliances are: its certificate has a common
// name alone and has expired.
func appliance(t *testing.T, config *tls.Config) (url, fingerprint string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nas.studio.lan"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, fmt.Sprintf("sha256:%x", sha256.Sum256(certificate))
}

// A pinned certificate is accepted whatever else is wrong with it, and no other.
func TestPin(t *testing.T) {
	url, pin := appliance(t, &tls.Config{})
	digits := strings.ToUpper(strings.TrimPrefix(pin, "sha256:"))
	var colons []string
	for ; digits != ""; digits = digits[2:] {
		colons = append(colons, digits[:2])
	}
	other := "sha256:" + strings.Repeat("ab", 32)
	for _, c := range []struct {
		name string
		tls  *config.TLS
		want string // "" for delivered
	}{
		{"pinned", &config.TLS{Pins: []string{pin}}, ""},
		{"as openssl prints it", &config.TLS{Pins: []string{"sha256:" + strings.Join(colons, ":")}}, ""},
		{"one of two", &config.TLS{Pins: []string{other, pin}}, ""},
		{"with a server name", &config.TLS{Pins: []string{pin}, ServerName: "nas.studio.lan"}, ""},
		{"another", &config.TLS{Pins: []string{other}}, "the certificate of the target is not the pinned one: it has " + pin + " (CN=nas.studio.lan, valid until 2001-09-09)"},
		{"none", nil, "compare its fingerprint with what the target itself shows and write tls_pin " + pin},
	} {
		w := newWorkbench(t)
		w.Use([]*Prepared{prepare(t, config.Action{URL: url, TLS: c.tls})})
		r := w.attempted(t, w.queue.add("test", eventWith(nil), 1)[0], 1)
		if (r.state == queue.Delivered) != (c.want == "") || !strings.Contains(r.attempts[0].Error, c.want) {
			t.Errorf("%s: %s: %s", c.name, r.state, r.attempts[0].Error)
		}
	}
}

// Another pin is another way to a target: no connection is kept over a change.
func TestPinChangesTheConnection(t *testing.T) {
	w := newWorkbench(t)
	url, pin := appliance(t, &tls.Config{})
	w.Use([]*Prepared{prepare(t, config.Action{URL: url, TLS: &config.TLS{Pins: []string{pin}}})})
	w.settledAs(t, w.queue.add("test", eventWith(nil), 1)[0], queue.Delivered)
	w.Use([]*Prepared{prepare(t, config.Action{URL: url, TLS: &config.TLS{Pins: []string{"sha256:" + strings.Repeat("ab", 32)}}})})
	if r := w.attempted(t, w.queue.add("test", eventWith(nil), 1)[0], 1); r.state != queue.Pending {
		t.Errorf("%s", r.state)
	}
}

func TestProtocols(t *testing.T) {
	old := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}
	url, pin := appliance(t, old)
	for _, c := range []struct {
		least, most, want string
	}{
		{"tls1.0", "", ""},
		{"tls1.0", "tls1.2", ""},
		{"tls1.1", "", "tls1.0"},
		{"", "", "if the target speaks only an old version of TLS, write tls_protocols tls1.0"},
	} {
		w := newWorkbench(t)
		w.Use([]*Prepared{prepare(t, config.Action{URL: url, TLS: &config.TLS{Pins: []string{pin}, ProtocolMin: c.least, ProtocolMax: c.most}})})
		r := w.attempted(t, w.queue.add("test", eventWith(nil), 1)[0], 1)
		if (r.state == queue.Delivered) != (c.want == "") || !strings.Contains(r.attempts[0].Error, c.want) {
			t.Errorf("from %s to %s: %s: %s", c.least, c.most, r.state, r.attempts[0].Error)
		}
	}
}
