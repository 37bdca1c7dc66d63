package forward

import (
	"context"
	"errors"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
)

// smtpProtocol is that of actions that send a mail.
type smtpProtocol struct{}

// refused goes by the first digit of the reply: 4 is for now, 5 is for good (RFC 5321,
// 4.2.1).
func (smtpProtocol) refused(result send.Result) (reason string, retry bool) {
	return "the mail server refused " + result.Refused, result.Status/100 == 4
}

func (smtpProtocol) unanswered(p *Prepared, result send.Result) string {
	var known *send.MailError
	switch err := result.Err; {
	case errors.As(err, &known):
		return printable(known.Error()) + remedyTLS(err)
	case errors.Is(err, context.DeadlineExceeded):
		return noConnection(p)
	default:
		return notConnected(err)
	}
}
