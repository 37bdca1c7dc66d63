package send

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

func TestMail(t *testing.T) {
	server := newMailServer(t)
	m := mailTo(server)
	m.To = append(m.To, mail.Address{Name: "Bob", Address: "bob@studio.example"})
	m.Cc = []mail.Address{{Address: "carol@studio.example"}}
	// Who is named twice gets one mail.
	m.Bcc = []mail.Address{{Address: "dave@studio.example"}, {Address: "ann@studio.example"}}
	result := post(t, m)
	server.idle(t)
	if result != (Result{Status: 250, Response: "2.0.0 queued as 1"}) {
		t.Errorf("got %+v", result)
	}
	want := []string{"EHLO", "MAIL FROM:<relay@studio.example>", "RCPT TO:<ann@studio.example>", "RCPT TO:<bob@studio.example>",
		"RCPT TO:<carol@studio.example>", "RCPT TO:<dave@studio.example>", "DATA", "QUIT"}
	if said := server.lines(""); len(said) != len(want) || !slices.EqualFunc(said, want, strings.HasPrefix) {
		t.Errorf("said %q", said)
	}
	if text := server.mails[0].text; !strings.Contains(text, "\r\n\r\nGood morning\r\n") || strings.Contains(text, "dave") {
		t.Errorf("got %s", text)
	}
}

// A refusal says which command was refused, and 4xx is told from 5xx.
func TestMailRefused(t *testing.T) {
	cases := []struct {
		name    string
		replies map[string]string
		change  func(*Mail)
		status  int
		refused string
	}{
		{"connection", map[string]string{"greeting": "554 no mail here"}, nil, 554, "the connection: 554 no mail here"},
		{"too many connections", map[string]string{"greeting": "421 busy"}, nil, 421, "the connection: 421 busy"},
		{"EHLO", map[string]string{"EHLO": "550 give your name"}, nil, 550, "EHLO: 550 give your name"},
		{"STARTTLS", map[string]string{"STARTTLS": "454 no entropy"}, nil, 454, "STARTTLS: 454 no entropy"},
		{"sender", map[string]string{"MAIL": "550 5.1.8 no such domain"}, nil, 550, "MAIL FROM:<relay@studio.example>: 550 5.1.8 no such domain"},
		{"wants authentication", map[string]string{"MAIL": "530 5.7.0 who are you?"}, nil, 530,
			"MAIL FROM:<relay@studio.example>: 530 5.7.0 who are you?; it wants a user and a password: write auth basic USER PASSWORD"},
		{"greylisting", map[string]string{"RCPT": "451 4.7.1 come back later"}, nil, 451, "RCPT TO:<ann@studio.example>: 451 4.7.1 come back later"},
		{"one recipient of three", map[string]string{"RCPT TO:<bob@studio.example>": "550 unknown"}, recipients("ann", "bob", "carol"), 550,
			"RCPT TO:<bob@studio.example>: 550 unknown"},
		{"for good after for now", map[string]string{"RCPT TO:<ann@studio.example>": "450 later", "RCPT TO:<bob@studio.example>": "550 never"},
			recipients("ann", "bob", "carol"), 550, "RCPT TO:<ann@studio.example>: 450 later; RCPT TO:<bob@studio.example>: 550 never"},
		{"the last recipient", map[string]string{"RCPT TO:<bob@studio.example>": "421 closing"}, recipients("ann", "bob", "carol"), 421,
			"RCPT TO:<bob@studio.example>: 421 closing"},
		{"DATA", map[string]string{"DATA": "452 disk full"}, nil, 452, "DATA: 452 disk full"},
		{"message", map[string]string{"message": "554-5.6.0 this is\r\n554 5.6.0 spam"}, nil, 554, "the message: 554 5.6.0 this is 5.6.0 spam"},
		{"password", map[string]string{"AUTH": "535 5.7.8 wrong"}, login, 535,
			"AUTH PLAIN: 535 5.7.8 wrong; compare the user and the password in auth basic with what the server knows"},
		{"control characters", map[string]string{"MAIL": "550 \x1b[31mred\x00"}, nil, 550, "MAIL FROM:<relay@studio.example>: 550 [31mred"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := newMailServer(t)
			server.replies = c.replies
			server.offers = []string{"STARTTLS", "AUTH PLAIN"}
			m := mailTo(server)
			if c.replies["STARTTLS"] == "" {
				m.StartTLS = config.StartTLSOff
			}
			if c.change != nil {
				c.change(m)
			}
			result := post(t, m)
			server.idle(t)
			if result.Status != c.status || result.Refused != c.refused || result.Err != nil {
				t.Errorf("got  %+v\nwant %d %s", result, c.status, c.refused)
			}
			if c.name != "message" && len(server.mails) > 0 {
				t.Errorf("got the mail: %+v", server.mails)
			}
			if said := server.lines("DATA"); len(said) > 0 && c.name != "message" && c.name != "DATA" {
				t.Errorf("said %q", said)
			}
		})
	}
}

