package forward

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// longestRetryAfter bounds what a target may ask for, unless the action's own
// cap is longer.
const longestRetryAfter = time.Hour

// verdict is what an attempt means for its delivery.
type verdict struct {
	state queue.State
	// again is when a pending delivery is tried next.
	again time.Time
	// reason is a sentence for an administrator, empty when all went well.
	reason string
}

// judge decides what an attempt means: delivered, failed for good, or tried again.
// attempts counts this attempt too, and first is when the first of them began. If
// the target is down, next is when its next probe may begin, and the delivery is
// tried then. If next is zero, the target is up, and random, 0 ≤ random < 1, spreads
// the retries.
func (p *Prepared) judge(result send.Result, attempts int, first, now, next time.Time, random float64) verdict {
	if p.success.Has(result.Status) {
		return verdict{state: queue.Delivered}
	}
	reason, retry := p.explain(result)
	if !retry {
		return verdict{state: queue.Failed, reason: reason}
	}
	if p.action.RetryFor < 0 {
		return verdict{state: queue.Failed, reason: reason + "; retry_for is off"}
	}
	interval := p.action.RetryInterval
	pause := backoff(interval, attempts, random)
	// The target means a time by its own clock, which need not agree with this one.
	if asked, ok := retryAfter(result.RetryAfter, cmp.Or(result.Date, now)); ok {
		pause = max(pause, min(asked, max(time.Duration(interval.Cap), longestRetryAfter)))
	}
	again, end := now.Add(pause), first.Add(time.Duration(p.action.RetryFor))
	if !next.IsZero() {
		again = next
	}
	if again.After(end) {
		// The last attempt is made right at the end, unless that would follow
		// this one too closely.
		if end.Sub(now) < time.Duration(interval.First) {
			return verdict{state: queue.Failed, reason: fmt.Sprintf("%s; given up after %s, as retry_for says", reason, attemptCount(attempts))}
		}
		again = end
	}
	return verdict{state: queue.Pending, again: again, reason: reason}
}

// judgeUnreached decides about a delivery whose target could not be connected to, so
// that it cannot have carried out the request. next is when the next probe of the
// target may begin, and spent how much of retry_for has been used before the outage.
func (p *Prepared) judgeUnreached(result send.Result, attempts int, spent time.Duration, next time.Time) verdict {
	reason, _ := p.explain(result)
	switch {
	case p.action.RetryFor < 0:
		return verdict{state: queue.Failed, reason: reason + "; retry_for is off"}
	case spent >= time.Duration(p.action.RetryFor):
		return verdict{state: queue.Failed, reason: fmt.Sprintf("%s; given up after %s, as retry_for says", reason, attemptCount(attempts))}
	}
	return verdict{state: queue.Pending, again: next, reason: reason + "; until it can be reached, one delivery at a time is tried, and retry_for stands still"}
}

// mayPass reports whether an error may go away by itself. That a target is not among
// those that may be called stays so, and so does what is wrong with a mail. Neither
// opens the circuit of the target.
func mayPass(err error) bool {
	var refused *send.TargetError
	var mail *send.MailError
	return !errors.As(err, &refused) && !(errors.As(err, &mail) && mail.Permanent)
}

func attemptCount(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// protocol is what differs between requests and mails in what an attempt means.
type protocol interface {
	// refused says what is wrong with an answer that is no success, and whether it may
	// go well another time.
	refused(result send.Result) (reason string, retry bool)

	// unanswered says what went wrong with an attempt that got no proper answer.
	unanswered(p *Prepared, result send.Result) string
}

// explain says what went wrong, and whether it may go well another time.
func (p *Prepared) explain(result send.Result) (reason string, retry bool) {
	if result.Err == nil {
		return p.protocol.refused(result)
	}
	var refused *send.TargetError
	if errors.As(result.Err, &refused) {
		return p.masked(refused.Error()), false
	}
	return p.masked(p.protocol.unanswered(p, result)), mayPass(result.Err)
}

// noConnection and notConnected say that a target could not be connected to.
func noConnection(p *Prepared) string {
	return fmt.Sprintf("no connection to the target came about within the timeout of %s", p.action.Timeout)
}

func notConnected(err error) string {
	return "connecting to the target: " + printable(err.Error()) + remedyTLS(err)
}

// remedyTLS names the setting for what old appliances offer.
func remedyTLS(err error) string {
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused) && len(refused.UnverifiedCertificates) > 0:
		return fmt.Sprintf("; to accept this certificate alone, compare its fingerprint with what the target itself shows and write tls_pin sha256:%x",
			sha256.Sum256(refused.UnverifiedCertificates[0].Raw))
	case strings.Contains(err.Error(), "protocol version not supported"):
		return "; if the target speaks only an old version of TLS, write tls_protocols tls1.0"
	}
	return ""
}

// printable escapes control characters and what is not UTF-8: errors of net/http
// repeat what the target sent, and a terminal would obey it.
func printable(text string) string {
	quoted := strconv.QuoteToGraphic(text)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}

// backoff returns the pause after a number of attempts: a random one between the
// first pause and a bound, which doubles with each attempt up to the cap. Without
// that jitter all waiting deliveries would be sent at once after an outage.
func backoff(interval *config.RetryInterval, attempts int, random float64) time.Duration {
	first, limit := time.Duration(interval.First), time.Duration(interval.Cap)
	bound := first
	for range attempts {
		if bound >= limit/2 {
			bound = limit
			break
		}
		bound *= 2
	}
	return first + time.Duration(random*float64(bound-first))
}

// retryAfter reads a Retry-After header: seconds or a date. What is neither, or
// lies in the past, asks for nothing.
func retryAfter(text string, now time.Time) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds > 0) {
			return 0, false
		}
		return time.Duration(min(seconds, 1e6) * float64(time.Second)), true
	}
	at, err := http.ParseTime(text)
	if err != nil || !at.After(now) {
		return 0, false
	}
	return at.Sub(now), true
}
