package send

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

const (
	// mostReply bounds a reply of a mail server with what TLS adds, in bytes.
	mostReply = 64 << 10
	// quitWithin is how long a server may take to say good-bye. All that matters has
	// been said by then.
	quitWithin = time.Second
)

// MailError says why a mail was neither taken nor refused, as a sentence for an
// administrator.
type MailError struct {
	// Doing is what the relay did, such as "sending RCPT TO:<a@studio.example>".
	Doing string
	// Err is what went wrong.
	Err error
	// Remedy says what to do, empty where that is not known.
	Remedy string
	// Permanent says that no further attempt can end otherwise.
	Permanent bool
}

// Error says what the relay did, what went wrong, and what to do.
func (e *MailError) Error() string {
	text := e.Doing + ": " + e.Err.Error()
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap returns what went wrong.
func (e *MailError) Unwrap() error { return e.Err }

// Mail sends a mail to its server, on a connection of its own, within a time-out. If
// the server refuses the sender or any recipient, it gets no message, so that no
// recipient is left out unnoticed. Of an error, Reached says that the server had been
// told of the mail; the error itself says if the server may have taken it.
func (c *Connections) Mail(ctx context.Context, m *Mail, timeout time.Duration) Result {
	message, err := m.compose(time.Now())
	if err != nil {
		return Result{Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address := m.Server.WithPort().Host
	connection, err := c.dial(ctx, "tcp", address)
	if err != nil {
		// Which of the two came first is a matter of microseconds.
		return Result{Err: cmp.Or(ctx.Err(), err)}
	}
	defer func() { _ = connection.Close() }()
	// Whatever is being read or written when ctx ends, ends too.
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	s := &session{mail: m, message: message, masker: m.Masker.And(m.Password), timeout: timeout, connection: &bounded{Conn: connection}}
	s.host, s.port, _ = net.SplitHostPort(address)
	if err := s.send(ctx); err != nil {
		s.fail(ctx, err)
	}
	return s.result
}

// bounded is a connection whose other end may send so much after each write and no
// more.
type bounded struct {
	net.Conn
	read int
}

var errEndless = fmt.Errorf("the answer of the mail server is longer than %d KiB", mostReply>>10)

// Read fails when the other end has sent too much.
func (b *bounded) Read(p []byte) (int, error) {
	if b.read >= mostReply {
		return 0, errEndless
	}
	n, err := b.Conn.Read(p[:min(len(p), mostReply-b.read)])
	b.read += n
	return n, err
}

// Write begins a new count of what is read.
func (b *bounded) Write(p []byte) (int, error) {
	b.read = 0
	return b.Conn.Write(p)
}

// session is the conversation with a mail server about one mail.
type session struct {
	mail       *Mail
	message    *message
	masker     *secret.Masker
	timeout    time.Duration
	connection net.Conn
	host, port string
	client     *smtp.Client
	encrypted  bool
	step       step
	// sent says that all of the message may have been sent.
	sent   bool
	result Result
}

// step is a part of the conversation: what the relay does, and what a server refuses
// that refuses it.
type step struct{ doing, refused string }

var (
	stepGreeting = step{"waiting for the greeting of the mail server", "the connection"}
	stepTLS      = step{"securing the connection to the mail server with TLS", "STARTTLS"}
	stepMessage  = step{"sending the message", "the message"}
)

func stepOf(command string) step { return step{"sending " + command, command} }

// send says to the server what there is to say, and returns why that came to no good
// end.
func (s *session) send(ctx context.Context) error {
	if err := s.greet(ctx); err != nil {
		return err
	}
	err := s.transfer()
	if err == nil || s.refusal(err) != nil {
		// Not after another error: QUIT could end a message that is not whole.
		_ = s.connection.SetDeadline(time.Now().Add(quitWithin))
		_ = s.client.Quit()
	}
	return err
}

// greet connects as far as the protocol, with TLS and authentication.
func (s *session) greet(ctx context.Context) (err error) {
	stream := s.connection
	if s.mail.Server.Scheme == "smtps" {
		s.step, s.encrypted = stepTLS, true
		secured := tls.Client(stream, s.tls())
		if err := secured.HandshakeContext(ctx); err != nil {
			return err
		}
		stream = secured
	}
	s.step = stepGreeting
	if s.client, err = smtp.NewClient(stream, s.host); err != nil {
		return err
	}
	s.client.ErrorHandlerRegistry.SetDefaultHandler(s)
	s.step = stepOf("EHLO")
	if err := s.client.Hello(greeting(s.connection.LocalAddr())); err != nil {
		return err
	}
	if err := s.startTLS(); err != nil {
		return err
	}
	return s.authenticate()
}

// greeting returns the name that the relay greets with: that of the machine if it
// has a domain, since servers refuse others, or else its address (RFC 5321, 4.1.4).
func greeting(local net.Addr) string {
	name, err := os.Hostname()
	if err == nil && strings.Contains(name, ".") && isHostName(name) && isASCII(name) {
		return name
	}
	address, err := netip.ParseAddrPort(local.String())
	switch ip := address.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "localhost"
	case ip.Is4():
		return "[" + ip.String() + "]"
	default:
		return "[IPv6:" + ip.String() + "]"
	}
}

func (s *session) tls() *tls.Config {
	connection := new(tls.Config)
	if s.mail.TLS != nil {
		connection = s.mail.TLS.config.Clone()
	}
	connection.ServerName = cmp.Or(connection.ServerName, s.host)
	return connection
}

func (s *session) startTLS() error {
	if s.encrypted || s.mail.StartTLS == config.StartTLSOff {
		return nil
	}
	s.step = stepTLS
	if offered, _ := s.client.Extension("STARTTLS"); !offered {
		if s.mail.StartTLS != config.StartTLSRequired {
			return nil
		}
		return &MailError{Doing: s.step.doing, Err: errors.New("the server does not offer STARTTLS"),
			Remedy: "if it takes TLS on a port of its own, write smtps:// with that port; if the network in between may read the mail, remove starttls required"}
	}
	s.encrypted = true
	return s.client.StartTLS(s.tls())
}

// transfer hands the message over.
func (s *session) transfer() error {
	if offered, _ := s.client.Extension("SMTPUTF8"); !offered && s.message.international {
		return &MailError{Doing: "sending the mail", Permanent: true,
			Err:    errors.New("an address has letters before its @ that are not ASCII, and the mail server takes no such address (SMTPUTF8)"),
			Remedy: "write an address in ASCII"}
	}
	s.client.SkipSMTPUTF8(!s.message.international)
	// Some servers hang up at a sender or a recipient that they do not like. So from
	// here on a failure says nothing about other mails, and the attempt counts.
	s.result.Reached = true
	s.step = stepOf("MAIL FROM:" + s.message.from)
	if err := taken(s.client.Mail(s.message.from)); err != nil {
		return err
	}
	if err := s.recipients(); err != nil {
		return err
	}
	s.step = stepOf("DATA")
	data, err := s.client.Data()
	if err != nil {
		return err
	}
	s.step = stepMessage
	_, broken := data.Write(s.message.text)
	s.sent = broken == nil
	// This sends the final dot. After an error nothing more is sent, but the server
	// may have said why it hung up.
	err = taken(data.Close())
	if broken != nil && s.refusal(err) == nil {
		return broken
	}
	if err != nil {
		return err
	}
	s.result = Result{Status: 250}
	if said, ok := data.(*smtp.DataCloser); ok {
		s.result.Response = s.masked(said.ServerResponse(), responseKept)
	}
	return nil
}

// recipients names all recipients. If any is refused, the error tells of each that
// was.
func (s *session) recipients() error {
	var all *refusal
	for _, to := range s.message.to {
		s.step = stepOf("RCPT TO:" + to)
		err := taken(s.client.Rcpt(to))
		if err == nil {
			continue
		}
		refused := s.refusal(err)
		switch {
		case refused == nil && all == nil:
			return err
		case refused == nil:
			return all
		case all == nil:
			all = refused
		case all.code < 500 && refused.code >= 500:
			// What is refused for good will not be taken later.
			all = &refusal{refused.code, refused.reply, append(all.commands, refused.commands...)}
		default:
			all.commands = append(all.commands, refused.commands...)
		}
		if refused.code == 421 {
			// The server is about to close the connection.
			break
		}
	}
	if all == nil {
		return nil
	}
	return all
}

// taken returns nil for a reply that takes a command, if with another code than the
// usual one.
func taken(err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) && reply.Code/100 == 2 {
		return nil
	}
	return err
}

// refusal is a reply that refuses a command, or several such.
type refusal struct {
	// code and reply are those of the reply that decides.
	code  int
	reply string
	// commands are the commands that were refused, each with its reply.
	commands []string
}

// Error lists the commands.
func (r *refusal) Error() string { return strings.Join(r.commands, "; ") }

// refusal returns what an error refuses, nil for none.
func (s *session) refusal(err error) *refusal {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused
	}
	var reply *textproto.Error
	if !errors.As(err, &reply) || reply.Code < 400 || reply.Code > 599 {
		return nil
	}
	command := fmt.Sprintf("%s: %d %s", s.step.refused, reply.Code, escape.OneLine(s.masked(reply.Msg, 300)))
	switch {
	case reply.Code == 530 && !s.encrypted && strings.Contains(strings.ToUpper(reply.Msg), "STARTTLS"):
		command += "; it wants TLS first: remove starttls off"
	case reply.Code == 530 && s.mail.User == "":
		command += "; it wants a user and a password: write auth basic USER PASSWORD"
	case reply.Code == 535:
		command += "; compare the user and the password in auth basic with what the server knows"
	}
	return &refusal{reply.Code, reply.Msg, []string{command}}
}

