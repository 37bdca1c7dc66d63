package send

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
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
	// What is refused in these tests is no news for their output.
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
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
		want string // "" for an answer
	}{
		{"pinned", &config.TLS{Pins: []string{pin}}, ""},
		{"as openssl prints it", &config.TLS{Pins: []string{"sha256:" + strings.Join(colons, ":")}}, ""},
		{"one of two", &config.TLS{Pins: []string{other, pin}}, ""},
		{"with a server name", &config.TLS{Pins: []string{pin}, ServerName: "nas.studio.lan"}, ""},
		{"another", &config.TLS{Pins: []string{other}}, "the certificate of the target is not the pinned one: it has " + pin + " (CN=nas.studio.lan, valid until 2001-09-09)"},
		{"none", nil, "failed to verify certificate"},
	} {
		request := requestTo(t, url)
		if c.tls != nil {
			request.TLS = readTLS(t, *c.tls)
		}
		if result := once(t, request); result.Err == nil != (c.want == "") || result.Err != nil && !strings.Contains(result.Err.Error(), c.want) {
			t.Errorf("%s: %+v", c.name, result)
		}
	}
}

// Another pin is another way to a target: no connection is kept over a change.
func TestPinChangesTheConnection(t *testing.T) {
	url, pin := appliance(t, &tls.Config{})
	sender, request := newSender(t), requestTo(t, url)
	request.TLS = readTLS(t, config.TLS{Pins: []string{pin}})
	if result := sender.Current().Send(t.Context(), request, time.Minute); result.Status != 200 {
		t.Fatalf("%+v", result)
	}
	request.TLS = readTLS(t, config.TLS{Pins: []string{"sha256:" + strings.Repeat("ab", 32)}})
	if result := sender.Current().Send(t.Context(), request, time.Minute); result.Err == nil {
		t.Errorf("%+v", result)
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
		{"tls1.1", "", "protocol version not supported"},
		{"", "", "protocol version not supported"},
	} {
		request := requestTo(t, url)
		request.TLS = readTLS(t, config.TLS{Pins: []string{pin}, ProtocolMin: c.least, ProtocolMax: c.most})
		if result := once(t, request); result.Err == nil != (c.want == "") || result.Err != nil && !strings.Contains(result.Err.Error(), c.want) {
			t.Errorf("from %s to %s: %+v", c.least, c.most, result)
		}
	}
}
