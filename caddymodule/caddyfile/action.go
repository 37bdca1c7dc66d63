package caddyfile

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// actionLevel holds the settings of an action.
var actionLevel = level[config.Action]{name: "an action block", settings: []setting[config.Action]{
	{name: "description", usage: `"TEXT"`, wants: "one text, in quotes", least: 1, most: 1, read: func(l *line, a *config.Action) error {
		a.Description = l.text(0)
		return nil
	}},
	request("get"),
	request("head"),
	request("post"),
	request("put"),
	request("patch"),
	request("delete"),
	{name: "mail", usage: `"SERVER" { … }`, wants: "one SMTP server and a block", least: 1, most: 1, excludes: "request", block: true, read: readMail},
	{name: "query", usage: `NAME "VALUE"`, wants: "a name and a value", least: 2, most: 2, repeat: true, read: func(l *line, a *config.Action) error {
		return readNameValue(l, &a.Query)
	}},
	{name: "header", usage: `NAME "VALUE"`, wants: "a name and a value", least: 2, most: 2, repeat: true, read: func(l *line, a *config.Action) error {
		return readNameValue(l, &a.Headers)
	}},
	{name: "auth", usage: "bearer|basic|api_key|none …", wants: "a kind", least: 1, most: -1, block: true, read: actionAuthKinds.pick},
	{name: "body", usage: "none|form|urlencoded|raw|json|xml|forward …", wants: "a kind", least: 1, most: -1, block: true, read: bodyKinds.pick},
	{name: "timeout", usage: "DURATION", wants: "a duration", least: 1, most: 1, read: func(l *line, a *config.Action) (err error) {
		a.Timeout, err = l.duration(0)
		return err
	}},
	{name: "success", usage: "STATUS…", wants: "one or more statuses, such as 2xx or 409", least: 1, most: -1, repeat: true, read: readSuccess},
	{name: "retry_for", usage: "DURATION|off", wants: "a duration, or off", least: 1, most: 1, read: func(l *line, a *config.Action) (err error) {
		if a.RetryFor = config.RetryOff; l.text(0) != "off" {
			a.RetryFor, err = l.duration(0)
		}
		return err
	}},
	{name: "retry_interval", usage: "FIRST CAP", wants: "the first pause and the longest", least: 2, most: 2, read: readRetryInterval},
	{name: "concurrency", usage: "N", wants: "a number", least: 1, most: 1, read: func(l *line, a *config.Action) (err error) {
		a.Concurrency, err = l.count(0, "attempts")
		return err
	}},
	{name: "rate", usage: "N/s|N/m|N/h", wants: "a number of attempts in a second, a minute or an hour", least: 1, most: 1, read: readRate},
	{name: "one_node", least: 0, most: 0, read: func(_ *line, a *config.Action) error {
		a.OneNode = true
		return nil
	}},
	{name: "expires", usage: "DURATION", wants: "a duration", least: 1, most: 1, read: func(l *line, a *config.Action) (err error) {
		a.Expires, err = l.duration(0)
		return err
	}},
	{name: "order_by", usage: "`EXPR`", wants: "one expression, in backticks", least: 1, most: 1, read: func(l *line, a *config.Action) (err error) {
		a.OrderBy, err = l.expression(0)
		return err
	}},
	{name: "sign", usage: "SECRET…", wants: "one or more secrets", least: 1, most: -1, read: func(l *line, a *config.Action) error {
		secrets, err := l.secrets(0)
		if err != nil {
			return err
		}
		err = l.each(0, func(i int, arg caddyfile.Token) error {
			if err := config.CheckSigning(secrets[i]); err != nil {
				return errAt(arg, "%w", err)
			}
			return nil
		})
		if err == nil {
			a.Sign = secrets
		}
		return err
	}},
	// By the names that they have in the transport of Caddy's reverse_proxy, so
	// that lines can be copied from there.
	{name: "tls_trust_pool", usage: "file FILE…", wants: "the word file and one or more files", least: 2, most: -1, read: readTrustPool},
	{name: "tls_client_auth", usage: "CERT_FILE KEY_FILE", wants: "the file of a certificate and that of its key", least: 2, most: 2, read: readClientAuth},
	{name: "tls_server_name", usage: "NAME", wants: "one name", least: 1, most: 1, read: func(l *line, a *config.Action) error {
		server, err := l.nonEmpty(0, "name")
		if err == nil {
			tlsOf(a).ServerName = server
		}
		return err
	}},
	{name: "tls_pin", usage: "sha256:FINGERPRINT…", wants: "one or more fingerprints", least: 1, most: -1, read: func(l *line, a *config.Action) error {
		return l.each(0, func(_ int, arg caddyfile.Token) error {
			if _, err := config.ParsePin(arg.Text); err != nil {
				return errAt(arg, "%w", err)
			}
			tlsOf(a).Pins = append(tlsOf(a).Pins, arg.Text)
			return nil
		})
	}},
	{name: "tls_protocols", usage: "MIN [MAX]", wants: "the lowest version of TLS, and the highest if you like", least: 1, most: 2, read: func(l *line, a *config.Action) error {
		return l.each(0, func(i int, arg caddyfile.Token) error {
			if _, err := config.ParseProtocol(arg.Text); err != nil {
				return errAt(arg, "%w", err)
			}
			if i == 0 {
				tlsOf(a).ProtocolMin = arg.Text
			} else {
				tlsOf(a).ProtocolMax = arg.Text
			}
			return nil
		})
	}},
	{name: "tls_insecure_skip_verify", least: 0, most: 0, read: func(_ *line, a *config.Action) error {
		tlsOf(a).InsecureSkipVerify = true
		return nil
	}},
}}

