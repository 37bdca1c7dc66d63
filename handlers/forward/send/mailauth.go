package send

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// mechanism is a way to authenticate.
type mechanism struct {
	name string
	// shows says that it hands the password over. The others prove that the relay
	// knows it.
	shows bool
	make  func(user, password, host string) smtp.Auth
}

var mechanisms = []mechanism{
	{"PLAIN", true, func(user, password, host string) smtp.Auth {
		return smtp.PlainAuth("", user, password, host, true)
	}},
	{"LOGIN", true, func(user, password, host string) smtp.Auth { return smtp.LoginAuth(user, password, host, true) }},
	{"SCRAM-SHA-256", false, func(user, password, _ string) smtp.Auth { return scram{smtp.ScramSHA256Auth(user, password)} }},
	{"SCRAM-SHA-1", false, func(user, password, _ string) smtp.Auth { return scram{smtp.ScramSHA1Auth(user, password)} }},
	{"CRAM-MD5", false, func(user, password, _ string) smtp.Auth { return smtp.CRAMMD5Auth(user, password) }},
}

// authenticate proves who the relay is, if it has a user and a password. It does not
// over a connection that others can read, unless starttls off says that none can:
// an attacker between the two could take STARTTLS out of what the server offers and read
// the password.
func (s *session) authenticate() error {
	if s.mail.User == "" && s.mail.Password == "" {
		return nil
	}
	local := isLoopback(s.connection.RemoteAddr().String())
	failure := &MailError{Doing: "authenticating at the mail server"}
	if !s.encrypted && !local && s.mail.StartTLS != config.StartTLSOff {
		failure.Err = errors.New("the server does not offer STARTTLS, so that the password would be sent unencrypted")
		failure.Remedy = "write smtps:// if it has a port for that; write starttls off if the network in between can be trusted with the password; or remove auth"
		return failure
	}
	known, offer := s.client.Extension("AUTH")
	if !known {
		failure.Err = errors.New("the server does not offer AUTH here")
		failure.Remedy = "remove auth if it needs none; else look at the port (587 is the usual one for users with a password)"
		if !s.encrypted {
			failure.Remedy += ", or let it use TLS: many servers offer AUTH only then"
		}
		return failure
	}
	offered := strings.Fields(strings.ToUpper(offer))
	// Over TLS the plain way comes first, because it works with every store of
	// passwords, and the server is known to be the right one.
	ways := slices.Clone(mechanisms)
	if !s.encrypted && !local {
		slices.SortStableFunc(ways, func(a, b mechanism) int {
			switch {
			case a.shows == b.shows:
				return 0
			case b.shows:
				return -1
			}
			return 1
		})
	}
	for _, way := range ways {
		if slices.Contains(offered, way.name) {
			s.step = stepOf("AUTH " + way.name)
			return s.client.Auth(way.make(s.mail.User, s.mail.Password, s.host))
		}
	}
	var names []string
	for _, way := range mechanisms {
		names = append(names, way.name)
	}
	failure.Err = fmt.Errorf("the server offers %.200q, and the relay knows %s", offer, strings.Join(names, ", "))
	return failure
}

func isLoopback(hostPort string) bool {
	address, err := netip.ParseAddrPort(hostPort)
	return err == nil && address.Addr().Unmap().IsLoopback()
}

// mostIterations bounds how long a server can make the relay compute. No context ends
// that. Servers ask for 4,096 to some 600,000.
const mostIterations = 2_000_000

// scram is SCRAM with a bound of its iterations.
type scram struct{ smtp.Auth }

// Next refuses too many iterations and answers other challenges.
func (a scram) Next(challenge []byte, more bool) ([]byte, error) {
	for part := range bytes.SplitSeq(challenge, []byte(",")) {
		digits, found := bytes.CutPrefix(part, []byte("i="))
		if n, err := strconv.Atoi(string(digits)); found && (err != nil || n > mostIterations) {
			return nil, fmt.Errorf("the server asks for %.20q iterations of SCRAM, more than %d", digits, mostIterations)
		}
	}
	return a.Auth.Next(challenge, more)
}
