package send

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// authority issues certificates and keeps them in files.
type authority struct {
	t           testing.TB
	directory   string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// file is that of its own certificate.
	file   string
	serial int64
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, directory: t.TempDir()}
	a.certificate, a.key, a.file, _ = a.issue("authority", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue makes a certificate with its key, and writes both.
func (a *authority) issue(name string, template *x509.Certificate) (certificate *x509.Certificate, key *ecdsa.PrivateKey, certificateFile, keyFile string) {
	a.t.Helper()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	a.serial++
	template.SerialNumber, template.Subject = big.NewInt(a.serial), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := a.certificate, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	must(err)
	certificate, err = x509.ParseCertificate(der)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(err)
	certificateFile, keyFile = filepath.Join(a.directory, name+".crt"), filepath.Join(a.directory, name+".key")
	must(os.WriteFile(certificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return certificate, key, certificateFile, keyFile
}

// counter counts the connections of a server: those ever made, and those open.
type counter struct{ made, open atomic.Int32 }

// secureTarget is a server with a certificate for relay.test that counts its
// connections and answers with the client's name.
func (a *authority) secureTarget(clientAuth tls.ClientAuthType) (url string, connections *counter) {
	a.t.Helper()
	_, _, certificateFile, keyFile := a.issue("relay.test", &x509.Certificate{DNSNames: []string{"relay.test"}})
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, certificate := range r.TLS.PeerCertificates {
			fmt.Fprint(w, certificate.Subject.CommonName)
		}
	}))
	connections = new(counter)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			connections.made.Add(1)
			connections.open.Add(1)
		case http.StateClosed:
			connections.open.Add(-1)
		}
	}
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: clientAuth, ClientCAs: pool}
	// What is refused in these tests is no news for their output.
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return server.URL, connections
}

func readTLS(t testing.TB, from config.TLS) *TLS {
	t.Helper()
	setting, err := ReadTLS(&from)
	if err != nil {
		t.Fatal(err)
	}
	return setting
}

func TestTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	_, _, clientFile, clientKey := a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	open, _ := a.secureTarget(tls.NoClientCert)
	closed, _ := a.secureTarget(tls.RequireAndVerifyClientCert)
	sender := newSender(t)
	for name, c := range map[string]struct {
		url  string
		tls  *config.TLS
		want string
	}{
		"system":          {open, nil, "!certificate"},
		"empty":           {open, &config.TLS{}, "!certificate"},
		"authority alone": {open, &config.TLS{CAFiles: []string{a.file}}, "!doesn't contain any IP SANs"},
		"name alone":      {open, &config.TLS{ServerName: "relay.test"}, "!unknown authority"},
		"both":            {open, &config.TLS{CAFiles: []string{a.file}, ServerName: "relay.test"}, ""},
		"several files":   {open, &config.TLS{CAFiles: []string{other.file, a.file}, ServerName: "relay.test"}, ""},
		"other authority": {open, &config.TLS{CAFiles: []string{other.file}, ServerName: "relay.test"}, "!unknown authority"},
		"other name":      {open, &config.TLS{CAFiles: []string{a.file}, ServerName: "other.test"}, "!not other.test"},
		"unverified":      {open, &config.TLS{InsecureSkipVerify: true}, ""},
		"no client":       {closed, &config.TLS{InsecureSkipVerify: true}, "!"}, // the words depend on which side is faster
		"client":          {closed, &config.TLS{InsecureSkipVerify: true, ClientCertificateFile: clientFile, ClientCertificateKeyFile: clientKey}, "client"},
	} {
		t.Run(name, func(t *testing.T) {
			request := requestTo(t, c.url)
			if c.tls != nil {
				request.TLS = readTLS(t, *c.tls)
			}
			result := sender.Current().Send(t.Context(), request, time.Minute)
			if part, fails := strings.CutPrefix(c.want, "!"); fails {
				if result.Err == nil || !strings.Contains(result.Err.Error(), part) {
					t.Errorf("got %+v, want an error with %s", result, part)
				}
			} else if result.Err != nil || result.Status != 200 || result.Response != c.want {
				t.Errorf("got %+v", result)
			}
		})
	}
}