func recipients(names ...string) func(*Mail) {
	return func(m *Mail) {
		m.To = nil
		for _, name := range names {
			m.To = append(m.To, mail.Address{Address: name + "@studio.example"})
		}
	}
}

func login(m *Mail) { m.User, m.Password = "relay", "s3cret-pass" }

// steps are the places at which a server can go wrong, in their order, with what the
// error then says that the relay was doing.
var steps = []struct{ name, doing string }{
	{"greeting", "waiting for the greeting of the mail server: "},
	{"EHLO", "sending EHLO: "},
	{"STARTTLS", "securing the connection to the mail server with TLS: "},
	{"AUTH", "sending AUTH PLAIN: "},
	{"MAIL", "sending MAIL FROM:<relay@studio.example>: "},
	{"RCPT", "sending RCPT TO:<ann@studio.example>: "},
	{"DATA", "sending DATA: "},
	{"message", "sending the message: "},
}

// Wherever a server goes wrong, the attempt ends with a sentence that says where, and
// nothing is left behind.
func TestMailBroken(t *testing.T) {
	before := runtime.NumGoroutine()
	behaviours := []struct {
		name string
		// do is what the server does. The attempt may be ended by its caller then.
		do func(connection net.Conn, end func())
		// want is what the error says.
		want string
	}{
		{"closes", func(net.Conn, func()) {}, "the server closed the connection (EOF)"},
		{"resets", func(connection net.Conn, _ func()) {
			if tcp, ok := connection.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
		}, "the server closed the connection (connection reset by peer)"},
		{"stalls", func(connection net.Conn, end func()) {
			end()
			_, _ = io.Copy(io.Discard, connection)
		}, "context canceled"},
		{"drips", func(connection net.Conn, end func()) {
			for n := 0; ; n++ {
				if _, err := io.WriteString(connection, "2"); err != nil {
					return
				}
				if n == 50 {
					end()
				}
			}
		}, ""},
		{"speaks HTTP", func(connection net.Conn, _ func()) {
			_, _ = io.WriteString(connection, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, connection)
		}, `the server's answer is not SMTP (short response: "HTTP/1.1 400 Bad Request")`},
		{"speaks TLS", func(connection net.Conn, _ func()) {
			_, _ = io.WriteString(connection, "\x15\x03\x01\x00\x02\x02\x16\r\n")
			_, _ = io.Copy(io.Discard, connection)
		}, `this port speaks TLS from the start: write smtps://`},
		{"answers otherwise", func(connection net.Conn, _ func()) {
			_, _ = io.WriteString(connection, "399 what?\r\n")
			_, _ = io.Copy(io.Discard, connection)
		}, "the server's answer 399 what? does not belong here"},
		{"does not end a line", func(connection net.Conn, _ func()) { endless(connection, "x") }, "longer than 64 KiB"},
		{"does not end a reply", func(connection net.Conn, _ func()) { endless(connection, "250-more\r\n") }, "longer than 64 KiB"},
		{"does not end a refusal", func(connection net.Conn, _ func()) { endless(connection, "550-no\r\n") }, "longer than 64 KiB"},
	}
	for _, step := range steps {
		for _, b := range behaviours {
			if b.name == "answers otherwise" && step.name == "DATA" {
				continue // 3xx belongs there
			}
			if b.name == "answers otherwise" && step.name == "AUTH" {
				continue // go-mail takes it for a refusal
			}
			t.Run(step.name+" "+b.name, func(t *testing.T) {
				server := newMailServer(t)
				server.offers = []string{"AUTH PLAIN"}
				if step.name == "STARTTLS" {
					server.offers = []string{"STARTTLS"}
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				server.do[step.name] = func(connection net.Conn) { b.do(connection, cancel) }
				m := mailTo(server)
				if step.name == "AUTH" {
					login(m)
				}
				result := newSender(t).Current().Mail(ctx, m, time.Minute)
				server.idle(t)
				var failure *MailError
				if step.name == "greeting" && result.Err != nil && !errors.As(result.Err, &failure) && !result.Reached {
					return // It went wrong before the connection was known to be made.
				}
				if !errors.As(result.Err, &failure) || result.Status != 0 || failure.Permanent {
					t.Fatalf("got %+v", result)
				}
				if text := failure.Error(); !strings.HasPrefix(text, step.doing) || !strings.Contains(text, b.want) {
					t.Errorf("got %s", text)
				}
				// What the transaction has not begun with says nothing of this mail.
				began := slices.Contains([]string{"MAIL", "RCPT", "DATA", "message"}, step.name)
				if result.Reached != began {
					t.Errorf("reached is %t", result.Reached)
				}
				if may := strings.Contains(failure.Error(), "; it may have taken the mail"); may != (step.name == "message") {
					t.Errorf("got %s", failure)
				}
			})
		}
	}
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			var stacks bytes.Buffer
			buffer := make([]byte, 1<<20)
			stacks.Write(buffer[:runtime.Stack(buffer, true)])
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks.String())
		}
	}
}

