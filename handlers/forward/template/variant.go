package template

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/textencoding"
	"github.com/caddy-event-relay/event-relay/rules/tags"
)

// variant is what an action's templates make for the events of one tenant, or
// of all tenants without a value of their own: the custom parameters are put in,
// and the URL is parsed. Of a mail it holds target, mail, missing and unproven.
type variant struct {
	target  send.Target
	path    []pathPart
	query   template
	hasMark bool // a ? is sent, also when nothing follows it
	headers []header
	// fixed holds the header fields that are the same in every request.
	fixed http.Header
	host  string
	auth  *credentials
	body  template
	// verify is what a value could keep the body from being.
	verify wellFormed
	// form are the parts of a form, in place of body.
	form []formPart
	// forward says that the body is the event's.
	forward bool
	// mail is what mails are made of, nil for requests.
	mail *mailParts
	// missing says which parameter lacks a value that the request needs, nil if none
	// does.
	missing *missingError
	// unproven is the error of a request that would go without its credentials, nil
	// if it has them or needs none.
	unproven error
}

// missingError means that a parameter has no value in a place, such as a host, that
// only the configuration can fill.
type missingError struct{ place, parameter string }

// Error names the parameter.
func (e *missingError) Error() string {
	return fmt.Sprintf("%s: parameter %s has no value", e.place, e.parameter)
}

// unsent is the error of a request that cannot be made for a tenant.
func (e *missingError) unsent(tenant string) error {
	whose := "for events without a tenant"
	if tenant != "" {
		whose = "for tenant " + strconv.Quote(textencoding.Cut(tenant, 64))
	}
	return fmt.Errorf("%w %s and no default; not sent: add the one or the other to the parameter", e, whose)
}

// builder makes one variant of an action.
type builder struct {
	*writtenAction
	// tenant is "" for all tenants without a value of their own.
	tenant string
	made   *variant
	// authorization is the header that user and password in the URL ask for.
	authorization string
	// given are the header fields that the action names itself.
	given map[string]bool
	// secrets are the texts put in that must not be shown.
	secrets  []string
	problems []problem
}

// build makes the variant for a tenant. The builder says what is wrong with it.
func (w *writtenAction) build(tenant string) *builder {
	b := &builder{writtenAction: w, tenant: tenant, made: new(variant), given: map[string]bool{}}
	if w.mail != nil {
		b.makeMail()
		return b
	}
	b.makeURL()
	b.makeQuery()
	b.makeHeaders()
	b.makeAuth()
	b.makeBody()
	return b
}

// fail notes a mistake, or a parameter without a value.
func (b *builder) fail(place string, err error) {
	if lacks := (*missingError)(nil); errors.As(err, &lacks) {
		if b.made.missing == nil {
			b.made.missing = &missingError{place: place, parameter: lacks.parameter}
		}
		return
	}
	if p := (problem{place, err.Error()}); !slices.Contains(b.problems, p) {
		b.problems = append(b.problems, p)
	}
}

// fill puts custom parameters into a template, as they are. What remains as tags
// comes with the event, or is absent.
func (b *builder) fill(w writtenText) template {
	filled := make(template, len(w.pieces))
	for i, p := range w.pieces {
		filled[i] = p
		if p.tag == nil || !p.tag.expression.Trusted() {
			continue
		}
		value := p.tag.expression.For(b.tenant)
		if value.Value == nil && len(value.Missing) > 0 {
			lacking := *p.tag
			lacking.missing = value.Missing[0]
			filled[i].tag = &lacking
			continue
		}
		put, err := event.TextOf(value.Value)
		if err != nil {
			b.fail(w.place, fmt.Errorf("%s: %s: %w", tags.Position(w.text, p.offset), p.tag, err))
		}
		if value.Secret {
			b.secrets = append(b.secrets, put)
		}
		filled[i] = piece{text: put, offset: p.offset, put: true}
	}
	return filled
}