func TestReadTLSErrors(t *testing.T) {
	a := newAuthority(t)
	_, _, file, _ := a.issue("client", &x509.Certificate{})
	_, _, _, otherKey := a.issue("other", &x509.Certificate{})
	empty, missing := filepath.Join(a.directory, "empty.pem"), filepath.Join(a.directory, "missing.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tls  config.TLS
		want []string
	}{
		"missing CA":  {config.TLS{CAFiles: []string{missing}}, []string{"reading a CA file: open " + missing + ": no such file"}},
		"empty CA":    {config.TLS{CAFiles: []string{a.file, empty}}, []string{"reading a CA file: " + empty + " holds no certificate in PEM form"}},
		"several":     {config.TLS{CAFiles: []string{missing, empty}}, []string{"open " + missing, empty + " holds no"}},
		"missing key": {config.TLS{ClientCertificateFile: file, ClientCertificateKeyFile: missing}, []string{"reading the client key: open " + missing}},
		"other key":   {config.TLS{ClientCertificateFile: file, ClientCertificateKeyFile: otherKey}, []string{"reading the client certificate " + file + " with its key " + otherKey}},
		"empty key":   {config.TLS{ClientCertificateFile: file, ClientCertificateKeyFile: empty}, []string{"with its key " + empty}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadTLS(&c.tls)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
		})
	}
}

// Equal settings use the same connections, also those of the next configuration,
// until a file changes or none has the setting any more.
func TestTLSConnectionsAreKept(t *testing.T) {
	a := newAuthority(t)
	url, connections := a.secureTarget(tls.NoClientCert)
	sender := newSender(t)
	// load is what a reload does: it reads all anew.
	load := func(settings ...*config.TLS) []*TLS {
		t.Helper()
		var used []*TLS
		for _, setting := range settings {
			used = append(used, readTLS(t, *setting))
		}
		sender.Restrict(mustTargets(t))
		sender.Keep(used)
		return used
	}
	sendAll := func(settings []*TLS) {
		t.Helper()
		for _, setting := range settings {
			request := requestTo(t, url)
			request.TLS = setting
			if result := sender.Current().Send(t.Context(), request, time.Minute); result.Status != 200 {
				t.Fatalf("%+v", result)
			}
		}
	}
	expect := func(what string, opened, open int) {
		t.Helper()
		if got := connections.made.Load(); got != int32(opened) {
			t.Errorf("%s: %d connections were made, want %d", what, got, opened)
		}
		for end := time.Now().Add(20 * time.Second); connections.open.Load() != int32(open); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d connections are open, want %d", what, connections.open.Load(), open)
			}
		}
	}
	byName := func() *config.TLS { return &config.TLS{CAFiles: []string{a.file}, ServerName: "relay.test"} }
	unverified := &config.TLS{InsecureSkipVerify: true}
	sendAll(load(byName(), byName()))
	expect("two actions", 1, 1)
	sendAll(load(byName()))
	expect("a reload", 1, 1)
	sendAll(load(byName(), unverified))
	expect("another setting", 2, 2)

	pem, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, append(pem, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	sendAll(load(byName(), unverified))
	expect("a changed file", 3, 2)
	sendAll(load(unverified))
	expect("a setting gone", 3, 1)
	load()
	expect("all gone", 3, 0)
	sendAll(load(unverified))
	expect("a setting back again", 4, 1)
}

// No TLS setting opens the way to an address that is not allowed.
func TestTLSTargetsAreChecked(t *testing.T) {
	a := newAuthority(t)
	url, connections := a.secureTarget(tls.NoClientCert)
	sender := newSender(t)
	request := requestTo(t, url)
	request.TLS = readTLS(t, config.TLS{InsecureSkipVerify: true})
	if result := sender.Current().Send(t.Context(), request, time.Minute); result.Status != 200 {
		t.Fatalf("%+v", result)
	}
	sender.Restrict(mustTargets(t, "203.0.113.0/24"))
	result := sender.Current().Send(t.Context(), request, time.Minute)
	if refused := (*TargetError)(nil); !errors.As(result.Err, &refused) || connections.made.Load() != 1 {
		t.Errorf("got %+v after %d connections", result, connections.made.Load())
	}
}