// endless writes a text again and again until the other end closes the connection.
func endless(connection net.Conn, text string) {
	for block := strings.Repeat(text, 1000); ; {
		if _, err := io.WriteString(connection, block); err != nil {
			return
		}
	}
}

// A server that never answers costs no more than the timeout, wherever that ends.
func TestMailTimeout(t *testing.T) {
	for _, step := range steps[:2] {
		server := newMailServer(t)
		server.do[step.name] = func(connection net.Conn) { _, _ = io.Copy(io.Discard, connection) }
		result := newSender(t).Current().Mail(t.Context(), mailTo(server), 300*time.Millisecond)
		server.idle(t)
		if result.Err == nil || result.Reached {
			t.Fatalf("got %+v", result)
		}
		// On a slow machine the time may be over before the connection is made.
		if text := result.Err.Error(); !strings.Contains(text, "the server did not answer within the timeout of 300ms; if it needs longer, raise timeout") &&
			!errors.Is(result.Err, context.DeadlineExceeded) {
			t.Errorf("got %s", text)
		}
	}
}

// A server that stays silent after QUIT holds nothing up, and one that sends on
// after it has taken the mail changes nothing.
func TestMailIsTakenBeforeQuit(t *testing.T) {
	for name, do := range map[string]func(net.Conn){
		"silent":  func(connection net.Conn) { _, _ = io.Copy(io.Discard, connection) },
		"closes":  func(net.Conn) {},
		"endless": func(connection net.Conn) { endless(connection, "221-bye\r\n") },
	} {
		server := newMailServer(t)
		server.do["QUIT"] = do
		if result := post(t, mailTo(server)); result.Status != 250 || result.Err != nil {
			t.Errorf("%s: got %+v", name, result)
		}
		server.idle(t)
	}
}

// Another code of 2xx takes a command as well.
func TestMailOtherCodes(t *testing.T) {
	server := newMailServer(t)
	server.replies = map[string]string{"RCPT": "251 will be forwarded", "MAIL": "251 fine", "message": "251 taken"}
	if result := post(t, mailTo(server)); result.Status != 250 || result.Err != nil {
		t.Errorf("got %+v", result)
	}
}

