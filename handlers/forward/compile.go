package forward

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/caddy-event-relay/event-relay/rules"
)

// Settings are what actions need to know of the relay around them.
type Settings struct {
	// Secrets are the texts to be masked wherever a request, an answer or an
	// error is shown: the values of all secret custom parameters, and any other
	// credential.
	Secrets []string

	// UserAgent is the User-Agent of requests. Default: event-relay.
	UserAgent string
}

// Prepared is a compiled action. It is safe for concurrent use.
type Prepared struct {
	action   Action
	language *rules.Language
	success  *statuses

	target  target
	path    []pathPart
	query   template
	hasMark bool // a ? is sent, also when nothing follows it
	headers []header
	// fixed holds the header fields that are the same in every request.
	fixed http.Header
	host  string
	body  template
	// verifyJSON says that a value could make the body no JSON.
	verifyJSON bool
	masker     *masker
}

// Name returns the action's name.
func (p *Prepared) Name() string { return p.action.Name }

// Action returns the action as configured, with defaults filled in.
func (p *Prepared) Action() Action { return p.action }

// Target returns the scheme, host and port that the action calls, as a URL.
func (p *Prepared) Target() string { return p.target.scheme + "://" + p.target.host }

// Timeout returns how long an attempt may last.
func (p *Prepared) Timeout() time.Duration { return p.action.Timeout }

// Concurrency returns how many attempts may be in flight at once.
func (p *Prepared) Concurrency() int { return p.action.Concurrency }

// Compile checks and compiles actions. What is wrong is reported together: each
// mistake by itself, and all undefined parameters of all actions as one
// UndefinedError.
func Compile(actions []Action, language *rules.Language, settings Settings) ([]*Prepared, error) {
	if settings.UserAgent == "" {
		settings.UserAgent = "event-relay"
	}
	all := &compilation{language: language, secrets: append([]string(nil), settings.Secrets...)}
	prepared := make([]*Prepared, 0, len(actions))
	places := map[string]string{}
	for _, action := range actions {
		one := &actionCompiler{compilation: all, action: action.withDefaults()}
		if first, taken := places[action.Name]; taken && action.Name != "" {
			one.fail("", fmt.Errorf("there is an action of that name already (%s)", first))
		}
		places[action.Name] = action.Place
		prepared = append(prepared, one.compile(settings))
	}
	if len(all.undefined) > 0 {
		all.errors = append(all.errors, &UndefinedError{Names: all.undefined})
	}
	if len(all.errors) > 0 {
		return nil, errors.Join(all.errors...)
	}
	// Only now are all secrets known that any action puts into a request.
	masker := newMasker(all.secrets)
	for _, p := range prepared {
		p.masker = masker
	}
	return prepared, nil
}

// compilation is what the actions of one Compile share.
type compilation struct {
	language  *rules.Language
	secrets   []string
	errors    []error
	undefined []UndefinedName
}

// actionCompiler compiles one action.
type actionCompiler struct {
	*compilation
	action Action
}

// fail reports a mistake in a part of the action (empty: the action itself).
func (c *actionCompiler) fail(place string, err error) {
	title := actionTitle(c.action.Name, c.action.Place)
	if place != "" {
		title += ", " + place
	}
	c.errors = append(c.errors, fmt.Errorf("%s: %w", title, err))
}

// template compiles a template: custom parameters are put in as they are, and
// what remains as tags comes with the event. It reports mistakes and then
// returns false.
func (c *actionCompiler) template(place, text string) (template, bool) {
	pieces, err := parseTemplate(text)
	if err != nil {
		c.fail(place, err)
		return nil, false
	}
	ok := true
	for i, p := range pieces {
		if p.tag == nil {
			continue
		}
		expression, err := c.language.Compile(p.tag.source)
		if err != nil {
			ok = false
			names, only := unknownNames(err)
			for _, unknown := range names {
				c.undefined = append(c.undefined, UndefinedName{Name: unknown.Name, Nearest: unknown.Suggestion,
					Action: c.action.Name, Configured: c.action.Place, Place: place})
			}
			if !only {
				c.fail(place, fmt.Errorf("%s: %w", position(text, p.offset), err))
			}
			continue
		}
		if expression.Verbatim() {
			ok = false
			c.fail(place, fmt.Errorf("%s: %s: verbatim is not available yet", position(text, p.offset), p.tag))
			continue
		}
		value, trusted := expression.Constant()
		if !trusted {
			p.tag.expression = expression
			continue
		}
		put, err := textOf(value)
		if err != nil {
			c.fail(place, fmt.Errorf("%s: %s: %w", position(text, p.offset), p.tag, err))
			ok = false
			continue
		}
		if c.namesSecret(p.tag.source) {
			c.secrets = append(c.secrets, put)
		}
		pieces[i] = piece{text: put, offset: p.offset, put: true}
	}
	return pieces, ok
}

var identifier = regexp.MustCompile(`[\pL_][\pL\pN_]*`)

// namesSecret reports whether an expression names a secret parameter: what it
// makes of that (in capitals, in base64) is as secret.
func (c *actionCompiler) namesSecret(source string) bool {
	for _, name := range identifier.FindAllString(source, -1) {
		if parameter, ok := c.language.Parameter(name); ok && parameter.Secret {
			return true
		}
	}
	return false
}

func (c *actionCompiler) compile(settings Settings) *Prepared {
	p := &Prepared{action: c.action, language: c.language}
	if err := c.action.check(); err != nil {
		c.fail("", err)
	}
	p.success, _ = parseStatuses(c.action.Success)
	c.url(p)
	c.query(p)
	c.headers(p, settings)
	c.body(p)
	return p
}

// query adds the query settings to the query that the URL has.
func (c *actionCompiler) query(p *Prepared) {
	for _, pair := range c.action.Query {
		place := "query " + pair.Name
		if looksTorn(pair.Name) || looksTorn(pair.Value) {
			c.fail(place, errTorn)
			continue
		}
		name, ok := c.template(place, pair.Name)
		value, valueOK := c.template(place, pair.Value)
		if !ok || !valueOK {
			continue
		}
		if pair.Name == "" {
			c.fail("query", errors.New("a query value needs a name"))
		}
		if len(p.query) > 0 {
			p.query = append(p.query, piece{text: "&"})
		}
		p.query = append(p.query, name.with(encodeWith(staysInQueryName), percent)...)
		p.query = append(p.query, piece{text: "="})
		p.query = append(p.query, value.with(encodeWith(staysInQueryValue), percent)...)
	}
	p.query = p.query.joined()
}

var errTorn = errors.New("this looks like what caddy fmt leaves of an unquoted template" + quoteHint)
