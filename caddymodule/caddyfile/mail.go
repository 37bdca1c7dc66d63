package caddyfile

import (
	"cmp"
	"errors"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// mailLevel holds the settings of the mail of an action.
var mailLevel = level[config.Mail]{name: "a mail block", settings: []setting[config.Mail]{
	{name: "from", usage: `"ADDRESS"`, wants: "one address, in quotes", least: 1, most: 1, read: func(l *line, m *config.Mail) (err error) {
		m.From, err = l.template(0, "address")
		return err
	}},
	recipients("to", func(m *config.Mail) *[]string { return &m.To }),
	recipients("cc", func(m *config.Mail) *[]string { return &m.CC }),
	recipients("bcc", func(m *config.Mail) *[]string { return &m.BCC }),
	{name: "reply_to", usage: `"ADDRESS"`, wants: "one address, in quotes", least: 1, most: 1, read: func(l *line, m *config.Mail) (err error) {
		m.ReplyTo, err = l.template(0, "address")
		return err
	}},
	{name: "subject", usage: `"TEXT"`, wants: "one text, in quotes", least: 1, most: 1, read: func(l *line, m *config.Mail) (err error) {
		m.Subject, err = l.template(0, "subject")
		return err
	}},
	{name: "text", usage: "`TEXT`", wants: "one text, in quotes or as a heredoc", least: 1, most: 1, read: func(l *line, m *config.Mail) (err error) {
		m.Text, err = l.template(0, "text")
		return err
	}},
	{name: "html", usage: "`TEXT`", wants: "one text, in backticks or as a heredoc", least: 1, most: 1, read: func(l *line, m *config.Mail) (err error) {
		m.HTML, err = l.template(0, "text")
		return err
	}},
	{name: "recipients", usage: "DOMAIN…", wants: "one or more domains of mail addresses", least: 1, most: -1, repeat: true, read: func(l *line, m *config.Mail) error {
		return l.each(0, func(_ int, arg caddyfile.Token) error {
			if _, err := config.MailDomain(arg.Text); err != nil {
				return errAt(arg, "%w", err)
			}
			m.Recipients = append(m.Recipients, arg.Text)
			return nil
		})
	}},
	{name: "starttls", usage: "auto|required|off", wants: "one word", least: 1, most: 1, read: func(l *line, m *config.Mail) error {
		way := config.StartTLS(l.text(0))
		if err := config.CheckStartTLS(way); err != nil {
			return errAt(l.args[0], "%w", err)
		}
		m.StartTLS = way
		return nil
	}},
}}

// recipients is a setting that adds addresses to a list of a mail.
func recipients(name string, list func(*config.Mail) *[]string) setting[config.Mail] {
	return setting[config.Mail]{name: name, usage: `"ADDRESS"…`, wants: "one or more addresses, in quotes", least: 1, most: -1, repeat: true,
		read: func(l *line, m *config.Mail) error {
			return l.each(0, func(i int, _ caddyfile.Token) error {
				address, err := l.template(i, "address")
				if err == nil {
					*list(m) = append(*list(m), address)
				}
				return err
			})
		}}
}

// ofRequests are the settings of an action that a mail cannot have.
var ofRequests = func() []string {
	names := []string{"query", "header", "body"}
	for _, setting := range config.DeliverySettings {
		if setting.OfRequests {
			names = append(names, setting.Name)
		}
	}
	return names
}()

// readMail reads the mail of an action with its block.
func readMail(l *line, a *config.Action) error {
	a.Mail = new(config.Mail)
	var wrong config.Findings
	server, err := l.template(0, "server")
	wrong.Add("", err)
	a.Mail.Server = server
	had, err := mailLevel.read(l.d, a.Mail)
	wrong.Add("", err)
	for _, required := range []string{"from", "subject", "text"} {
		if !had.any(required) {
			wrong.Add("", l.errf("the mail has no %s: add %s in the block of mail", required, required))
		}
	}
	if !had.any("to", "cc", "bcc") {
		wrong.Add("", l.errf("%w", config.ErrNoRecipient))
	}
	standInMail(a.Mail)
	return wrong.Err()
}

// standInMail puts something in the place of what a mail needs and could not be read.
func standInMail(m *config.Mail) {
	m.Server = cmp.Or(m.Server, "unread.invalid")
	m.From = cmp.Or(m.From, "unread@unread.invalid")
	m.Subject = cmp.Or(m.Subject, "unread")
	m.Text = cmp.Or(m.Text, "unread")
	if len(m.To)+len(m.CC)+len(m.BCC) == 0 {
		m.To = []string{"unread@unread.invalid"}
	}
}

// refuseOfRequests returns an error for a setting of HTTP requests in an action that
// sends a mail.
func refuseOfRequests(l *line, a *config.Action, had tried) error {
	if a.Mail == nil {
		return nil
	}
	var wrong []error
	for _, name := range ofRequests {
		// What may be another setting, because it is misspelt, is not it.
		if had[name] {
			wrong = append(wrong, l.errf("action %s sends a mail, and %s is for HTTP requests: remove %s", a.Name, name, name))
		}
	}
	if a.Auth != nil && !slices.Contains([]string{config.AuthNone, config.AuthBasic}, a.Auth.Kind) {
		wrong = append(wrong, l.errf("action %s sends a mail, and its server takes a user and a password: write auth basic, not auth %s", a.Name, a.Auth.Kind))
		a.Auth = nil
	}
	a.Query, a.Headers, a.Body, a.Success, a.Sign = nil, nil, nil, nil, nil
	return errors.Join(wrong...)
}