// A server that refuses and hangs up while the message is being sent is heard.
func TestMailRefusedWhileItIsSent(t *testing.T) {
	server := newMailServer(t)
	server.do["DATA"] = func(connection net.Conn) {
		_, _ = io.WriteString(connection, "354 go ahead\r\n")
		_, _ = io.ReadFull(connection, make([]byte, 1000))
		_, _ = io.WriteString(connection, "552 5.3.4 too large\r\n")
		// What is unread would make the kernel discard the reply.
		_ = connection.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, connection)
	}
	m := mailTo(server)
	m.Text = strings.Repeat("words and more words\n", 200_000)
	result := post(t, m)
	if result.Status != 552 || result.Refused != "the message: 552 5.3.4 too large" {
		t.Errorf("got %+v", result)
	}
}

func TestMailTargets(t *testing.T) {
	server := newMailServer(t)
	sender := NewSender(mustTargets(t, "203.0.113.0/24"), nil)
	defer sender.Close()
	result := sender.Current().Mail(t.Context(), mailTo(server), time.Minute)
	var refused *TargetError
	if !errors.As(result.Err, &refused) || result.Reached {
		t.Errorf("got %+v", result)
	}
	if said := server.lines(""); len(said) > 0 {
		t.Errorf("said %q", said)
	}
}

func TestMailTLS(t *testing.T) {
	authority := newAuthority(t)
	_, _, certificateFile, keyFile := authority.issue("mail.test", &x509.Certificate{DNSNames: []string{"mail.test"}})
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	_, _, clientFile, clientKeyFile := authority.issue("relay.test", &x509.Certificate{})
	pool := x509.NewCertPool()
	pool.AddCert(authority.certificate)
	good := config.TLS{CAFiles: []string{authority.file}, ServerName: "mail.test"}
	withCertificate := good
	withCertificate.ClientCertificateFile, withCertificate.ClientCertificateKeyFile = clientFile, clientKeyFile
	cases := []struct {
		name     string
		startTLS config.StartTLS
		// offered and implicit say how the server speaks TLS, scheme how the relay does.
		offered, implicit bool
		scheme            string
		setting           *config.TLS
		clientAuth        tls.ClientAuthType
		// want is part of the error, empty for a mail that arrives, and secured says that
		// it arrives over TLS.
		want    string
		secured bool
	}{
		{"auto, offered", config.StartTLSAuto, true, false, "smtp", &good, 0, "", true},
		{"no setting, offered", "", true, false, "smtp", &good, 0, "", true},
		{"auto, not offered", config.StartTLSAuto, false, false, "smtp", &good, 0, "", false},
		{"off, offered", config.StartTLSOff, true, false, "smtp", &good, 0, "", false},
		{"required, offered", config.StartTLSRequired, true, false, "smtp", &good, 0, "", true},
		{"required, not offered", config.StartTLSRequired, false, false, "smtp", &good, 0, "the server does not offer STARTTLS; ", false},
		{"unknown authority", config.StartTLSAuto, true, false, "smtp", &config.TLS{ServerName: "mail.test"}, 0, "certificate signed by unknown authority", false},
		{"another name", config.StartTLSAuto, true, false, "smtp", &config.TLS{CAFiles: good.CAFiles}, 0, "cannot validate certificate for 127.0.0.1", false},
		{"no setting at all", config.StartTLSAuto, true, false, "smtp", nil, 0, "tls: failed to verify certificate", false},
		{"any certificate", config.StartTLSAuto, true, false, "smtp", &config.TLS{InsecureSkipVerify: true}, 0, "", true},
		{"pin", config.StartTLSAuto, true, false, "smtp", &config.TLS{Pins: []string{fmt.Sprintf("sha256:%x", sha256.Sum256(pair.Certificate[0]))}}, 0, "", true},
		{"another pin", config.StartTLSAuto, true, false, "smtp", &config.TLS{Pins: []string{"sha256:" + strings.Repeat("00", 32)}}, 0, "is not the pinned one", false},
		{"client certificate", config.StartTLSAuto, true, false, "smtp", &withCertificate, tls.RequireAndVerifyClientCert, "", true},
		{"no client certificate", config.StartTLSAuto, true, false, "smtp", &good, tls.RequireAndVerifyClientCert, "certificate required", false},
		{"from the start", config.StartTLSAuto, false, true, "smtps", &good, 0, "", true},
		{"from the start, off", config.StartTLSOff, false, true, "smtps", &good, 0, "", true},
		{"from the start, another name", config.StartTLSAuto, false, true, "smtps", &config.TLS{CAFiles: good.CAFiles}, 0, "cannot validate certificate for 127.0.0.1", false},
		{"smtps to a port without", config.StartTLSAuto, true, false, "smtps", &good, 0, "this port does not speak TLS from the start: write smtp://", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := newMailServer(t)
			server.tls = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: c.clientAuth, ClientCAs: pool}
			server.implicit = c.implicit
			if c.offered {
				server.offers = []string{"STARTTLS"}
			}
			m := mailTo(server)
			m.Server.Scheme, m.StartTLS = c.scheme, c.startTLS
			if c.setting != nil {
				m.TLS = readTLS(t, *c.setting)
			}
			result := post(t, m)
			server.idle(t)
			if c.want == "" {
				if result.Status != 250 || len(server.mails) != 1 || server.mails[0].tls != c.secured {
					t.Errorf("got %+v, %+v", result, server.mails)
				}
				return
			}
			if result.Err == nil || result.Reached || len(server.mails) > 0 ||
				!strings.Contains(result.Err.Error(), stepTLS.doing) || !strings.Contains(result.Err.Error(), c.want) {
				t.Errorf("got %+v", result)
			}
		})
	}
}

