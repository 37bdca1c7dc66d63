package examples_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/examples/mailbox/smtpd"
)

// mailbox stands in for the mail server of a LAN, and keeps what it is sent.
type mailbox struct {
	url   string
	mails chan smtpd.Mail
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	m := &mailbox{url: "smtp://" + listener.Addr().String(), mails: make(chan smtpd.Mail, 100)}
	go func() { _ = smtpd.Serve(listener, func(mail smtpd.Mail) { m.mails <- mail }) }()
	return m
}

// next waits for the next mail, checks to whom it goes and who sent it, and returns
// what a person reads.
func (m *mailbox) next(t *testing.T, to string) (subject, text string) {
	t.Helper()
	var taken smtpd.Mail
	select {
	case taken = <-m.mails:
	case <-time.After(patience):
		t.Fatalf("waited %v in vain for a mail", patience)
	}
	if taken.From != "relay@studio.example" || !slices.Equal(taken.To, []string{to}) {
		t.Errorf("the mail goes from %s to %q", taken.From, taken.To)
	}
	if want := "PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00relay\x00demo-mail-password")); taken.Auth != want {
		t.Errorf("the relay authenticates with %q", taken.Auth)
	}
	message, err := mail.ReadMessage(strings.NewReader(taken.Text))
	if err != nil {
		t.Fatalf("%v\n%s", err, taken.Text)
	}
	if id := message.Header.Get("Message-Id"); !strings.HasSuffix(id, "@studio.example>") || message.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("the header is %q", message.Header)
	}
	if subject, err = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject")); err != nil {
		t.Error(err)
	}
	var body io.Reader = message.Body
	if message.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	read, err := io.ReadAll(body)
	if err != nil {
		t.Error(err)
	}
	return subject, string(bytes.ReplaceAll(read, []byte("\r\n"), []byte("\n")))
}
