package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/rules/tags"
)

// writtenAction holds an action's templates as the administrator wrote them, with
// their expressions compiled. Variants are made from it. It is never changed.
type writtenAction struct {
	action         config.Action
	userAgent      string
	url, body      writtenText
	query, headers []writtenPair
	auth           writtenAuth
	fields         []writtenField
	// mail is nil for an action that sends a request.
	mail *writtenMail
}

// writtenText is one template.
type writtenText struct {
	// place is the part of the action, for messages.
	place, text string
	pieces      []piece
	// inBody says that values may go unescaped.
	inBody bool
	// wrong says that the template is wrong, and that this has been reported.
	wrong bool
}

type writtenPair struct{ name, value writtenText }

func (p *writtenPair) wrong() bool { return p.name.wrong || p.value.wrong }

type writtenAuth struct{ name, user, value writtenText }

func (a *writtenAuth) wrong() bool { return a.name.wrong || a.user.wrong || a.value.wrong }

// writtenField is a field of a form, or of an urlencoded body; kind is the
// Content-Type of a form's part.
type writtenField struct{ name, value, kind writtenText }

func (f *writtenField) wrong() bool { return f.name.wrong || f.value.wrong || f.kind.wrong }

// texts returns all templates of the action.
func (w *writtenAction) texts() []writtenText {
	texts := []writtenText{w.url, w.body, w.auth.name, w.auth.user, w.auth.value}
	for _, field := range w.fields {
		texts = append(texts, field.name, field.value, field.kind)
	}
	for _, pairs := range [][]writtenPair{w.query, w.headers} {
		for _, pair := range pairs {
			texts = append(texts, pair.name, pair.value)
		}
	}
	if w.mail != nil {
		texts = append(texts, w.mail.texts()...)
	}
	return texts
}

// listTenants returns the tenants that have a variant of their own, sorted.
func (w *writtenAction) listTenants() []string {
	tenants := map[string]bool{}
	for _, text := range w.texts() {
		for _, p := range text.pieces {
			if p.tag != nil && p.tag.expression.Trusted() {
				for _, tenant := range p.tag.expression.Tenants() {
					tenants[tenant] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(tenants))
}

// write parses the action's templates and compiles their expressions, once for
// all variants. It reports what is wrong whatever is put in.
func (c *actionCompiler) write(userAgent string) *writtenAction {
	w := &writtenAction{action: c.action, userAgent: userAgent, mail: c.mail()}
	w.url = c.text("url", c.action.URL, tags.LooksTorn(c.action.URL))
	for _, pair := range c.action.Query {
		w.query = append(w.query, c.pair("query", pair))
		if pair.Name == "" {
			c.fail("query", errors.New("a query value needs a name"))
		}
	}
	for _, pair := range c.action.Headers {
		w.headers = append(w.headers, c.pair("header", pair))
	}
	auth := c.action.Auth
	w.auth = writtenAuth{c.fragment("auth", auth.Name), c.fragment("auth", auth.User), c.fragment("auth", auth.Secret())}
	body := c.action.Body
	w.body = c.bodyText("body", body.Text, body.Kind == config.BodyJSON && tags.LooksTorn(body.Text))
	for _, field := range body.Fields {
		place := "body field " + field.Name
		w.fields = append(w.fields, writtenField{
			c.fragment(place, field.Name), c.bodyText(place, field.Value, tags.LooksTorn(field.Value)), c.fragment(place, field.Type),
		})
	}
	return w
}

// fragment is text for a short template, in which braces stand only for tags.
func (c *actionCompiler) fragment(place, text string) writtenText {
	return c.text(place, text, tags.LooksTorn(text))
}

// bodyText is text for a template in which values may go unescaped.
func (c *actionCompiler) bodyText(place, text string, torn bool) writtenText {
	return c.parse(writtenText{place: place, text: text, inBody: true}, torn)
}

func (c *actionCompiler) pair(kind string, pair config.NameValue) writtenPair {
	place := kind + " " + pair.Name
	if tags.LooksTorn(pair.Name) || tags.LooksTorn(pair.Value) {
		c.fail(place, tags.ErrTorn)
		wrong := writtenText{place: place, wrong: true}
		return writtenPair{wrong, wrong}
	}
	return writtenPair{c.text(place, pair.Name, false), c.text(place, pair.Value, false)}
}

// text parses a template and compiles its expressions.
func (c *actionCompiler) text(place, text string, torn bool) writtenText {
	return c.parse(writtenText{place: place, text: text}, torn)
}

func (c *actionCompiler) parse(w writtenText, torn bool) writtenText {
	if torn {
		c.fail(w.place, tags.ErrTorn)
		return writtenText{place: w.place, wrong: true}
	}
	pieces, err := parseTemplate(w.text)
	if err != nil {
		c.fail(w.place, err)
		return writtenText{place: w.place, wrong: true}
	}
	for _, p := range pieces {
		if p.tag != nil && !c.expression(&w, p) {
			w.wrong = true
		}
	}
	if !w.wrong {
		w.pieces = pieces
	}
	return w
}

// expression compiles the expression of a tag. It reports mistakes and then
// returns false.
func (c *actionCompiler) expression(w *writtenText, p piece) bool {
	expression, err := c.language.Compile(p.tag.source)
	if err != nil {
		names, only := unknownNames(err)
		for _, unknown := range names {
			c.undefined = append(c.undefined, undefinedName{Name: unknown.Name, Meant: unknown.Meant(),
				Action: c.action.Name, Configured: c.action.Place, Place: w.place})
		}
		if !only {
			c.fail(w.place, fmt.Errorf("%s: %w", tags.Position(w.text, p.offset), err))
		}
		return false
	}
	if expression.Verbatim() && !w.inBody {
		c.fail(w.place, fmt.Errorf("%s: %s: verbatim is for the values of a body; here every value is escaped, so write it without verbatim",
			tags.Position(w.text, p.offset), p.tag))
		return false
	}
	p.tag.expression = expression
	return true
}
