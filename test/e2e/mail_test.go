package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// mailCertificate makes the certificate of a mail server, which vouches for itself.
func mailCertificate(t *testing.T, name string) (certificateFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	certificateFile, keyFile = filepath.Join(directory, "mail.crt"), filepath.Join(directory, "mail.key")
	for file, block := range map[string]*pem.Block{certificateFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificateFile, keyFile
}

// mails is a configuration in which a rejected quote is told by mail.
func (i *installation) mails(server, certificateFile, password string) string {
	i.set("MAIL_PASSWORD", password)
	return "{\n\t" + i.globals() + `
	event_relay {
		queue sqlite ` + i.home + `/queue
		source icfm {
			auth api_key query key icfm-key
		}
		parameter mail_password {env.MAIL_PASSWORD}
		action tell {
			mail ` + server + ` {
				from "Event Relay <relay@studio.example>"
				to "Ann <ann@studio.example>"
				bcc bob@studio.example
				subject "{{body.name}}: {{body.status}}"
				text "{{body.name}} is now: {{body.status}}"
				html "<p>{{body.name}} is now: {{body.status}}</p>"
			}
			auth basic relay "{{mail_password}}"
			tls_trust_pool file ` + certificateFile + `
			tls_server_name mail.test
			retry_interval 50ms 100ms
		}
		on quote_status_change {
			do tell
		}
	}
}
http://` + port(i.site) + ` {
	bind 127.0.0.1
	event_relay /listen.php
	respond 404
}
`
}

const rejectedQuote = `{"event":"quote_status_change","name":"Süd \"Trailer\" <2>\r\nBcc: eve@evil.example","status":"Rejected"}`

// An event leads to a mail over STARTTLS with authentication. A server that greylists
// is asked again, and gets the mail once.
func TestMailServerGreylists(t *testing.T) {
	t.Parallel()
	certificateFile, keyFile := mailCertificate(t, "mail.test")
	server := processtest.StartMailServer(t, certificateFile, keyFile, "relay", "pass wörd", "--greylist", "1")
	machine := newInstallation(t)
	caddy := machine.start(machine.mails("smtp://"+server.STARTTLS, certificateFile, "pass wörd"))
	id := machine.post(rejectedQuote)
	machine.become(id, "delivered")

	taken := server.Mails(1)[0]
	if taken.From != "relay@studio.example" || strings.Join(taken.To, " ") != "ann@studio.example bob@studio.example" || !taken.TLS || taken.User != "relay" {
		t.Errorf("got %+v", taken)
	}
	read, err := mail.ReadMessage(strings.NewReader(taken.Text))
	if err != nil {
		t.Fatalf("reading %s: %v", taken.Text, err)
	}
	for name, want := range map[string]string{"X-Event-Id": id, "Auto-Submitted": "auto-generated", "Bcc": "",
		"Subject": "=?UTF-8?q?S=C3=BCd_\"Trailer\"_<2>_Bcc:_eve@evil.example:_Rejected?="} {
		if got := read.Header.Get(name); !strings.EqualFold(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if n := server.Greylisted(); n != 2 {
		t.Errorf("%d recipients were greylisted", n)
	}
	shown := machine.expect(0, "show "+id, "the mail server refused RCPT TO:<ann@studio.example>: 451 4.7.1 greylisted", "RCPT TO:<bob@studio.example>: 451 4.7.1 greylisted")
	for what, text := range map[string]string{"show": shown, "log": caddy.Output.String(), "activity": machine.expect(0, "activity --json")} {
		if strings.Contains(text, "pass wörd") {
			t.Errorf("%s shows the password:\n%s", what, text)
		}
	}
}

// A server that takes the mail and hangs up is sent it once more with the same
// Message-ID. A wrong password fails for good, and the message says where to look.
func TestMailServerDropsAndRefuses(t *testing.T) {
	t.Parallel()
	certificateFile, keyFile := mailCertificate(t, "mail.test")
	server := processtest.StartMailServer(t, certificateFile, keyFile, "relay", "mail-s3cret", "--drop", "1")
	machine := newInstallation(t)
	caddy := machine.start(machine.mails("smtps://"+server.Implicit, certificateFile, "mail-s3cret"))
	id := machine.post(rejectedQuote)
	machine.become(id, "delivered")
	var ids []string
	for _, taken := range server.Mails(2) {
		read, err := mail.ReadMessage(strings.NewReader(taken.Text))
		if err != nil {
			t.Fatalf("reading %s: %v", taken.Text, err)
		}
		ids = append(ids, read.Header.Get("Message-ID"))
	}
	if ids[0] != ids[1] || !strings.HasSuffix(ids[0], "@studio.example>") {
		t.Errorf("got the ids %q", ids)
	}
	machine.expect(0, "show "+id, "sending the message: the server closed the connection", "it may have taken the mail")

	if status, text := caddy.load(strings.Replace(machine.mails("smtps://"+server.Implicit, certificateFile, ""), "{env.MAIL_PASSWORD}", "wrong-s3cret", 1)); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	id = machine.post(rejectedQuote)
	machine.become(id, "failed")
	machine.expect(0, "show "+id, "the mail server refused AUTH PLAIN: 535 5.7.8 Authentication credentials invalid; compare the user and the password in auth basic")
	if text := caddy.Output.String(); strings.Contains(text, "wrong-s3cret") || strings.Contains(text, "mail-s3cret") {
		t.Error("the log shows a password")
	}
}
