package template

import (
	"fmt"
	"strings"

	"github.com/caddy-event-relay/event-relay/rules/language"
	"github.com/caddy-event-relay/event-relay/rules/tags"
)

// piece is a part of a template: literal text, or a tag. In a variant, custom
// parameters are literal text, and tags are left for what the event decides.
type piece struct {
	// text is the literal, when tag is nil.
	text string
	tag  *tag
	// offset is where the piece begins in the template as written, and put says
	// that text was put in there for a tag.
	offset int
	put    bool
}

// tag is one {{ expression }}.
type tag struct {
	// source is the expression as written, without outer blanks.
	source     string
	expression *language.Expression
	// missing is a custom parameter that has no value and leaves the tag's absent,
	// "" for a tag that comes with the event.
	missing string
	// escaping says how its value is put in.
	escaping escaping
}

// String shows the tag as an administrator knows it.
func (t *tag) String() string { return "{{" + t.source + "}}" }

// verbatim reports whether the value is put into a body without being escaped.
func (t *tag) verbatim() bool { return t.expression.Verbatim() }

// mayNot is the error for a tag that stands where only the configuration may
// choose.
func (t *tag) mayNot(choose string) error {
	if t.missing != "" {
		return &missingError{parameter: t.missing}
	}
	return fmt.Errorf("%s comes with the event and may not %s", t, choose)
}

// parseTemplate cuts a template into literals and tags whose expressions are not
// compiled yet.
func parseTemplate(text string) ([]piece, error) {
	cut, err := tags.Parse(text)
	if err != nil {
		return nil, err
	}
	pieces := make([]piece, len(cut))
	for i, p := range cut {
		pieces[i] = piece{text: p.Text, offset: p.Offset}
		if p.Source != "" {
			pieces[i].tag = &tag{source: p.Source}
		}
	}
	return pieces, nil
}

// template is a template with the custom parameters put in.
type template []piece

// text returns the whole template if nothing in it comes with the event.
func (t template) text() (string, bool) {
	var b strings.Builder
	for _, p := range t {
		if p.tag != nil {
			return "", false
		}
		b.WriteString(p.text)
	}
	return b.String(), true
}

// firstTag returns the first tag, or nil.
func (t template) firstTag() *tag {
	for _, p := range t {
		if p.tag != nil {
			return p.tag
		}
	}
	return nil
}

// with returns the template with its literals rewritten and its tags escaped
// in one way, neighbouring literals joined.
func (t template) with(literal func(string) string, how escaping) template {
	var out template
	for _, p := range t {
		if p.tag != nil {
			tagged := *p.tag
			tagged.escaping = how
			if tagged.verbatim() {
				tagged.escaping = asIs
			}
			out = append(out, piece{tag: &tagged, offset: p.offset})
			continue
		}
		out = append(out, piece{text: literal(p.text), offset: p.offset})
	}
	return out.joined()
}

// joined returns the template with neighbouring literals made one.
func (t template) joined() template {
	var out template
	for _, p := range t {
		if p.tag == nil && p.text == "" {
			continue
		}
		if last := len(out) - 1; p.tag == nil && last >= 0 && out[last].tag == nil {
			out[last].text += p.text
			continue
		}
		out = append(out, p)
	}
	return out
}