// request is the setting of a method with its URL. An action has one.
func request(method string) setting[config.Action] {
	return setting[config.Action]{name: method, usage: `"URL"`, wants: "one URL", least: 1, most: 1, excludes: "request", read: func(l *line, a *config.Action) (err error) {
		a.Method = strings.ToUpper(method)
		a.URL, err = l.template(0, "URL")
		return err
	}}
}

func readAction(l *line, app *config.Relay) error {
	action := config.Action{Name: l.text(0), Place: l.place()}
	var wrong config.Findings
	if err := names.Check("action", action.Name); err != nil {
		wrong.Add("", l.errf("%w", err))
	}
	again := l.unique("action", action.Name)
	wrong.Add("", again)
	had, err := actionLevel.read(l.d, &action)
	wrong.Add("", err)
	if !had.any("get", "head", "post", "put", "patch", "delete", "mail") {
		wrong.Add("", l.errf("action %s has no request: add get, head, post, put, patch or delete with a URL, or mail with a server", action.Name))
	}
	wrong.Add("", refuseOfRequests(l, &action, had))
	if action.URL == "" && action.Mail == nil {
		action.URL = unreadURL
	}
	if again == nil {
		app.Actions = append(app.Actions, action)
	}
	return wrong.Err()
}

// unreadURL stands in for a URL that could not be read. Any configuration may call it.
const unreadURL = "http://unread.invalid/"

// standInAction makes an action known by its name.
func standInAction(l *line, app *config.Relay) {
	name := l.text(0)
	same := func(a config.Action) bool { return a.Name == name }
	if names.Check("action", name) == nil && !slices.ContainsFunc(app.Actions, same) {
		app.Actions = append(app.Actions, config.Action{Name: name, URL: unreadURL, Place: l.place()})
	}
}

func readNameValue(l *line, list *[]config.NameValue) error {
	name, err := l.template(0, "name")
	var wrong config.Findings
	wrong.Add("", err)
	wrong.Add("", l.checkTemplate(l.args[1]))
	if len(wrong) == 0 {
		*list = append(*list, config.NameValue{Name: name, Value: l.text(1)})
	}
	return wrong.Err()
}

// tlsOf returns the action's TLS settings, to be filled in.
func tlsOf(a *config.Action) *config.TLS {
	if a.TLS == nil {
		a.TLS = new(config.TLS)
	}
	return a.TLS
}

func readTrustPool(l *line, action *config.Action) error {
	if l.text(0) != "file" {
		return errAt(l.args[0], "%w", names.Unknown("tls_trust_pool kind", l.text(0), []string{"file"}, ""))
	}
	return l.each(1, func(i int, _ caddyfile.Token) error {
		file, err := l.nonEmpty(i, "file name")
		if err == nil {
			tlsOf(action).CAFiles = append(tlsOf(action).CAFiles, file)
		}
		return err
	})
}

func readClientAuth(l *line, action *config.Action) error {
	err := l.each(0, func(i int, _ caddyfile.Token) error {
		_, err := l.nonEmpty(i, "file name")
		return err
	})
	if err == nil {
		tlsOf(action).ClientCertificateFile, tlsOf(action).ClientCertificateKeyFile = l.text(0), l.text(1)
	}
	return err
}

var ratePattern = regexp.MustCompile(`^([1-9][0-9]{0,8})/([smh])$`)

func readRate(l *line, action *config.Action) error {
	match := ratePattern.FindStringSubmatch(l.text(0))
	if match == nil {
		return l.errf("rate is a number of attempts in a time, such as 5/s, 100/m or 1000/h, not %q", l.text(0))
	}
	count, err := strconv.Atoi(match[1])
	if err != nil {
		return l.errf("reading rate: %w", err)
	}
	action.Rate = &config.Rate{Count: count}
	for _, unit := range config.RateUnits {
		if unit.Name == match[2] {
			action.Rate.Per = unit.Per
		}
	}
	return nil
}

func readSuccess(l *line, action *config.Action) error {
	return l.each(0, func(_ int, arg caddyfile.Token) error {
		if _, err := config.ParseStatuses([]string{arg.Text}); err != nil {
			return errAt(arg, "%w", err)
		}
		action.Success = append(action.Success, arg.Text)
		return nil
	})
}

func readRetryInterval(l *line, action *config.Action) error {
	var wrong config.Findings
	first, err := l.duration(0)
	wrong.Add("", err)
	longest, err := l.duration(1)
	wrong.Add("", err)
	if len(wrong) > 0 {
		return wrong.Err()
	}
	if first > longest {
		return l.errf("the first pause, %s, is longer than the longest, %s", l.text(0), l.text(1))
	}
	action.RetryInterval = &config.RetryInterval{First: first, Cap: longest}
	return nil
}
