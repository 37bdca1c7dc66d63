package config

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// TLS says how a target is recognised. It is a part of what the `http`
// transport of Caddy's reverse_proxy has, by the same names. File names may
// hold placeholders such as `{env.CREDENTIALS_DIRECTORY}`.
type TLS struct {
	// Files with the certificates, in PEM format, of which one must have signed
	// the target's, in place of those that the system trusts.
	CAFiles []string `json:"ca_files,omitempty"`

	// The file with the certificate, in PEM format, that the relay shows to the
	// target, and those between it and its root.
	ClientCertificateFile string `json:"client_certificate_file,omitempty"`

	// The file with the key of that certificate, in PEM format.
	ClientCertificateKeyFile string `json:"client_certificate_key_file,omitempty"`

	// The name that the target's certificate must have. Default: the host of
	// the URL.
	ServerName string `json:"server_name,omitempty"`

	// The certificates of which the target must show one, by their SHA-256
	// fingerprints: `sha256:` and 64 hex digits, with or without colons. Then
	// nothing else about the certificate is checked: neither who signed it, nor
	// its names, nor its dates. Several let a certificate be replaced. Cannot be
	// given together with `ca_files` or `insecure_skip_verify`. Default: none.
	Pins []string `json:"pins,omitempty"`

	// The lowest version of TLS that is spoken: `tls1.0`, `tls1.1`, `tls1.2` or
	// `tls1.3`. Below `tls1.2`, the ciphers of that time are offered too.
	// Default: `tls1.2`.
	ProtocolMin string `json:"protocol_min,omitempty"`

	// The highest version of TLS that is spoken. Default: `tls1.3`.
	ProtocolMax string `json:"protocol_max,omitempty"`

	// Whether the relay accepts any certificate. A machine between the relay and
	// the target can then read and answer requests. Default: `false`.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// Check finds what is wrong with the settings. What the files hold is found when
// they are read.
func (t *TLS) Check() error {
	if (t.ClientCertificateFile == "") != (t.ClientCertificateKeyFile == "") {
		return errors.New("a client's certificate and its key come together; name both files or none")
	}
	if strings.ContainsAny(t.ServerName, "/ \t\r\n") {
		return fmt.Errorf("%q is no server name: write the name in the target's certificate alone", t.ServerName)
	}
	for _, pin := range t.Pins {
		if _, err := ParsePin(pin); err != nil {
			return err
		}
	}
	switch {
	case len(t.Pins) > 0 && t.InsecureSkipVerify:
		return errors.New("a pin accepts one certificate and tls_insecure_skip_verify accepts any: remove the one or the other")
	case len(t.Pins) > 0 && len(t.CAFiles) > 0:
		return errors.New("with a pin it does not matter who signed the certificate: remove tls_trust_pool or tls_pin")
	}
	_, _, err := t.Protocols()
	return err
}

// ParsePin reads a pin: sha256: and the SHA-256 fingerprint of a certificate in
// hex, with or without colons, as openssl and browsers show it.
func ParsePin(text string) (pin [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(strings.ToLower(text), "sha256:")
	if ok {
		var sum []byte
		if sum, err = hex.DecodeString(strings.ReplaceAll(digits, ":", "")); err == nil && len(sum) == len(pin) {
			return [sha256.Size]byte(sum), nil
		}
	}
	return pin, fmt.Errorf("%.100q is no pin: write sha256: and the fingerprint of the target's certificate, 64 hex digits, as this prints it: "+
		"openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -fingerprint -sha256", text)
}

// protocols are the versions of TLS by the names that Caddy gives them.
var protocols = map[string]uint16{
	"tls1.0": tls.VersionTLS10, "tls1.1": tls.VersionTLS11, "tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13,
}

// ParseProtocol reads the name of a version of TLS.
func ParseProtocol(name string) (version uint16, err error) {
	if version = protocols[name]; version == 0 {
		return 0, fmt.Errorf("%.100q is no version of TLS: write tls1.0, tls1.1, tls1.2 or tls1.3", name)
	}
	return version, nil
}

// Protocols returns the lowest and the highest version of TLS, zero where none is
// given.
func (t *TLS) Protocols() (lowest, highest uint16, err error) {
	if t.ProtocolMin != "" {
		if lowest, err = ParseProtocol(t.ProtocolMin); err != nil {
			return 0, 0, err
		}
	}
	if t.ProtocolMax != "" {
		if highest, err = ParseProtocol(t.ProtocolMax); err != nil {
			return 0, 0, err
		}
		if highest < cmp.Or(lowest, tls.VersionTLS12) {
			return 0, 0, fmt.Errorf("the highest version of TLS, %s, is below the lowest", t.ProtocolMax)
		}
	}
	return lowest, highest, nil
}