// What a server sends before TLS, behind its reply to STARTTLS, is not taken for what
// it says over TLS.
func TestMailStartTLSInjection(t *testing.T) {
	authority := newAuthority(t)
	_, _, certificateFile, keyFile := authority.issue("mail.test", &x509.Certificate{DNSNames: []string{"mail.test"}})
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	server := newMailServer(t)
	server.tls, server.offers = &tls.Config{Certificates: []tls.Certificate{pair}}, []string{"STARTTLS"}
	server.replies["STARTTLS"] = "220 go ahead\r\n250-false\r\n250 AUTH PLAIN"
	m := mailTo(server)
	m.TLS = readTLS(t, config.TLS{CAFiles: []string{authority.file}, ServerName: "mail.test"})
	login(m)
	result := post(t, m)
	if result.Err == nil || !strings.Contains(result.Err.Error(), "does not offer AUTH") || len(server.lines("AUTH")) > 0 {
		t.Errorf("got %+v", result)
	}
}

// elsewhere is a connection as if to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.168.1.20:25"))
}

// A password goes over an encrypted connection, to this machine, or where starttls off
// allows it. How it is proven depends on what the server offers.
func TestMailAuthentication(t *testing.T) {
	const cannotRead = "the server does not offer STARTTLS, so that the password would be sent unencrypted; "
	cases := []struct {
		name     string
		offers   []string
		remote   bool
		startTLS config.StartTLS
		// want is what is said, or part of the error.
		said, want string
	}{
		{"plain", []string{"AUTH LOGIN PLAIN CRAM-MD5"}, false, "", plainLogin("relay", "s3cret-pass"), ""},
		{"login", []string{"AUTH CRAM-MD5 LOGIN"}, false, "", "AUTH LOGIN", ""},
		{"digest", []string{"AUTH CRAM-MD5"}, false, "", "AUTH CRAM-MD5", ""},
		{"scram", []string{"AUTH CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"}, false, "", "AUTH SCRAM-SHA-256", ""},
		{"lower case", []string{"AUTH plain"}, false, "", plainLogin("relay", "s3cret-pass"), ""},
		{"unknown", []string{"AUTH GSSAPI NTLM"}, false, "", "", `the server offers "GSSAPI NTLM", and the relay knows PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5`},
		{"none", nil, false, "", "", "the server does not offer AUTH here; "},
		{"readable", []string{"AUTH PLAIN"}, true, config.StartTLSAuto, "", cannotRead},
		{"readable digest", []string{"AUTH CRAM-MD5"}, true, config.StartTLSAuto, "", cannotRead},
		{"off", []string{"AUTH PLAIN"}, true, config.StartTLSOff, plainLogin("relay", "s3cret-pass"), ""},
		{"off, better a digest", []string{"AUTH PLAIN LOGIN CRAM-MD5"}, true, config.StartTLSOff, "AUTH CRAM-MD5", ""},
		{"off, better scram", []string{"AUTH PLAIN CRAM-MD5 SCRAM-SHA-256"}, true, config.StartTLSOff, "AUTH SCRAM-SHA-256", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := newMailServer(t)
			server.offers = c.offers
			m := mailTo(server)
			login(m)
			m.StartTLS = c.startTLS
			connections := newSender(t).Current()
			if c.remote {
				connections = &Connections{dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					connection, err := new(net.Dialer).DialContext(ctx, network, address)
					return elsewhere{connection}, err
				}}
			}
			result := connections.Mail(t.Context(), m, time.Minute)
			server.idle(t)
			said := server.lines("AUTH")
			if c.want != "" {
				if result.Err == nil || !strings.Contains(result.Err.Error(), c.want) || len(said) > 0 || result.Reached {
					t.Errorf("got %+v, said %q", result, said)
				}
				return
			}
			if result.Status != 250 || !slices.Equal(said, []string{c.said}) {
				t.Errorf("got %+v, said %q", result, said)
			}
		})
	}
}

