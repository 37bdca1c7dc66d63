package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Action is an HTTP request that rules can ask for. URL, query, headers, what
// proves who asks, and body are templates: `{{ … }}` holds an expression, whose
// value is escaped for the place where it stands.
type Action struct {
	// The name by which rules and the history call the action.
	Name string `json:"name"`

	// What the action does, for lists. Default: empty.
	Description string `json:"description,omitempty"`

	// The method of the request: `GET`, `HEAD`, `POST`, `PUT`, `PATCH` or
	// `DELETE`. Default: `POST`.
	Method string `json:"method,omitempty"`

	// The URL of the request, a template. Scheme, host and port may hold
	// nothing but custom parameters, because an event must never choose the
	// host that is called.
	URL string `json:"url"`

	// Query values that are added to the URL, in this order.
	Query []NameValue `json:"query,omitempty"`

	// Header fields of the request, in this order. A field that the relay sets
	// by itself, such as `User-Agent`, is replaced by one of that name.
	Headers []NameValue `json:"headers,omitempty"`

	// What proves to the target who asks. Default: nothing.
	Auth *ActionAuth `json:"auth,omitempty"`

	// The body of the request. Default: none.
	Body *Body `json:"body,omitempty"`

	// How long one attempt may take, from the connection to the end of the
	// answer. Default: `10s`.
	Timeout Duration `json:"timeout,omitempty"`

	// The statuses of an answer that end the delivery well: numbers such as
	// `409`, or classes such as `2xx`. Default: `["2xx"]`.
	Success []string `json:"success,omitempty"`

	// How long a failed attempt is followed by others, counted from the first
	// attempt. `-1` means that there is only one attempt. Default: `24h`.
	RetryFor Duration `json:"retry_for,omitempty"`

	// The pauses between attempts. Default: from 1 second to 5 minutes.
	RetryInterval *RetryInterval `json:"retry_interval,omitempty"`

	// How many attempts may run at the same time. Default: `8`.
	Concurrency int `json:"concurrency,omitempty"`

	// How many attempts may begin within a time, so that a target is not asked
	// more often than it can bear. It counts on each machine by itself. Default:
	// as many as `concurrency` lets through.
	Rate *Rate `json:"rate,omitempty"`

	// How long after the event was received the request is still of use. A
	// delivery that is older is not sent any more and ends as expired. Default:
	// for ever.
	Expires Duration `json:"expires,omitempty"`

	// An expression for what must be dealt with in order, such as `call_id` or
	// `[tenant, call_id]`. Deliveries of this action for which it gives the
	// same go one after another, in the order in which their events were
	// received; one that waits to be tried again holds up those behind it.
	// Default: none, so that deliveries go side by side.
	OrderBy string `json:"order_by,omitempty"`

	// Secrets with which the request is signed, as the Standard Webhooks
	// specification says: base64, with or without `whsec_` before it. There is
	// a signature for each, so that a secret can be replaced without a gap.
	//
	// A secret may be given as it is, or as a value that is wholly `{env.NAME}`
	// or `{file./path}`, which is read when the configuration is loaded. One
	// that turns out empty is skipped with a warning if others remain, and is
	// an error otherwise. Default: none, so that nothing is signed.
	Sign []string `json:"sign,omitempty"`

	// How the target of an `https` URL is recognised, and what the relay shows
	// it. Default: the certificates that the system trusts, and nothing.
	TLS *TLS `json:"tls,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. Default: empty.
	Place string `json:"place,omitempty"`
}

// NameValue is a name with a value. Names may be given more than once.
type NameValue struct {
	// The name, a template. The name of a header may hold nothing but custom
	// parameters.
	Name string `json:"name"`

	// The value, a template.
	Value string `json:"value"`
}

// ActionAuth is what an action's request carries to prove who asks. All but
// kind and place are templates; a secret gets into them as a custom parameter.
type ActionAuth struct {
	// What kind of proof it is: `api_key` (a value in a header or in the
	// query), `basic` (user and password in the Authorization header), `bearer`
	// (a token in the Authorization header) or `none`. Default: `none`.
	Kind string `json:"kind,omitempty"`

	// Where an `api_key` stands: `header` or `query`.
	In string `json:"in,omitempty"`

	// The name of the header or query key of an `api_key`.
	Name string `json:"name,omitempty"`

	// The value of an `api_key`, or the token of `bearer`.
	Value string `json:"value,omitempty"`

	// The user of `basic`.
	User string `json:"user,omitempty"`

	// The password of `basic`.
	Password string `json:"password,omitempty"`
}

// Body is the body of an action's request.
type Body struct {
	// What the body is: `json` (the text is a JSON document, and what is put
	// into it is escaped as JSON), `xml` (the same with XML), `raw` (the text
	// is sent as it is), `form` (the fields, as multipart/form-data),
	// `urlencoded` (the fields, as application/x-www-form-urlencoded),
	// `forward` (the body of the event's request as it came, with its
	// Content-Type) or `none`. Default: `none`.
	Kind string `json:"kind,omitempty"`

	// The Content-Type of a `raw` body. If it says JSON or XML, what is put into
	// the text is escaped for that. A `Content-Type` header of the action goes
	// before it. Default: `text/plain; charset=utf-8`.
	Type string `json:"type,omitempty"`

	// The text of a `json`, `xml` or `raw` body, a template.
	Text string `json:"text,omitempty"`

	// The fields of a `form` or `urlencoded` body, in this order.
	Fields []BodyField `json:"fields,omitempty"`
}

// BodyField is a field of a form. Names may be given more than once.
type BodyField struct {
	// The name, a template.
	Name string `json:"name"`

	// The value, a template.
	Value string `json:"value"`

	// The Content-Type of the field's part in a `form` body, a template that may
	// hold nothing but custom parameters. If it says JSON or XML, what is put
	// into the value is escaped for that. Default: none, so that the part says
	// nothing about it.
	Type string `json:"type,omitempty"`
}

// RetryInterval bounds the pause between two attempts of a delivery. It
// doubles from attempt to attempt; the pause itself is chosen at random below
// it, so that many deliveries do not come back at the same moment.
type RetryInterval struct {
	// The bound of the first pause. Default: `1s`.
	First Duration `json:"first,omitempty"`

	// The bound that no pause exceeds. Default: `5m`.
	Cap Duration `json:"cap,omitempty"`
}

// Rate bounds how often something happens.
type Rate struct {
	// How many times. Required.
	Count int `json:"count"`

	// Within which time. Required.
	Per Duration `json:"per"`
}

// TLS says how a target is recognised. It is a part of what the `http`
// transport of Caddy's reverse_proxy has, by the same names. File names may
// hold placeholders such as `{env.CREDENTIALS_DIRECTORY}`.
type TLS struct {
	// Files with the certificates, in PEM format, of which one must have signed
	// the target's, in place of those that the system trusts.
	CAFiles []string `json:"ca_files,omitempty"`

	// The file with the certificate, in PEM format, that the relay shows to the
	// target, and those between it and its root.
	ClientCertificateFile string `json:"client_certificate_file,omitempty"`

	// The file with the key of that certificate, in PEM format.
	ClientCertificateKeyFile string `json:"client_certificate_key_file,omitempty"`

	// The name that the target's certificate must have. Default: the host of
	// the URL.
	ServerName string `json:"server_name,omitempty"`

	// The certificates of which the target must show one, by their SHA-256
	// fingerprints: `sha256:` and 64 hex digits, with or without colons. Then
	// nothing else about the certificate is checked: neither who signed it, nor
	// its names, nor its dates. Several let a certificate be replaced. Cannot be
	// given together with `ca_files` or `insecure_skip_verify`. Default: none.
	Pins []string `json:"pins,omitempty"`

	// The lowest version of TLS that is spoken: `tls1.0`, `tls1.1`, `tls1.2` or
	// `tls1.3`. Below `tls1.2`, the ciphers of that time are offered too.
	// Default: `tls1.2`.
	ProtocolMin string `json:"protocol_min,omitempty"`

	// The highest version of TLS that is spoken. Default: `tls1.3`.
	ProtocolMax string `json:"protocol_max,omitempty"`

	// Whether any certificate is taken, so that anybody between the relay and
	// the target can read and answer requests. Default: `false`.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// Check finds what the parser of the Caddyfile refuses.
func (a *Action) Check(wrong *Findings) {
	if err := names.Check("action", a.Name); err != nil {
		wrong.Add(a.Place, err)
		return
	}
	add := func(part string, err error) {
		if err != nil {
			wrong.Add(a.Place, fmt.Errorf("reading %s of action %s: %w", part, a.Name, err))
		}
	}
	add("the URL", CheckTemplate(a.URL))
	for _, pair := range a.Query {
		add("query "+pair.Name, CheckTemplate(pair.Name))
		add("query "+pair.Name, CheckTemplate(pair.Value))
	}
	for _, pair := range a.Headers {
		add("header "+pair.Name, CheckTemplate(pair.Name))
		add("header "+pair.Name, CheckTemplate(pair.Value))
	}
	if a.Auth != nil {
		add("auth", a.Auth.Check())
	}
	if a.Body != nil {
		add("the body", a.Body.Check())
	}
	if a.RetryFor != RetryOff {
		add("retry_for", checkSign("it", time.Duration(a.RetryFor)))
	}
	if a.Rate != nil && (a.Rate.Count <= 0 || a.Rate.Per <= 0) {
		add("rate", errors.New("it needs a count and a time, per, that are above zero"))
	}
	add("expires", checkSign("it", time.Duration(a.Expires)))
	for _, secret := range a.Sign {
		add("sign", CheckSigning(secret))
	}
	if a.TLS != nil && (a.TLS.ClientCertificateFile == "") != (a.TLS.ClientCertificateKeyFile == "") {
		add("tls", errors.New("a client's certificate and its key come together; name both files or none"))
	}
}

// CheckSigning finds what cannot be a secret of sign. A parameter cannot: its
// value could be another for each event.
func CheckSigning(secret string) error {
	if strings.Contains(secret, "{{") {
		return errors.New("a secret is no template: write it as {env.NAME} or {file./path}")
	}
	return CheckValue(secret)
}

// Check finds what would be lost, as the place of a password depends on the
// kind, and what CheckValues finds.
func (a *ActionAuth) Check() error {
	switch {
	case a.Kind == "basic" && a.Value != "":
		return errors.New("basic has no value; it takes user and password")
	case a.Kind != "basic" && a.Password != "":
		return fmt.Errorf("only basic has a password, not %q", a.Kind)
	}
	return a.CheckValues()
}

// CheckValues finds credentials that prove nothing, and placeholders in them.
// User or password may be empty: there are services that want a key for the one
// and nothing for the other.
func (a *ActionAuth) CheckValues() error {
	if a.Kind == "basic" && a.User+a.Password == "" {
		return errors.New("basic has neither user nor password, which proves nothing; write auth none if that is meant")
	}
	for _, text := range []string{a.Name, a.Value, a.User, a.Password} {
		if err := CheckTemplate(text); err != nil {
			return err
		}
	}
	return nil
}

// Check finds placeholders in the templates of the body, and a template where
// there can be none.
func (b *Body) Check() error {
	if strings.Contains(b.Type, "{{") {
		return errors.New("the type of a raw body is no template; a header Content-Type may hold parameters")
	}
	for _, field := range b.Fields {
		for _, text := range []string{field.Name, field.Value, field.Type} {
			if err := CheckTemplate(text); err != nil {
				return fmt.Errorf("field %s: %w", field.Name, err)
			}
		}
	}
	return CheckTemplate(b.Text)
}

// RetryOff is the RetryFor of an action whose deliveries are attempted once.
const RetryOff = -1