// masked returns a text of the server without secrets, at most limit bytes of it.
func (s *session) masked(text string, limit int) string { return s.masker.MaskTo(text, limit) }

// fail makes the result of what came to no good end.
func (s *session) fail(ctx context.Context, err error) {
	if refused := s.refusal(err); refused != nil {
		s.result = Result{Status: refused.code, Response: s.masked(refused.reply, responseKept), Refused: s.masked(refused.Error(), 1024)}
		return
	}
	var known *MailError
	if errors.As(err, &known) {
		s.result.Err = known
		return
	}
	failure := &MailError{Doing: s.step.doing, Err: err}
	s.result.Err = failure
	var reply *textproto.Error
	var noAnswer textproto.ProtocolError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		failure.Err = fmt.Errorf("the server did not answer within the timeout of %s", s.timeout)
		failure.Remedy = "if it needs longer, raise timeout"
		if s.step == stepGreeting && !s.encrypted && s.port == "465" {
			failure.Remedy = "on port 465 servers speak TLS from the start: write smtps://"
		}
	case ctx.Err() != nil:
		failure.Err = ctx.Err()
	case errors.As(err, &reply):
		failure.Err = fmt.Errorf("the server's answer %d %s does not belong here", reply.Code, escape.OneLine(s.masked(reply.Msg, 300)))
	case errors.As(err, &noAnswer):
		failure.Err = fmt.Errorf("the server's answer is not SMTP (%s)", escape.OneLine(s.masked(string(noAnswer), 300)))
		if strings.Contains(string(noAnswer), `"\x15\x03`) {
			failure.Remedy = "this port speaks TLS from the start: write smtps://"
		}
	case errors.As(err, &noTLS) && s.mail.Server.Scheme == "smtps":
		failure.Remedy = "this port does not speak TLS from the start: write smtp://, which uses STARTTLS where the server offers it"
	default:
		for _, hangUp := range hangUps {
			if errors.Is(err, hangUp) {
				failure.Err = fmt.Errorf("the server closed the connection (%w)", hangUp)
			}
		}
	}
	if s.sent {
		failure.Err = fmt.Errorf("%w; it may have taken the mail", failure.Err)
	}
}

// hangUps are the errors of a connection that the other end has closed.
var hangUps = []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE}

// HandleError is called by the client after each command that did not go well. It
// closes the connection where the client would go on to no purpose: after what is no
// reply, and after one to EHLO that is no reason to try HELO.
func (s *session) HandleError(_, command string, _ *textproto.Conn, err error) error {
	var reply *textproto.Error
	if !errors.As(err, &reply) || command == "ehlo" && reply.Code < 500 {
		_ = s.connection.Close()
	}
	return err
}
