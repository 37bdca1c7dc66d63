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

	// Method is GET, POST, PUT, PATCH or DELETE.
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
}

// Pair is one query value or header field.
type Pair struct{ Name, Value string }

// Body is the body of an action's request.
type Body struct {
	// Kind is BodyNone, BodyJSON or BodyRaw. Default: BodyNone.
	Kind string

	// Type is the Content-Type of a raw body. Default: text/plain;
	// charset=utf-8. If it says JSON or XML, values are escaped for that.
	Type string

	// Text is a template.
	Text string
}

// The kinds of bodies.
const (
	BodyNone = "none"
	BodyJSON = "json"
	BodyRaw  = "raw"
)

var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}

// withDefaults returns the action with its defaults filled in.
func (a Action) withDefaults() Action {
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
	if !slices.Contains(methods, a.Method) {
		add("unknown method %q; there are %s", a.Method, strings.Join(methods, ", "))
	}
	switch a.Body.Kind {
	case BodyNone, BodyJSON, BodyRaw:
	default:
		add("unknown kind of body %q; there are %s, %s, %s", a.Body.Kind, BodyNone, BodyJSON, BodyRaw)
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
