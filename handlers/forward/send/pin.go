package send

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

// pin makes a configuration accept the pinned certificates alone.
func pin(connection *tls.Config, from *config.TLS) error {
	if len(from.Pins) == 0 {
		return nil
	}
	pins := make([][sha256.Size]byte, len(from.Pins))
	for i, text := range from.Pins {
		var err error
		if pins[i], err = config.ParsePin(text); err != nil {
			return err
		}
	}
	// The certificate itself is known, so nothing else about it is asked.
	connection.InsecureSkipVerify = true
	// Unlike VerifyPeerCertificate, this is called for resumed sessions too.
	connection.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the target shows no certificate, and tls_pin wants one")
		}
		certificate := state.PeerCertificates[0]
		seen := sha256.Sum256(certificate.Raw)
		if slices.Contains(pins, seen) {
			return nil
		}
		return fmt.Errorf("the certificate of the target is not the pinned one: it has sha256:%x (%s, valid until %s); if that is the fingerprint that the target itself shows, write it in tls_pin",
			seen, textencoding.Cut(certificate.Subject.String(), 200), certificate.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// limitProtocols sets the versions of TLS that are spoken.
func limitProtocols(connection *tls.Config, from *config.TLS) (err error) {
	if connection.MinVersion, connection.MaxVersion, err = from.Protocols(); err != nil {
		return err
	}
	if connection.MinVersion == 0 || connection.MinVersion >= tls.VersionTLS12 {
		return nil
	}
	// What speaks no newer version knows none of the ciphers that Go offers by
	// itself, but for RC4, which can be read.
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !strings.Contains(suite.Name, "RC4") {
			connection.CipherSuites = append(connection.CipherSuites, suite.ID)
		}
	}
	return nil
}
