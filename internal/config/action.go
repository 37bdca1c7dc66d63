package config

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Action is an HTTP request or a mail that rules can ask for. URL, query, headers,
// what proves who asks, body, and the parts of a mail are templates: `{{ … }}` holds
// an expression, whose value is escaped for the place where it stands.
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
	// host that is called. An action without `mail` needs one.
	URL string `json:"url,omitempty"`

	// The mail that is sent in place of a request. An action that has it can have
	// none of: `method`, `url`, `query`, `headers`, `body`, `success`, `sign`, and
	// no other `auth` than `basic`. Default: none, so that a request is sent.
	Mail *Mail `json:"mail,omitempty"`

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
	// `409`, or classes such as `2xx`. Default: `["2xx"]`. A mail is delivered when
	// its server answers 2xx, and cannot have this.
	Success []string `json:"success,omitempty"`

	// How long a failed attempt is followed by others, counted from the first
	// attempt. `-1` means that there is only one attempt. Default: `24h`.
	RetryFor Duration `json:"retry_for,omitempty"`

	// The pauses between attempts. Default: from 1 second to 5 minutes.
	RetryInterval *RetryInterval `json:"retry_interval,omitempty"`

	// How many attempts may run at the same time. It counts on each machine by
	// itself. Default: `8`.
	Concurrency int `json:"concurrency,omitempty"`

	// How many attempts may begin within a time, so that a target is not asked
	// more often than it can bear. It counts on each machine by itself. Default:
	// as many as `concurrency` lets through.
	Rate *Rate `json:"rate,omitempty"`

	// Whether one machine at a time carries out the deliveries of this action, of
	// those that share a queue: for a target that must not be asked by several at
	// once. `concurrency`, `rate` and the testing of a target that is down then
	// hold for all machines together. If that machine fails, another goes on.
	// Without effect on a machine that has its queue for itself. Default: `false`.
	OneNode bool `json:"one_node,omitempty"`

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

	// How the target of an `https` URL or a mail server is recognised over TLS, and
	// what the relay shows it. Default: the certificates that the system trusts, and nothing.
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

// Methods are the methods that an action can have. An answer to HEAD has no body;
// its status counts as any other.
var Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// RetryOff is the RetryFor of an action whose deliveries are attempted once.
const RetryOff = -1

// WithDefaults returns a copy of the action in which each setting has a value,
// but for those without which there is no bound.
func (a Action) WithDefaults() Action {
	a.Method = strings.ToUpper(a.Method)
	switch {
	case a.Mail != nil:
		a.Mail = a.Mail.withDefaults()
	case a.Method == "":
		a.Method = http.MethodPost
	}
	if a.Auth == nil || a.Auth.Kind == "" {
		a.Auth = &ActionAuth{Kind: AuthNone}
	}
	if a.Body == nil || a.Body.Kind == "" {
		a.Body = &Body{Kind: BodyNone}
	}
	for _, setting := range DeliverySettings {
		if setting.setDefault != nil {
			setting.setDefault(&a)
		}
	}
	return a
}

// Check finds everything that is wrong with the values of the action. What its
// expressions say is found when they are compiled.
func (a *Action) Check() Findings {
	var wrong Findings
	if err := names.Check("action", a.Name); err != nil {
		wrong.Add(a.Place, err)
		return wrong
	}
	add := func(part string, err error) {
		if err != nil {
			wrong.Add(a.Place, fmt.Errorf("reading %s of action %s: %w", part, a.Name, err))
		}
	}
	if method := strings.ToUpper(a.Method); method != "" && !slices.Contains(Methods, method) {
		add("the method", fmt.Errorf("unknown method %q; there are %s", a.Method, strings.Join(Methods, ", ")))
	}
	if a.Mail != nil {
		a.Mail.check(a, add)
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
	for _, setting := range DeliverySettings {
		if setting.check != nil {
			add(setting.Name, setting.check(a))
		}
	}
	if a.TLS != nil {
		add("tls", a.TLS.Check())
	}
	return wrong
}

// Call returns what lists say of what the action does: method and URL of its request,
// or MAIL and the server of its mail.
func (a *Action) Call() (method, url string) {
	if a.Mail != nil {
		return "MAIL", a.Mail.Server
	}
	return a.Method, a.URL
}

// Templates returns the templates of the action, in no particular order.
func (a *Action) Templates() []string {
	all := []string{a.URL}
	for _, pair := range slices.Concat(a.Query, a.Headers) {
		all = append(all, pair.Name, pair.Value)
	}
	if auth := a.Auth; auth != nil {
		all = append(all, auth.Name, auth.Value, auth.User, auth.Password)
	}
	if body := a.Body; body != nil {
		all = append(all, body.Text)
		for _, field := range body.Fields {
			all = append(all, field.Name, field.Value, field.Type)
		}
	}
	if a.Mail != nil {
		all = append(all, a.Mail.Templates()...)
	}
	return all
}

// CheckSigning finds what cannot be a secret of sign. A parameter cannot: its
// value could be another for each event.
func CheckSigning(secret string) error {
	if strings.Contains(secret, "{{") {
		return errors.New("a secret is no template: write it as {env.NAME} or {file./path}")
	}
	return CheckValue(secret)
}
