package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// selfSigned makes a certificate that is its own authority, and its key, in PEM.
func selfSigned(t *testing.T, template x509.Certificate) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.IsCA, template.BasicConstraintsValid = big.NewInt(1), true, true
	signed, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// An administrator must be able to act on what keeps a node from connecting. What may be
// mended at the server, as certificates are, is tried again.
func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	from, here := time.Now().Add(-2*time.Hour), []net.IP{net.IPv4(127, 0, 0, 1)}
	until := from.Add(24 * time.Hour)
	certificate, key := selfSigned(t, x509.Certificate{NotBefore: from, NotAfter: until, IPAddresses: here})
	elsewhere, _ := selfSigned(t, x509.Certificate{NotBefore: from, NotAfter: until, IPAddresses: here})
	expired, expiredKey := selfSigned(t, x509.Certificate{NotBefore: from, NotAfter: from.Add(time.Hour), IPAddresses: here})
	type authority struct {
		server *pgtest.Server
		file   string
	}
	trust := func(certificate []byte) string {
		file := filepath.Join(t.TempDir(), "authority.crt")
		if err := os.WriteFile(file, certificate, 0o600); err != nil {
			t.Fatal(err)
		}
		return url.QueryEscape(file)
	}
	right := authority{pgtest.Start(t, pgtest.Options{Certificate: certificate, Key: key}), trust(certificate)}
	old := authority{pgtest.Start(t, pgtest.Options{Certificate: expired, Key: expiredKey}), trust(expired)}
	plain := pgtest.Shared(t)
	with := func(dsn, settings string) string { return strings.Replace(dsn, "sslmode=disable", settings, 1) }

	for _, settings := range []string{"sslmode=verify-full&sslrootcert=" + right.file, "sslmode=verify-ca&sslrootcert=" + right.file, "sslmode=require"} {
		dsn := right.server.Role(t, "secret")
		right.server.LetIn(t, dsn, true)
		engine, err := Store{DSN: with(dsn, settings)}.Open(true, zaptest.NewLogger(t))
		if err != nil {
			t.Errorf("with %s: %v", settings, err)
			continue
		}
		encrypted := false
		if err := engine.(*DB).pool.QueryRow(t.Context(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&encrypted); err != nil || !encrypted {
			t.Errorf("with %s the connection is encrypted: %v, %v", settings, encrypted, err)
		}
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}

	notIn := plain.Role(t, "secret")
	plain.LetIn(t, notIn, false)
	overTLS := right.server.Role(t, "secret")
	right.server.LetIn(t, overTLS, true)
	for name, c := range map[string]struct {
		dsn   string
		says  []string
		final bool // trying again does not mend it
	}{
		"a certificate of another authority": {with(right.server.DSN(), "sslmode=verify-full&sslrootcert="+trust(elsewhere)),
			[]string{"is of no authority that is known here", "sslrootcert=FILE", right.server.Address()}, false},
		"one that is no authority's of this system": {with(right.server.DSN(), "sslmode=verify-full"),
			[]string{"is of no authority that is known here", "sslrootcert=FILE"}, false},
		"a certificate that has expired": {with(old.server.DSN(), "sslmode=verify-full&sslrootcert="+old.file),
			[]string{"the certificate of the database is not valid", "renew it on the server"}, false},
		"a certificate for another name": {strings.Replace(with(right.server.DSN(), "sslmode=verify-full&sslrootcert="+right.file), "@127.0.0.1:", "@localhost:", 1),
			[]string{"is for another name than the DSN has", "write the name of the certificate into the DSN"}, false},
		"a server without TLS": {with(plain.DSN(), "sslmode=require"),
			[]string{"the server has no TLS", "set ssl = on there"}, false},
		"pg_hba.conf without a line": {notIn,
			[]string{"the database does not let this machine in: pg_hba.conf rejects connection for host", "hostssl " + nameOf(t, notIn) + " " + nameOf(t, notIn) + " ADDRESS/32 scram-sha-256"}, true},
		"pg_hba.conf that wants TLS": {overTLS,
			[]string{"the database does not let this machine in: ", "set sslmode=require in the DSN"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			options := Store{DSN: c.dsn}.options()
			options.KeepTrying, options.limits.startPatience = true, time.Nanosecond
			said := ""
			db, err := Open(options)
			if err != nil {
				said = err.Error()
			} else {
				for _, trouble := range db.Troubles() {
					said += trouble.Message
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
			if final := errors.Is(err, queue.ErrMisconfigured); final != c.final {
				t.Errorf("it is final: %v", final)
			}
			for _, text := range c.says {
				if !strings.Contains(said, text) {
					t.Errorf("there is no %q in %q", text, said)
				}
			}
			if strings.Contains(said, "secret") {
				t.Errorf("the password is in %q", said)
			}
			t.Log(said)
		})
	}
}

// While the queue is open, what new connections are refused for is told with its remedy too.
func TestConnectionsAreRefusedLater(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.Role(t, "secret")
	engine, err := Store{DSN: dsn}.Open(true, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	server.LetIn(t, dsn, false)
	server.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", nameOf(t, dsn))
	processtest.WaitFor(t, "the trouble to name the remedy", func() bool {
		for _, trouble := range engine.Troubles() {
			if strings.Contains(trouble.Message, "pg_hba.conf rejects connection") && strings.Contains(trouble.Message, "add a line for this machine to pg_hba.conf") {
				return true
			}
		}
		return false
	})
}

// nameOf returns the name of the role of a DSN, which is that of its database.
func nameOf(t *testing.T, dsn string) string {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return config.User
}

// TestNoConnectionInOneLine: lists and the log have one line for an error, and none says a thing twice.
func TestNoConnectionInOneLine(t *testing.T) {
	const refused = "127.0.0.1:1 (127.0.0.1): dial error: dial tcp 127.0.0.1:1: connect: connection refused"
	for text, want := range map[string]string{
		"failed to connect to `user=a database=b`:\n\t" + refused + "\n\t" + refused:   "failed to connect to `user=a database=b`: " + refused,
		"failed to connect to `user=a database=b`:\n\t" + refused + "\n\tno such host": "failed to connect to `user=a database=b`: " + refused + "; no such host",
		"timeout": "timeout",
	} {
		cause := errors.New(text)
		if got := noConnection(cause); got.Error() != errNoConnection.Error()+": "+want || !errors.Is(got, cause) || !errors.Is(got, errNoConnection) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
