package forward

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Action is a configured templated request to a target. Templates are text
// with {{ expression }} in it.
type Action struct {
	// Name is unique among the actions of a configuration.
	Name        string
	Description string

	// Place says where the action is configured ("Caddyfile:33"), for messages.
	Place string

	// Method is GET, HEAD, POST, PUT, PATCH or DELETE. An answer to HEAD has no
	// body; its status counts as any other.
	Method string

	// URL is a template. Expressions that name anything of the event may stand
	// in its path and query only. Custom parameters may stand anywhere, also those
	// with values by tenant: an event's tenant then chooses among the hosts that
	// are configured.
	URL string

	// Query holds further query values, added to those of the URL in order.
	// Names and values are templates and arrive at the target as they read:
	// they are percent-encoded here.
	Query []Pair

	// Headers holds header fields. The values are templates. A field that the
	// relay sets by itself (User-Agent, Content-Type, Idempotency-Key,
	// X-Event-Id, traceparent) is replaced by one of that name.
	Headers []Pair

	// Auth is what the request proves itself with. Default: nothing.
	Auth Auth

	// Body is what the request carries. Default: nothing.
	Body Body

	// Timeout bounds a whole attempt. Default: 10s.
	Timeout time.Duration

	// Success holds the statuses that end a delivery well: a status ("409") or
	// a class of them ("2xx"). Default: 2xx.
	Success []string

	// RetryFor is how long after the first attempt a delivery may be tried
	// again. Default: 24h; negative: never.
	RetryFor time.Duration

	// RetryFirst and RetryCap bound the pause between two attempts, which grows
	// from the one to the other. Default: 1s and 5m.
	RetryFirst, RetryCap time.Duration

	// Concurrency is how many attempts may be in flight at once. Default: 8.
	Concurrency int

	// Expires is the age of an event, counted from its receipt, from which on it
	// is not sent any more. Default: 0, never.
	Expires time.Duration

	// OrderBy is an expression. Deliveries of this action for which it has the
	// same value go one after another, in the order in which their events were
	// received. Default: "", in any order.
	OrderBy string

	// Rate bounds how many attempts begin in a time. Default: no bound.
	Rate Rate

	// Sign holds secrets in base64, with or without whsec_ before them. For each
	// of them the request carries a signature after Standard Webhooks, so that
	// the target can go over from one secret to the next. They are no templates.
	// Default: none, not signed.
	Sign []string

	// TLS says how connections to an https target are made. Default: nil, as the
	// system does.
	TLS *TLS
}

// Pair is one query value or header field.
type Pair struct{ Name, Value string }

// Auth is what a request proves itself with. Wherever a request is shown, it is
// masked, also if it holds no secret parameter.
type Auth struct {
	// Kind is AuthNone, AuthAPIKey, AuthBasic or AuthBearer. Default: AuthNone.
	Kind string

	// In says where an API key stands: InHeader or InQuery. It must be given for
	// AuthAPIKey, and for no other kind.
	In string

	// Name is the name of the header or query value that holds an API key. It is
	// a template, as a header's or a query value's name is.
	Name string

	// User is the user name of AuthBasic, a template. What it becomes must not
	// hold a colon. Default: "".
	User string

	// Value is the API key, the password or the token, a template.
	Value string
}

// The kinds of credentials.
const (
	AuthNone   = "none"
	AuthAPIKey = "api_key"
	AuthBasic  = "basic"
	AuthBearer = "bearer"
)

// The places of an API key.
const (
	InHeader = "header"
	InQuery  = "query"
)

// Body is the body of an action's request.
type Body struct {
	// Kind is one of BodyNone, BodyForm, BodyURLEncoded, BodyRaw, BodyJSON,
	// BodyXML and BodyForward. Default: BodyNone.
	Kind string

	// Type is the Content-Type of a raw body. Default: text/plain;
	// charset=utf-8. If it says JSON or XML, values are escaped for that.
	Type string

	// Text is the template of a raw, JSON or XML body.
	Text string

	// Fields are the values of a form or urlencoded body. Their order is kept,
	// and a name may come more than once.
	Fields []Field
}

// Field is one value of a form or urlencoded body.
type Field struct {
	// Name and Value are templates.
	Name, Value string

	// Type is the Content-Type of a form's part, a template that may name custom
	// parameters only. If it says JSON or XML, values in the part are escaped
	// for that. Default: "", none is sent.
	Type string
}

// The kinds of bodies.
const (
	// BodyNone is no body.
	BodyNone = "none"
	// BodyForm is multipart/form-data with one part for each field.
	BodyForm = "form"
	// BodyURLEncoded is application/x-www-form-urlencoded.
	BodyURLEncoded = "urlencoded"
	// BodyRaw is text that is sent as it is written.
	BodyRaw = "raw"
	// BodyJSON is one JSON value.
	BodyJSON = "json"
	// BodyXML is one XML document.
	BodyXML = "xml"
	// BodyForward is the event's own body, byte for byte, with its own
	// Content-Type. An event without a body makes a request without one.
	BodyForward = "forward"
)

