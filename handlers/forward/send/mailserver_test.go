package send

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// mailServer is a mail server that does as a test says.
type mailServer struct {
	address string
	// replies are the replies to what it is named by: greeting, EHLO, STARTTLS, AUTH,
	// MAIL, RCPT (or RCPT and the address), DATA, message, QUIT. What is not named gets
	// the usual reply.
	replies map[string]string
	// do is called in place of a reply, and ends the conversation.
	do map[string]func(net.Conn)
	// offers are the lines of the reply to EHLO.
	offers []string
	// tls secures connections: from the start if implicit is set, else after STARTTLS.
	tls      *tls.Config
	implicit bool

	mu sync.Mutex
	// open counts the conversations. It is no WaitGroup: one may begin while a test
	// waits for none.
	open int
	// said are the lines of all clients, and mails what was taken.
	said  []string
	mails []takenMail
}

type takenMail struct {
	from string
	to   []string
	text string
	tls  bool
}

// newMailServer starts a server. What it does can be changed until it is used.
func newMailServer(t testing.TB) *mailServer {
	t.Helper()
	s := &mailServer{replies: map[string]string{}, do: map[string]func(net.Conn){}}
	s.address = listen(t, func(connection net.Conn) {
		s.count(1)
		defer s.count(-1)
		defer connection.Close()
		s.talk(connection)
	})
	return s
}

// count counts a conversation that begins or ends, and returns how many there are.
func (s *mailServer) count(more int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += more
	return s.open
}

// talk has one conversation.
func (s *mailServer) talk(connection net.Conn) {
	secured := s.implicit
	if secured {
		connection = tls.Server(connection, s.tls)
	}
	var lines *bufio.Reader
	reader := func() { lines = bufio.NewReader(connection) }
	reader()
	var now takenMail
	// reply answers, and reports whether the conversation goes on.
	reply := func(step, usual string) bool {
		if do := s.do[step]; do != nil {
			do(connection)
			return false
		}
		if other, ok := s.replies[step]; ok {
			usual = other
		}
		_, err := io.WriteString(connection, usual+"\r\n")
		return err == nil && usual[0] < '4'
	}
	if !reply("greeting", "220 studio.test") {
		return
	}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		s.mu.Lock()
		s.said = append(s.said, line)
		s.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "EHLO":
			usual := "250-studio.test"
			for _, offer := range s.offers {
				if offer != "STARTTLS" || !secured {
					usual += "\r\n250-" + offer
				}
			}
			reply(verb, usual+"\r\n250 HELP")
		case "STARTTLS":
			if !reply(verb, "220 go ahead") {
				break
			}
			connection, secured = tls.Server(connection, s.tls), true
			reader()
		case "AUTH":
			reply(verb, "235 welcome")
		case "MAIL":
			now = takenMail{tls: secured, from: rest}
			reply(verb, "250 ok")
		case "RCPT":
			if reply(strings.TrimSpace(verb+" "+s.replyTo(rest)), "250 ok") {
				now.to = append(now.to, rest)
			}
		case "DATA":
			if !reply(verb, "354 go ahead") {
				break
			}
			text, err := readDots(lines)
			if err != nil {
				return
			}
			now.text = text
			s.mu.Lock()
			s.mails = append(s.mails, now)
			s.mu.Unlock()
			if !reply("message", "250 2.0.0 queued as 1") && s.do["message"] != nil {
				return
			}
		case "QUIT":
			reply(verb, "221 bye")
			return
		default:
			_, _ = io.WriteString(connection, "502 what?\r\n")
		}
		if s.do[verb] != nil {
			return
		}
	}
}

// replyTo returns which recipient has a reply of its own.
func (s *mailServer) replyTo(rest string) string {
	if _, own := s.replies["RCPT "+rest]; own {
		return rest
	}
	return ""
}

// readDots reads a message up to the line that is a dot.
func readDots(lines *bufio.Reader) (string, error) {
	var text strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" {
			return text.String(), nil
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
}

// idle waits until all conversations have ended: no connection is left.
func (s *mailServer) idle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); s.count(0) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a connection is still open")
		}
	}
}

// lines returns what clients said, from a line that begins so.
func (s *mailServer) lines(prefix string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.said {
		if strings.HasPrefix(line, prefix) {
			all = append(all, line)
		}
	}
	return all
}

// mailTo returns a mail for a server.
func mailTo(s *mailServer) *Mail {
	return &Mail{
		Server: Target{"smtp", s.address}, StartTLS: config.StartTLSAuto,
		From: mail.Address{Name: "Event Relay", Address: "relay@studio.example"},
		To:   []mail.Address{{Address: "ann@studio.example"}},
		ID:   "0198-1", Event: "0198-0", Subject: "Hello", Text: "Good morning\n",
	}
}

// post sends a mail.
func post(t testing.TB, m *Mail) Result {
	t.Helper()
	return newSender(t).Current().Mail(t.Context(), m, time.Minute)
}

// plainLogin returns what AUTH PLAIN says.
func plainLogin(user, password string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}
