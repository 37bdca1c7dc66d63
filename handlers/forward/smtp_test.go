package forward

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

func aMail() config.Action {
	return config.Action{Mail: &config.Mail{Server: "mail.lan", From: "relay@studio.example", To: []string{"anna@studio.example"}, Subject: "s", Text: "t"}}
}

// What a mail server says, or does not, decides what becomes of a delivery.
func TestJudgeMail(t *testing.T) {
	p := prepare(t, aMail())
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	lost := errors.New("the server closed the connection (EOF)")
	for _, c := range []struct {
		name   string
		result send.Result
		want   queue.State
		reason string
	}{
		{"taken", send.Result{Status: 250}, queue.Delivered, ""},
		{"taken otherwise", send.Result{Status: 251}, queue.Delivered, ""},
		{"greylisted", send.Result{Status: 451, Refused: "RCPT TO:<a@b.example>: 451 4.7.1 later"}, queue.Pending, "the mail server refused RCPT TO:<a@b.example>: 451 4.7.1 later"},
		{"busy", send.Result{Status: 421, Refused: "the connection: 421 busy"}, queue.Pending, "the mail server refused the connection: 421 busy"},
		{"unknown", send.Result{Status: 550, Refused: "RCPT TO:<a@b.example>: 550 unknown"}, queue.Failed, "the mail server refused RCPT TO:<a@b.example>: 550 unknown"},
		// Of HTTP these are retried.
		{"refused for good", send.Result{Status: 503, Refused: "DATA: 503 bad sequence"}, queue.Failed, "503 bad sequence"},
		{"no password", send.Result{Status: 535, Refused: "AUTH PLAIN: 535 no"}, queue.Failed, "535 no"},
		{"hung up", send.Result{Err: &send.MailError{Doing: "sending the message", Err: lost, Remedy: "x"}, Reached: true}, queue.Pending, "sending the message: the server closed the connection (EOF); x"},
		{"cannot be written", send.Result{Err: &send.MailError{Doing: "writing the mail", Err: errors.New("no"), Permanent: true}}, queue.Failed, "writing the mail: no"},
		{"no connection", send.Result{Err: errors.New("dial tcp: connection refused")}, queue.Pending, "connecting to the target: dial tcp: connection refused"},
		{"no time", send.Result{Err: context.DeadlineExceeded}, queue.Pending, "no connection to the target came about within the timeout of 10s"},
		{"not allowed", send.Result{Err: &send.TargetError{Host: "h", Reason: "is not among"}}, queue.Failed, "the target h is not among"},
	} {
		got := p.judge(c.result, 1, now, now, time.Time{}, 0.5)
		if got.state != c.want || !strings.Contains(got.reason, c.reason) {
			t.Errorf("%s: got %s, %q; want %s, %q", c.name, got.state, got.reason, c.want, c.reason)
		}
	}
	if mayPass(&send.MailError{Err: lost, Permanent: true}) || !mayPass(&send.MailError{Err: lost}) {
		t.Error("a mail that cannot be written opens the circuit of its server, or one that was not answered does not")
	}
}

// A mail server has a circuit for each way in which connections to it are made.
func TestCircuitsOfMail(t *testing.T) {
	var all circuits
	now := time.Now()
	of := func(change func(a *config.Action)) *circuit {
		action := aMail()
		change(&action)
		e, ok := prepare(t, action).onlyEndpoint()
		if !ok {
			t.Fatal("the action has several targets")
		}
		return all.of(e, now)
	}
	plain := of(func(*config.Action) {})
	if of(func(a *config.Action) { a.Mail.Server = "smtp://MAIL.lan:25" }) != plain {
		t.Error("the same server has two circuits")
	}
	for name, other := range map[string]*circuit{
		"another port": of(func(a *config.Action) { a.Mail.Server = "mail.lan:587" }),
		"smtps":        of(func(a *config.Action) { a.Mail.Server = "smtps://mail.lan" }),
		"starttls":     of(func(a *config.Action) { a.Mail.StartTLS = config.StartTLSRequired }),
		"tls":          of(func(a *config.Action) { a.TLS = &config.TLS{ServerName: "other"} }),
	} {
		if other == plain {
			t.Errorf("%s: the circuit is the same", name)
		}
	}
}
