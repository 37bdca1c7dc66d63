package send

import (
	"crypto/x509"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// A mail server that others have written takes what the relay sends, and its refusals
// are told.
func TestMailServer(t *testing.T) {
	authority := newAuthority(t)
	_, _, certificateFile, keyFile := authority.issue("mail.test", &x509.Certificate{DNSNames: []string{"mail.test"}})
	server := processtest.StartMailServer(t, certificateFile, keyFile, "relay", "pass wörd")
	setting := readTLS(t, config.TLS{CAFiles: []string{authority.file}, ServerName: "mail.test"})
	sent := func(change func(*Mail)) Result {
		m := aMail()
		m.Server, m.TLS, m.User, m.Password = Target{"smtp", server.STARTTLS}, setting, "relay", "pass wörd"
		change(m)
		return newSender(t).Current().Mail(t.Context(), m, time.Minute)
	}
	subject, text := "Größe: "+strings.Repeat("日本語 ", 30), ".\n..\nGrüße\n"+strings.Repeat("long ", 1000)+"\n."
	complete := func(m *Mail) {
		m.Subject, m.Text, m.HTML = subject, text, "<p>Grüße</p>"
		m.Cc = []mail.Address{{Name: "Bob, \"B\"", Address: "bob@studio.example"}}
		m.Bcc = []mail.Address{{Address: "carol@studio.example"}}
	}
	implicit := func(m *Mail) { m.Server = Target{"smtps", server.Implicit} }
	for _, result := range []Result{sent(complete), sent(func(m *Mail) { complete(m); implicit(m) })} {
		if result.Status != 250 || result.Err != nil || result.Response != "2.0.0 queued" {
			t.Errorf("got %+v", result)
		}
	}
	for _, c := range []struct {
		change func(*Mail)
		status int
		want   string
	}{
		{func(m *Mail) { m.Password = "wrong" }, 535, "AUTH PLAIN: 535 5.7.8 Authentication credentials invalid; compare the user"},
		{func(m *Mail) { m.User, m.Password = "", "" }, 530, "MAIL FROM:<relay@studio.example>: 530 5.7.0 Authentication required; it wants a user and a password"},
		{func(m *Mail) { m.To = append(m.To, mail.Address{Address: "unknown@studio.example"}) }, 550, "RCPT TO:<unknown@studio.example>: 550 5.1.1 no such mailbox"},
		{func(m *Mail) { m.StartTLS, m.User, m.Password = config.StartTLSOff, "", "" }, 530, "MAIL FROM:<relay@studio.example>: 530 Must issue a STARTTLS command first; it wants TLS first: remove starttls off"},
	} {
		if result := sent(c.change); result.Status != c.status || !strings.HasPrefix(result.Refused, c.want) {
			t.Errorf("got %+v, want %d %s", result, c.status, c.want)
		}
	}
	mails := server.Mails(2)
	for _, taken := range mails {
		if taken.From != "relay@studio.example" || strings.Join(taken.To, " ") != "ann@studio.example bob@studio.example carol@studio.example" || !taken.TLS || taken.User != "relay" {
			t.Errorf("got %+v", taken)
		}
		read := readMail(t, []byte(taken.Text))
		parts := bodies(t, read)
		if decoded(t, read.Header.Get("Subject")) != strings.TrimSpace(subject) || strings.TrimRight(parts["text/plain"], "\n") != text || !strings.HasPrefix(parts["text/html"], "<p>Grüße</p>") {
			t.Errorf("got %s", taken.Text)
		}
		if strings.Contains(taken.Text, "carol") {
			t.Errorf("names who is in bcc: %s", taken.Text)
		}
	}
}

// A server that takes a mail and does not say so is sent it once more, with the same
// Message-ID.
func TestMailServerDrops(t *testing.T) {
	authority := newAuthority(t)
	_, _, certificateFile, keyFile := authority.issue("mail.test", &x509.Certificate{DNSNames: []string{"mail.test"}})
	server := processtest.StartMailServer(t, certificateFile, keyFile, "relay", "secret", "--drop", "1")
	m := aMail()
	m.Server, m.User, m.Password = Target{"smtp", server.STARTTLS}, "relay", "secret"
	m.TLS = readTLS(t, config.TLS{CAFiles: []string{authority.file}, ServerName: "mail.test"})
	connections := newSender(t).Current()
	if result := connections.Mail(t.Context(), m, time.Minute); result.Err == nil || !result.Reached || !strings.HasSuffix(result.Err.Error(), "; it may have taken the mail") {
		t.Errorf("got %+v", result)
	}
	if result := connections.Mail(t.Context(), m, time.Minute); result.Status != 250 {
		t.Errorf("got %+v", result)
	}
	mails := server.Mails(2)
	first, second := readMail(t, []byte(mails[0].Text)).Header.Get("Message-ID"), readMail(t, []byte(mails[1].Text)).Header.Get("Message-ID")
	if first != second || first != "<01980000-0000-7000-8000-000000000001@studio.example>" {
		t.Errorf("got %s and %s", first, second)
	}
}
