package template

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// Mail is a rendered mail.
type Mail struct {
	send.Mail
	empty []string
}

// Send sends the mail.
func (m *Mail) Send(ctx context.Context, through *send.Connections, timeout time.Duration) send.Result {
	return through.Mail(ctx, &m.Mail, timeout)
}

// Empty names the tags that rendered as nothing.
func (m *Mail) Empty() []string { return m.empty }

// writtenMail holds the templates of a mail as the administrator wrote them.
type writtenMail struct {
	server, from, replyTo, subject, text, html writtenText
	to, cc, bcc                                []writtenText
	recipients                                 map[string]bool
}

func (w *writtenMail) texts() []writtenText {
	return slices.Concat([]writtenText{w.server, w.from, w.replyTo, w.subject, w.text, w.html}, w.to, w.cc, w.bcc)
}

// mail parses the templates of a mail, nil for an action without one.
func (c *actionCompiler) mail() *writtenMail {
	m := c.action.Mail
	if m == nil {
		return nil
	}
	list := func(place string, texts []string) (written []writtenText) {
		for _, text := range texts {
			written = append(written, c.fragment(place, text))
		}
		return written
	}
	w := &writtenMail{
		server: c.fragment("mail", m.Server), from: c.fragment("from", m.From), replyTo: c.fragment("reply_to", m.ReplyTo),
		to: list("to", m.To), cc: list("cc", m.CC), bcc: list("bcc", m.BCC),
		subject: c.text("subject", m.Subject, false), text: c.bodyText("text", m.Text, false), html: c.bodyText("html", m.HTML, false),
		recipients: map[string]bool{},
	}
	for _, domain := range m.Recipients {
		if ascii, err := config.MailDomain(domain); err == nil {
			w.recipients[ascii] = true
		}
	}
	return w
}

// mailParts are what a variant's mails are made of.
type mailParts struct {
	user, password string
	// from and replyTo have one address or none.
	from, replyTo addressTemplate
	to, cc, bcc   []addressTemplate
	subject, text template
	// html is nil for a mail of plain text.
	html *htmlText
	// recipients are the domains to which a value of the event may lead.
	recipients map[string]bool
	// noRecipient is the error of a mail for which no recipient is left.
	noRecipient error
}

// makeMail makes the parts of a mail.
func (b *builder) makeMail() {
	w := b.mail
	m := &mailParts{recipients: w.recipients}
	b.made.mail = m
	if !w.server.wrong {
		if err := b.mailServer(); err != nil {
			b.fail("mail", err)
		}
	}
	b.makeMailAuth(m)
	if !w.from.wrong {
		var err error
		if m.from, err = b.addresses(w.from); err == nil {
			err = m.from.checkSender()
		}
		if err != nil {
			b.fail("from", err)
		}
	}
	if !w.replyTo.wrong {
		var err error
		if m.replyTo, err = b.addresses(w.replyTo); err == nil && len(m.replyTo.fixed) > 1 {
			err = errors.New("answers go to one address, and this is a list")
		}
		if err != nil {
			b.fail("reply_to", err)
		}
	}
	m.to, m.cc, m.bcc = b.recipients(w.to), b.recipients(w.cc), b.recipients(w.bcc)
	m.noRecipient = b.noRecipient()
	m.subject = b.fill(w.subject).with(unchanged, asIs)
	m.text = b.fill(w.text).with(unchanged, asIs)
	if b.action.Mail.HTML != "" && !w.html.wrong {
		var err error
		if m.html, err = htmlTemplate(b.fill(w.html)); err != nil {
			b.fail("html", err)
		}
	}
}

// mailServer reads the server, which the configuration alone chooses.
func (b *builder) mailServer() error {
	filled := trimmed(b.fill(b.mail.server).joined())
	text, fixed := filled.text()
	if !fixed {
		return filled.firstTag().mayNot("choose the mail server; only the configuration can say where a mail goes")
	}
	scheme, host, found := strings.Cut(text, "://")
	if !found {
		scheme, host = "smtp", text
	}
	scheme, host = strings.ToLower(scheme), strings.TrimSuffix(host, "/")
	put := slices.ContainsFunc(b.mail.server.pieces, func(p piece) bool { return p.tag != nil })
	parsed, err := parseAuthority(scheme, host)
	switch {
	case scheme != "smtp" && scheme != "smtps":
		err = fmt.Errorf("the server must be a host, or begin with smtp:// or smtps://, not %q", beginning(b.action.Mail.Server))
	case err != nil && put:
		// The error would show what parameters hold, secret ones too.
		err = errors.New("with the parameters put in, host and port are not valid")
	case err != nil:
	case parsed.User != nil:
		err = errors.New("user and password do not stand in the server: write auth basic in the action")
	case parsed.Path != "" || parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		err = errors.New("a server is a host and perhaps a port, with nothing behind them")
	case scheme == "smtps" && b.action.Mail.StartTLS != config.StartTLSAuto:
		err = errors.New("starttls is for smtp://; a connection of smtps:// is TLS from its beginning: remove the one or the other")
	}
	if err == nil {
		b.made.target = send.Target{Scheme: scheme, Host: strings.TrimSuffix(strings.ToLower(parsed.Host), ":")}
	}
	return err
}

