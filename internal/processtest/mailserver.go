package processtest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

//go:embed mailserver.py
var mailServer string

// MailServer is a real mail server, aiosmtpd of Debian, that wants TLS and then a user
// with a password.
type MailServer struct {
	// STARTTLS and Implicit are the addresses where it speaks TLS after STARTTLS, and
	// from the start.
	STARTTLS, Implicit string

	t       *testing.T
	process *Process
}

// TakenMail is a mail that a MailServer has taken.
type TakenMail struct {
	From string
	To   []string
	Text string
	// TLS says that it came over TLS, and User who sent it.
	TLS  bool
	User string
}

// StartMailServer starts a mail server with a certificate, for one user, until the
// test ends. The options are those of mailserver.py. Without aiosmtpd the test is
// skipped, unless EVENT_RELAY_MAIL names the Python that has it: then the test fails.
func StartMailServer(t *testing.T, certificateFile, keyFile, user, password string, options ...string) *MailServer {
	t.Helper()
	python := os.Getenv("EVENT_RELAY_MAIL")
	if python == "" {
		// That of Debian, which Debian's aiosmtpd belongs to.
		if python = "/usr/bin/python3"; exec.Command(python, "-c", "import aiosmtpd").Run() != nil {
			t.Skip("there is no mail server; install python3-aiosmtpd, or name a Python that has aiosmtpd in EVENT_RELAY_MAIL")
		}
	}
	arguments := append([]string{"-c", mailServer, "--certificate", certificateFile, "--key", keyFile, "--user", user, "--password", password}, options...)
	s := &MailServer{t: t, process: Start(t, exec.Command(python, arguments...))}
	s.process.Ready("listening ")
	var ports [2]int
	for line := range s.said("listening") {
		if err := json.Unmarshal([]byte(line), &ports); err != nil {
			t.Fatalf("reading %q: %v", line, err)
		}
	}
	s.STARTTLS, s.Implicit = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	return s
}

// said returns what the server has said about a kind of thing, line by line.
func (s *MailServer) said(kind string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(s.process.Output.String()) {
			if rest, found := strings.CutPrefix(line, kind+" "); found && strings.HasSuffix(line, "\n") && !yield(rest) {
				return
			}
		}
	}
}

// Mails waits until the server has taken so many mails, and returns them, also those
// that it has not confirmed. It fails the test if there are more.
func (s *MailServer) Mails(want int) (all []TakenMail) {
	s.t.Helper()
	WaitFor(s.t, fmt.Sprintf("%d mails to arrive", want), func() bool {
		all = s.mails()
		return len(all) >= want
	})
	if len(all) > want {
		s.t.Fatalf("%d mails have arrived instead of %d: %+v", len(all), want, all)
	}
	return all
}

func (s *MailServer) mails() (all []TakenMail) {
	s.t.Helper()
	for line := range s.said("mail") {
		var taken TakenMail
		if err := json.Unmarshal([]byte(line), &taken); err != nil {
			s.t.Fatalf("reading %q: %v", line, err)
		}
		all = append(all, taken)
	}
	return all
}

// Greylisted returns how many recipients the server has refused for now.
func (s *MailServer) Greylisted() (n int) {
	for range s.said("greylisted") {
		n++
	}
	return n
}
