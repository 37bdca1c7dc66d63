package handover

import (
	"crypto/tls"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// holdFor is how long after the start of a configuration a TLS handshake waits for
// its certificate.
const holdFor = 10 * time.Second

// certificates lets TLS handshakes wait that come before their certificate has
// been loaded. Caddy loads the certificates that it manages in the background and
// answers such handshakes with "internal error". After a restart these are the
// handshakes of the connections that waited in a socket of systemd.
type certificates struct {
	over chan struct{} // is closed when handshakes wait no more
	end  func()        // closes it; may be called again
	once sync.Once
}

func newCertificates() *certificates {
	over := make(chan struct{})
	return &certificates{over: over, end: sync.OnceFunc(func() { close(over) })}
}

// waitFor makes the handshakes of servers wait. Caddy must have provisioned the
// servers, and none of them may have begun to serve.
func (c *certificates) waitFor(servers map[*caddyhttp.Server]*server) {
	c.once.Do(func() {
		for server := range servers {
			for _, policy := range server.TLSConnPolicies {
				if policy.TLSConfig != nil && policy.TLSConfig.GetCertificate != nil {
					policy.TLSConfig.GetCertificate = c.wait(policy.TLSConfig.GetCertificate)
				}
			}
		}
	})
}

// wait returns a function that gets a certificate, once it has been loaded. It
// asks again and again, 5 to 200 ms apart. Caddy's event of loaded certificates
// would be exact, but while some handler listens to it, Caddy reads its TLS app at
// each event as the start of that app writes to it.
func (c *certificates) wait(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
			certificate, err := get(hello)
			if err == nil || !missing(err) {
				return certificate, err
			}
			select {
			case <-c.over:
				return certificate, err
			case <-hello.Context().Done():
				return certificate, err
			case <-time.After(pause):
			}
		}
	}
}

// missing reports whether an error of CertMagic says that no certificate for the
// name is loaded. It has no type. Other errors, such as those of certificates on
// demand, are not waited for: to ask again could ask a service of the user.
func missing(err error) bool { return strings.HasPrefix(err.Error(), "no certificate available for ") }