var bodyKinds = []string{BodyNone, BodyForm, BodyURLEncoded, BodyRaw, BodyJSON, BodyXML, BodyForward}

// Rate is how many attempts may begin in a time. The zero Rate sets no bound.
type Rate struct {
	Count int
	Per   time.Duration
}

// TLS says how connections to https targets are made. Its files are read when
// the action is compiled, so that changed ones count from the next reload on.
type TLS struct {
	// CAFiles are PEM files with the authorities that a target's certificate may
	// come from, in place of the system's. Default: none, the system's.
	CAFiles []string

	// ClientCertificateFile and ClientKeyFile are PEM files with the certificate
	// that is shown to a target which asks for one, and its key. Default: none.
	ClientCertificateFile, ClientKeyFile string

	// ServerName is the name that the target's certificate must be for. Default:
	// the host of the URL.
	ServerName string

	// Pins are the certificates of which the target must show one, each as sha256:
	// and the SHA-256 fingerprint in hex, with or without colons. Neither who signed
	// it, nor its names, nor its dates are looked at then, and CAFiles must be empty.
	// Default: none, certificates are verified.
	Pins []string

	// ProtocolMin and ProtocolMax bound the version of TLS: tls1.0, tls1.1, tls1.2
	// or tls1.3. With a lower bound below tls1.2, ciphers that go with it are
	// offered too. Default: tls1.2 and tls1.3.
	ProtocolMin, ProtocolMax string

	// InsecureSkipVerify accepts any certificate, so that anybody on the way can
	// read and change what is sent. Default: false.
	InsecureSkipVerify bool
}

// Methods are the methods that an action can have.
var Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// withDefaults returns the action with its defaults filled in.
func (a Action) withDefaults() Action {
	if a.Auth.Kind == "" {
		a.Auth.Kind = AuthNone
	}
	if a.Body.Kind == "" {
		a.Body.Kind = BodyNone
	}
	if a.Timeout == 0 {
		a.Timeout = 10 * time.Second
	}
	if len(a.Success) == 0 {
		a.Success = []string{"2xx"}
	}
	if a.RetryFor == 0 {
		a.RetryFor = 24 * time.Hour
	}
	// A cap or a first pause given alone must not clash with the other's
	// default.
	if a.RetryFirst == 0 {
		a.RetryFirst = time.Second
		if a.RetryCap > 0 {
			a.RetryFirst = min(a.RetryFirst, a.RetryCap)
		}
	}
	if a.RetryCap == 0 {
		a.RetryCap = max(5*time.Minute, a.RetryFirst)
	}
	if a.Concurrency == 0 {
		a.Concurrency = 8
	}
	return a
}

// check finds what is wrong with an action apart from its templates.
func (a Action) check() error {
	var wrong []error
	add := func(format string, arguments ...any) { wrong = append(wrong, fmt.Errorf(format, arguments...)) }
	if a.Name == "" {
		add("an action needs a name")
	}
	if !slices.Contains(Methods, a.Method) {
		add("unknown method %q; there are %s", a.Method, strings.Join(Methods, ", "))
	}
	if a.Timeout < 0 {
		add("timeout must be longer than 0, not %s", a.Timeout)
	}
	if a.RetryFirst < 0 || a.RetryCap < a.RetryFirst {
		add("retry_interval must be two durations, the first not longer than the second, not %s and %s", a.RetryFirst, a.RetryCap)
	}
	if a.Concurrency < 0 {
		add("concurrency must be at least 1, not %d", a.Concurrency)
	}
	if a.Expires < 0 {
		add("expires must be longer than 0, not %s", a.Expires)
	}
	if a.Rate.Count < 0 || (a.Rate.Count > 0) != (a.Rate.Per > 0) {
		add("rate must be a number of attempts in a time, such as 5/s")
	}
	if _, err := parseStatuses(a.Success); err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// statuses is a set of HTTP statuses.
type statuses [600 / 8]byte

func (s *statuses) add(status int) { s[status/8] |= 1 << (status % 8) }

func (s *statuses) has(status int) bool {
	return status >= 0 && status < 600 && s[status/8]&(1<<(status%8)) != 0
}

func parseStatuses(words []string) (*statuses, error) {
	var set statuses
	for _, word := range words {
		if class, isClass := strings.CutSuffix(strings.ToLower(word), "xx"); isClass && len(class) == 1 && class >= "2" && class <= "5" {
			first := int(class[0]-'0') * 100
			for status := first; status < first+100; status++ {
				set.add(status)
			}
			continue
		}
		status, err := strconv.Atoi(word)
		if err != nil || len(word) != 3 || status < 200 || status > 599 {
			return nil, fmt.Errorf("success: %q is no status; write one such as 409 or a class such as 2xx", word)
		}
		set.add(status)
	}
	return &set, nil
}
