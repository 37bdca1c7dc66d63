package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Mail is an e-mail that an action sends in place of a request. The connection is
// told by the action's `auth`, which is `basic` or nothing, and by its `tls`.
type Mail struct {
	// The SMTP server, as `smtp://HOST[:PORT]`, or `smtps://HOST[:PORT]` for a
	// connection that begins with TLS. A host alone means `smtp://`. It is a
	// template that may hold nothing but custom parameters, because an event must
	// never choose the host that is called. Default of the port: 25 for `smtp`, 465
	// for `smtps`.
	Server string `json:"server"`

	// Whether the mail goes over TLS when the connection begins without it: `auto`
	// (where the server offers it), `required` (not sent to a server that does not
	// offer it) or `off`. Default: `auto`.
	StartTLS StartTLS `json:"starttls,omitempty"`

	// The sender, as `ADDRESS` or `NAME <ADDRESS>`, a template. The address may hold
	// nothing but custom parameters.
	From string `json:"from"`

	// Who gets the mail, each a template such as `ADDRESS` or `NAME <ADDRESS>`. What
	// holds no value of the event may be a list, with commas. A value of the event
	// never makes more than one address. One that is absent adds no recipient. There
	// must be at least one address in `to`, `cc` or `bcc`.
	To []string `json:"to,omitempty"`

	// Who gets a copy, as in `to`.
	CC []string `json:"cc,omitempty"`

	// Who gets a copy that the others do not know of, as in `to`.
	BCC []string `json:"bcc,omitempty"`

	// Where answers go, a template of one address. It may come with the event, of any
	// domain: nothing is sent there by the relay. Default: to the sender.
	ReplyTo string `json:"reply_to,omitempty"`

	// The subject, a template. A line break in a value becomes a blank.
	Subject string `json:"subject"`

	// The text, a template.
	Text string `json:"text"`

	// The same as HTML, a template. Values are escaped for the place where they
	// stand: text, attribute, URL or style. Programs that show no HTML show the
	// text. Default: none, so that the mail is plain text.
	HTML string `json:"html,omitempty"`

	// The domains to which a mail may go when the event gives the address, wholly or
	// in part. Addresses of the configuration need not be listed. Default: none, so
	// that an event can name no recipient.
	Recipients []string `json:"recipients,omitempty"`
}

// StartTLS says whether a mail goes to its server over TLS when the connection
// begins without it.
type StartTLS string

const (
	// StartTLSAuto uses TLS where the server offers it.
	StartTLSAuto StartTLS = "auto"
	// StartTLSRequired sends nothing to a server that does not offer TLS.
	StartTLSRequired StartTLS = "required"
	// StartTLSOff never asks for TLS.
	StartTLSOff StartTLS = "off"
)

// StartTLSWords are the ways of STARTTLS, in the order of the manual.
var StartTLSWords = []string{string(StartTLSAuto), string(StartTLSRequired), string(StartTLSOff)}

// CheckStartTLS finds a way of STARTTLS that there is not.
func CheckStartTLS(way StartTLS) error {
	if way == "" || slices.Contains(StartTLSWords, string(way)) {
		return nil
	}
	return names.Unknown("way of starttls", string(way), StartTLSWords, "")
}

// withDefaults returns a copy in which each setting has a value.
func (m Mail) withDefaults() *Mail {
	if m.StartTLS == "" {
		m.StartTLS = StartTLSAuto
	}
	return &m
}

// Templates returns the templates of the mail.
func (m *Mail) Templates() []string {
	return slices.Concat([]string{m.Server, m.From}, m.To, m.CC, m.BCC, []string{m.ReplyTo, m.Subject, m.Text, m.HTML})
}

// check finds what is missing from the mail of an action, and what an action that
// sends a mail cannot have. add takes what is wrong with a part.
func (m *Mail) check(a *Action, add func(part string, err error)) {
	for _, of := range []given{
		{"a URL", a.URL != ""}, {"a method", a.Method != ""}, {"query", len(a.Query) > 0}, {"header", len(a.Headers) > 0},
		{"body", a.Body != nil && a.Body.Kind != "" && a.Body.Kind != BodyNone}, {"success", len(a.Success) > 0}, {"sign", len(a.Sign) > 0},
	} {
		if of.is {
			add(of.field, errOfRequests)
		}
	}
	if a.Auth != nil && !slices.Contains([]string{"", AuthNone, AuthBasic}, a.Auth.Kind) {
		add("auth", fmt.Errorf("an SMTP server takes a user and a password: write auth basic, not auth %s", a.Auth.Kind))
	}
	add("starttls", CheckStartTLS(m.StartTLS))
	for _, required := range []struct{ part, text string }{{"mail", m.Server}, {"from", m.From}, {"subject", m.Subject}, {"text", m.Text}} {
		if strings.TrimSpace(required.text) == "" {
			add(required.part, errors.New("a mail needs a server, from, subject and text, and this one is empty"))
		}
	}
	if len(m.To)+len(m.CC)+len(m.BCC) == 0 {
		add("mail", ErrNoRecipient)
	}
	for _, text := range m.Templates() {
		add("mail", CheckTemplate(text))
	}
	for _, domain := range m.Recipients {
		_, err := MailDomain(domain)
		add("recipients", err)
	}
}

var errOfRequests = errors.New("it is for HTTP requests, and the action sends a mail: remove the one or the other")

// ErrNoRecipient says that a mail goes to nobody.
var ErrNoRecipient = errors.New("a mail needs a recipient: add to, cc or bcc with an address")

// MailDomain returns the domain of a mail address as mail servers know it: in lower
// case, and with names outside of ASCII as `xn--…`. Its error says what cannot be one.
func MailDomain(domain string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(strings.TrimSpace(domain))
	if err == nil && ascii != "" && len(ascii) <= 253 && !strings.HasSuffix(ascii, ".") && !strings.ContainsFunc(ascii, notInDomain) {
		return ascii, nil
	}
	return "", fmt.Errorf("%q is no domain of mail addresses: write what follows the @, such as studio.example", domain)
}

// notInDomain reports whether a character cannot stand in a domain.
func notInDomain(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.'
}