// A server cannot make the relay compute for long.
func TestMailIterations(t *testing.T) {
	a := scram{nil}
	for _, count := range []string{"2000001", "99999999999999999999", "x"} {
		if _, err := a.Next([]byte("r=abc,s=def,i="+count), true); err == nil || !strings.Contains(err.Error(), "iterations") {
			t.Errorf("%s: got %v", count, err)
		}
	}
}

// Secrets that a server repeats are masked, and so is the password in every form.
func TestMailIsMasked(t *testing.T) {
	server := newMailServer(t)
	server.offers = []string{"AUTH PLAIN"}
	m := mailTo(server)
	login(m)
	m.Masker = secret.New([]string{"t0ken-of-an-action"})
	_, encoded, _ := strings.Cut(plainLogin("relay", "s3cret-pass"), "PLAIN ")
	for _, step := range []string{"AUTH", "MAIL", "message"} {
		for _, reply := range []string{"550 t0ken-of-an-action s3cret-pass " + encoded, "299 t0ken-of-an-action s3cret-pass", "nonsense t0ken-of-an-action s3cret-pass " + encoded} {
			server.replies = map[string]string{step: reply}
			result := post(t, m)
			for _, text := range []string{result.Response, result.Refused, fmt.Sprint(result.Err)} {
				if strings.Contains(text, "t0ken") || strings.Contains(text, "s3cret") || strings.Contains(text, encoded) {
					t.Errorf("%s: got %s", step, text)
				}
			}
		}
	}
}

// Addresses with letters beyond ASCII need a server that takes them.
func TestMailInternational(t *testing.T) {
	for _, offered := range []bool{false, true} {
		server := newMailServer(t)
		if offered {
			server.offers = []string{"SMTPUTF8", "8BITMIME"}
		}
		m := mailTo(server)
		m.To = []mail.Address{{Address: "büro@müller.example"}}
		result := post(t, m)
		server.idle(t)
		var failure *MailError
		switch {
		case !offered && (!errors.As(result.Err, &failure) || !failure.Permanent || result.Reached):
			t.Errorf("got %+v", result)
		case offered && (result.Status != 250 || !slices.Equal(server.lines("MAIL"), []string{"MAIL FROM:<relay@studio.example> BODY=8BITMIME SMTPUTF8"}) ||
			!slices.Equal(server.lines("RCPT"), []string{"RCPT TO:<büro@xn--mller-kva.example>"})):
			t.Errorf("got %+v, said %q", result, server.lines(""))
		}
		// A domain can be written in ASCII, and then each server will do.
		m.To[0].Address = "office@müller.example"
		if result := post(t, m); result.Status != 250 || strings.Contains(strings.Join(server.lines("MAIL")[len(server.lines("MAIL"))-1:], ""), "SMTPUTF8") {
			t.Errorf("got %+v, said %q", result, server.lines("MAIL"))
		}
	}
}
