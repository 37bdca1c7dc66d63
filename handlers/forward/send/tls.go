package send

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// TLS is a TLS setting with what its files hold.
type TLS struct {
	// key is the same for settings that are the same, also from one configuration
	// to the next, so that connections are kept as long as nothing changes.
	key    [32]byte
	config *tls.Config
}

// Key returns what is the same for settings that are the same, so that equal ones
// share connections.
func (t *TLS) Key() [32]byte { return t.key }

// ReadTLS reads a TLS setting with its files. The error tells of every file and
// value that is wrong.
func ReadTLS(from *config.TLS) (*TLS, error) {
	// What makes two settings differ, each part with its length before it.
	hash := sha256.New()
	add := func(part []byte) {
		_, _ = hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = hash.Write(part)
	}
	var wrong []error
	read := func(what, name string) []byte {
		content, err := os.ReadFile(name)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("reading %s: %w", what, err))
		}
		add(content)
		return content
	}
	connection := &tls.Config{ServerName: from.ServerName, InsecureSkipVerify: from.InsecureSkipVerify}
	if err := pin(connection, from); err != nil {
		wrong = append(wrong, err)
	}
	if err := limitProtocols(connection, from); err != nil {
		wrong = append(wrong, err)
	}
	for _, name := range from.CAFiles {
		content := read("a CA file", name)
		if connection.RootCAs == nil {
			connection.RootCAs = x509.NewCertPool()
		}
		if content != nil && !connection.RootCAs.AppendCertsFromPEM(content) {
			wrong = append(wrong, fmt.Errorf("reading a CA file: %s holds no certificate in PEM form", name))
		}
	}
	certificate, key := from.ClientCertificateFile, from.ClientCertificateKeyFile
	if certificate != "" {
		certificatePEM, keyPEM := read("the client certificate", certificate), read("the client key", key)
		pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
		if err != nil && certificatePEM != nil && keyPEM != nil {
			wrong = append(wrong, fmt.Errorf("reading the client certificate %s with its key %s: %w", certificate, key, err))
		}
		connection.Certificates = []tls.Certificate{pair}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	add([]byte(from.ServerName))
	add(fmt.Appendf(nil, "%d %t %q %s %s", len(from.CAFiles), from.InsecureSkipVerify, from.Pins, from.ProtocolMin, from.ProtocolMax))
	setting := &TLS{config: connection}
	hash.Sum(setting.key[:0])
	return setting, nil
}
