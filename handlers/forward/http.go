package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
)

// httpProtocol is that of actions that send a request.
type httpProtocol struct{}

func (httpProtocol) refused(result send.Result) (reason string, retry bool) {
	reason = fmt.Sprintf("the target answered %d", result.Status)
	if text := http.StatusText(result.Status); text != "" {
		reason += " " + text
	}
	switch status := result.Status; {
	case status/100 == 3 && result.Location != "":
		return reason + ", which points to " + result.Location + "; redirects are not followed", false
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		return reason, true
	}
	return reason, false
}

func (h httpProtocol) unanswered(p *Prepared, result send.Result) string {
	switch err := result.Err; {
	case result.Reached:
		return h.reached(p, result)
	case errors.Is(err, context.DeadlineExceeded):
		return noConnection(p)
	default:
		return notConnected(err)
	}
}

// reached says what came of a request that the target may have carried out, and
// which setting to look at.
func (httpProtocol) reached(p *Prepared, result send.Result) string {
	const done = "; it may have carried out the request"
	text, once := result.Err.Error(), ""
	if p.action.RetryFor > 0 {
		once = " (if it must not be asked twice, set retry_for off)"
	}
	switch {
	case errors.Is(result.Err, context.DeadlineExceeded) && result.Answering:
		return fmt.Sprintf("the target began to answer and did not get to the end of the headers within the timeout of %s%s (if it needs longer, raise timeout)", p.action.Timeout, done)
	case errors.Is(result.Err, context.DeadlineExceeded):
		return fmt.Sprintf("the target was reached and did not answer within the timeout of %s%s (if it needs longer, raise timeout)", p.action.Timeout, done)
	case !result.Answering && isHangUp(result.Err):
		return "the target closed the connection without an answer (" + printable(text) + ")" + done + once
	case strings.Contains(text, "response headers exceeded"):
		return fmt.Sprintf("the headers of the target's answer are larger than %d KiB, more than the relay reads%s", send.MaxHeader>>10, done+once)
	case strings.Contains(text, `malformed HTTP response "\x15\x03`):
		return "the target answered an http request in TLS (" + printable(text) + "). Write https:// in the URL"
	}
	text = strings.TrimPrefix(text, "net/http: HTTP/1.x transport connection broken: ")
	return "the target's answer is not valid HTTP (" + printable(text) + ")" + done + once
}

// isHangUp reports whether an error means that the other end closed the
// connection.
func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.Contains(err.Error(), "server closed idle connection")
}
