package handover

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// internalCA returns the apps that give site.example a certificate of Caddy's own
// authority, kept in a directory of the test.
func internalCA(t *testing.T) object {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	storage := caddy.DefaultStorage.Path
	caddy.DefaultStorage.Path = caddy.AppDataDir()
	t.Cleanup(func() { caddy.DefaultStorage.Path = storage })
	return object{
		"pki": object{"certificate_authorities": object{"local": object{"install_trust": false}}},
		"tls": object{
			"certificates": object{"automate": []string{"site.example"}},
			"automation":   object{"policies": []object{{"issuers": []object{{"module": "internal"}}}}},
			// Else Caddy may delete the folder that it just made for the first
			// certificate, and obtain it only after a minute.
			"disable_storage_clean": true,
		},
	}
}

// TestHandshakeWaitsForItsCertificate connects at once after a start, first when
// the certificate must be obtained and then when it must be loaded.
func TestHandshakeWaitsForItsCertificate(t *testing.T) {
	address := processtest.FreeAddress(t)
	server := object{"listen": []string{address}, "tls_connection_policies": []object{{}}}
	apps := internalCA(t)
	for generation := range 5 {
		load(t, configure(generation, server, apps))
		post := raw(tlsDialer(address), true)
		if answered, err := post(); err != nil || answered != generation {
			t.Errorf("start %d: generation %d answered: %v", generation, answered, err)
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHandshakeWaitsOnlyForWhatCanCome tries the ends of the wait.
func TestHandshakeWaitsOnlyForWhatCanCome(t *testing.T) {
	pem := certificate(t, "site.example")
	present, err := tls.X509KeyPair([]byte(pem["certificate"].(string)), []byte(pem["key"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	missing := errors.New("no certificate available for 'site.example'")
	refused := errors.New("certificate is not allowed for server name site.example")
	for _, test := range []struct {
		name     string
		errors   []error // of each attempt to get the certificate; then there is one
		over     bool    // handshakes wait no more
		attempts int
		err      error
	}{
		{"loaded already", nil, false, 1, nil},
		{"loaded later", []error{missing, missing}, false, 3, nil},
		{"not loaded in time", []error{missing, missing}, true, 1, missing},
		{"refused on demand", []error{refused}, false, 1, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, attempts := newCertificates(), 0
			get := c.wait(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				attempts++
				if test.over {
					c.end()
				}
				if attempts <= len(test.errors) {
					return nil, test.errors[attempts-1]
				}
				return &present, nil
			})
			near, far := net.Pipe()
			defer near.Close()
			go func() {
				_ = tls.Client(far, &tls.Config{InsecureSkipVerify: true, ServerName: "site.example"}).Handshake()
				far.Close()
			}()
			err := tls.Server(near, &tls.Config{GetCertificate: get, SessionTicketsDisabled: true}).Handshake()
			if attempts != test.attempts || !errors.Is(err, test.err) {
				t.Errorf("handshake ended with %v after %d attempts", err, attempts)
			}
		})
	}
}