// makeMailAuth makes user and password, which the configuration alone chooses.
func (b *builder) makeMailAuth(m *mailParts) {
	if b.action.Auth.Kind == config.AuthNone || b.auth.wrong() {
		return
	}
	for _, part := range []struct {
		written writtenText
		to      *string
	}{{b.auth.user, &m.user}, {b.auth.value, &m.password}} {
		filled := b.fill(part.written)
		text, fixed := filled.text()
		switch {
		case !fixed:
			b.fail("auth", filled.firstTag().mayNot("be what a mail server is shown"))
		case strings.ContainsAny(text, "\x00\r\n"):
			b.fail("auth", errors.New("user or password hold a character that a mail server cannot be shown"))
		case strings.TrimSpace(text) == "" && b.made.unproven == nil:
			b.made.unproven = b.emptyProof("auth: user or password is empty", slices.Concat(b.auth.user.pieces, b.auth.value.pieces))
		}
		*part.to = text
	}
	// Servers repeat what they were sent in what they say of it.
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	b.secrets = append(b.secrets, m.password, encode(m.password), encode("\x00"+m.user+"\x00"+m.password))
}

// checkSender finds what cannot be a sender: none, several, or one of the event's.
func (a *addressTemplate) checkSender() error {
	switch {
	case a.chosen != nil:
		return a.chosen.mayNot("choose the sender; only its name can come with the event, as in NAME <ADDRESS>")
	case a.address == nil && len(a.fixed) != 1:
		return errors.New("a mail has one sender, such as relay@studio.example or Event Relay <relay@studio.example>")
	}
	return nil
}

// recipients makes the addresses of a list.
func (b *builder) recipients(list []writtenText) (made []addressTemplate) {
	for _, w := range list {
		if w.wrong {
			continue
		}
		a, err := b.addresses(w)
		if err == nil && a.chosen != nil && len(b.mail.recipients) == 0 {
			err = a.chosen.mayNot("choose a recipient; to allow addresses of a domain, add to the block of mail: recipients DOMAIN")
		}
		if err != nil {
			b.fail(w.place, err)
			continue
		}
		made = append(made, a)
	}
	return made
}

// noRecipient makes the error of a mail for which no recipient is left.
func (b *builder) noRecipient() error {
	var pieces []piece
	for _, w := range slices.Concat(b.mail.to, b.mail.cc, b.mail.bcc) {
		pieces = append(pieces, w.pieces...)
	}
	return b.emptyProof("to, cc and bcc: the mail has no recipient", pieces)
}

// renderMail makes the mail for an event.
func (s *Set) renderMail(v *variant, r *rendering, event *event.Event, delivery string) (Rendered, error) {
	m := v.mail
	rendered := &Mail{Mail: send.Mail{
		Server: v.target, StartTLS: s.action.Mail.StartTLS, User: m.user, Password: m.password, TLS: s.tls, Masker: s.masker,
		ID: delivery, Event: event.ID, Test: event.Test,
	}}
	from, err := m.from.render(r, nil)
	if err != nil {
		return nil, err
	}
	if len(from) != 1 {
		return nil, errors.New("from: the mail has no sender; not sent")
	}
	rendered.From = from[0]
	answers, err := m.replyTo.render(r, nil)
	if err != nil {
		return nil, err
	}
	if len(answers) > 0 {
		rendered.ReplyTo = &answers[0]
	}
	for _, list := range []struct {
		templates []addressTemplate
		to        *[]mail.Address
	}{{m.to, &rendered.To}, {m.cc, &rendered.Cc}, {m.bcc, &rendered.Bcc}} {
		for i := range list.templates {
			addresses, err := list.templates[i].render(r, m.recipients)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, addresses...)
		}
	}
	if len(rendered.To)+len(rendered.Cc)+len(rendered.Bcc) == 0 {
		return nil, m.noRecipient
	}
	subject, err := r.text("subject", m.subject)
	if err != nil {
		return nil, err
	}
	rendered.Subject = oneLine(subject, longestSubject)
	if rendered.Text, err = r.text("text", m.text); err != nil {
		return nil, err
	}
	if m.html != nil {
		if rendered.HTML, err = r.html(m.html); err != nil {
			return nil, err
		}
	}
	rendered.empty = r.empty
	return rendered, nil
}

// String shows the mail for an administrator, with the recipients of bcc: the line
// with the server, the header, and the text, with the HTML behind it.
func (m *Mail) String() string {
	var b strings.Builder
	b.WriteString("MAIL " + m.Server.String() + "\n")
	field := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	list := func(addresses []mail.Address) string {
		shown := make([]string, len(addresses))
		for i, address := range addresses {
			shown[i] = shownAddress(address)
		}
		return strings.Join(shown, ", ")
	}
	if m.User != "" {
		field("Auth", m.User+" "+secret.Masked)
	}
	field("From", shownAddress(m.From))
	field("To", list(m.To))
	field("Cc", list(m.Cc))
	field("Bcc", list(m.Bcc))
	if m.ReplyTo != nil {
		field("Reply-To", shownAddress(*m.ReplyTo))
	}
	field("Subject", m.Subject)
	field("Message-ID", "<"+m.ID+"@"+m.From.Address[strings.LastIndexByte(m.From.Address, '@')+1:]+">")
	b.WriteString("\n" + m.bounded(m.Text))
	if m.HTML != "" {
		b.WriteString("\n\n--- HTML ---\n" + m.bounded(m.HTML))
	}
	return m.Masker.MaskTo(b.String(), shownBytes)
}

// bounded returns as much of a text as may be shown. Secrets are masked in the whole.
func (m *Mail) bounded(text string) string {
	if m.Masker == nil {
		text = text[:min(len(text), shownBytes)]
	}
	return text
}

// shownAddress shows an address with its name as it is written, not as it is encoded.
func shownAddress(address mail.Address) string {
	if address.Name == "" {
		return address.Address
	}
	name := address.Name
	if strings.ContainsAny(name, `<>"@,;:\`) {
		name = strconv.Quote(name)
	}
	return name + " <" + address.Address + ">"
}
