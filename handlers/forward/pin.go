package forward

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

// pinPrefix begins a pin, and names the hash that it is.
const pinPrefix = "sha256:"

// ParsePin reads a pin: sha256: and the SHA-256 fingerprint of a certificate in
// hex, with or without colons, as openssl and browsers show it.
func ParsePin(text string) (pin [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(strings.ToLower(text), pinPrefix)
	if ok {
		var sum []byte
		if sum, err = hex.DecodeString(strings.ReplaceAll(digits, ":", "")); err == nil && len(sum) == len(pin) {
			return [sha256.Size]byte(sum), nil
		}
	}
	return pin, fmt.Errorf("%q is no pin: write sha256: and the fingerprint of the target's certificate, 64 hex digits, as this prints it: "+
		"openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -fingerprint -sha256", textencoding.Cut(text, 100))
}

// pin makes a configuration accept the pinned certificates alone.
func pin(config *tls.Config, from *TLS) error {
	if len(from.Pins) == 0 {
		return nil
	}
	pins := make([][sha256.Size]byte, len(from.Pins))
	var wrong []error
	for i, text := range from.Pins {
		parsed, err := ParsePin(text)
		if err != nil {
			wrong = append(wrong, err)
		}
		pins[i] = parsed
	}
	switch {
	case from.InsecureSkipVerify:
		wrong = append(wrong, errors.New("a pin accepts one certificate and tls_insecure_skip_verify accepts any: remove the one or the other"))
	case len(from.CAFiles) > 0:
		wrong = append(wrong, errors.New("with a pin it does not matter who signed the certificate: remove tls_trust_pool or tls_pin"))
	}
	// The certificate itself is known, so nothing else about it is asked.
	config.InsecureSkipVerify = true
	// Unlike VerifyPeerCertificate, this is called for resumed sessions too.
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the target shows no certificate, and tls_pin wants one")
		}
		certificate := state.PeerCertificates[0]
		seen := sha256.Sum256(certificate.Raw)
		if slices.Contains(pins, seen) {
			return nil
		}
		return fmt.Errorf("the certificate of the target is not the pinned one: it has %s%x (%s, valid until %s); if that is the fingerprint that the target itself shows, write it in tls_pin",
			pinPrefix, seen, textencoding.Cut(certificate.Subject.String(), 200), certificate.NotAfter.UTC().Format(time.DateOnly))
	}
	return errors.Join(wrong...)
}

// protocols are the versions of TLS by the names that Caddy gives them, the
// lowest first.
var protocols = []struct {
	name    string
	version uint16
}{
	{"tls1.0", tls.VersionTLS10}, {"tls1.1", tls.VersionTLS11}, {"tls1.2", tls.VersionTLS12}, {"tls1.3", tls.VersionTLS13},
}

// ParseProtocol reads the name of a version of TLS.
func ParseProtocol(name string) (version uint16, err error) {
	for _, protocol := range protocols {
		if protocol.name == name {
			return protocol.version, nil
		}
	}
	return 0, fmt.Errorf("%q is no version of TLS: write tls1.0, tls1.1, tls1.2 or tls1.3", textencoding.Cut(name, 100))
}

// limitProtocols sets the versions of TLS that are spoken.
func limitProtocols(config *tls.Config, from *TLS) (err error) {
	if from.ProtocolMin != "" {
		if config.MinVersion, err = ParseProtocol(from.ProtocolMin); err != nil {
			return err
		}
	}
	if from.ProtocolMax != "" {
		if config.MaxVersion, err = ParseProtocol(from.ProtocolMax); err != nil {
			return err
		}
		if least := max(config.MinVersion, tls.VersionTLS12); from.ProtocolMin == "" && config.MaxVersion < least || config.MaxVersion < config.MinVersion {
			return fmt.Errorf("the highest version of TLS, %s, is below the lowest", from.ProtocolMax)
		}
	}
	if config.MinVersion == 0 || config.MinVersion >= tls.VersionTLS12 {
		return nil
	}
	// What speaks no newer version knows none of the ciphers that Go offers by
	// itself, but for RC4, which can be read.
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !strings.Contains(suite.Name, "RC4") {
			config.CipherSuites = append(config.CipherSuites, suite.ID)
		}
	}
	return nil
}
