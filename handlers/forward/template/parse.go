package template

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/rules/language"
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

// parseTemplate cuts a template into literals and tags. Of the expression language
// it knows strings and braces, to find the }} that ends a tag.
func parseTemplate(text string) ([]piece, error) {
	var pieces []piece
	for at := 0; at < len(text); {
		open := strings.Index(text[at:], "{{")
		if open < 0 {
			return append(pieces, piece{text: text[at:], offset: at}), nil
		}
		open += at
		if open > at {
			pieces = append(pieces, piece{text: text[at:open], offset: at})
		}
		length, problem := tagLength(text[open+2:])
		if problem != "" {
			return nil, fmt.Errorf("%s: %s%s", position(text, open), problem, quoteHint)
		}
		source := strings.TrimSpace(text[open+2 : open+2+length])
		if source == "" {
			return nil, fmt.Errorf("%s: the tag {{}} is empty", position(text, open))
		}
		pieces = append(pieces, piece{tag: &tag{source: source}, offset: open})
		at = open + 2 + length + 2
	}
	return pieces, nil
}

// CheckSyntax returns an error for a template that is none, whatever its names mean.
func CheckSyntax(text string) error {
	pieces, err := parseTemplate(text)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if p.tag == nil {
			continue
		}
		if err := language.CheckSyntax(p.tag.source); err != nil {
			return fmt.Errorf("%s: %w", position(text, p.offset), err)
		}
	}
	return nil
}

// tagLength returns how long the expression is that begins a text and ends
// with }}, or what keeps it from ending.
func tagLength(text string) (int, string) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'', '`':
			end := stringEnd(text, i)
			if end < 0 {
				return 0, fmt.Sprintf("the tag {{ is not closed: }} is missing, or the second %c of a string in it", c)
			}
			i = end
		case '{':
			depth++
		case '}':
			if depth > 0 {
				depth--
			} else if strings.HasPrefix(text[i:], "}}") {
				return i, ""
			}
		}
	}
	return 0, "the tag {{ is not closed by }}"
}

// stringEnd returns the index of the quote that ends the string beginning at
// i, or -1. A doubled backtick, which stands for one, reads as two strings.
func stringEnd(text string, i int) int {
	quote := text[i]
	for j := i + 1; j < len(text); j++ {
		switch {
		case text[j] == quote:
			return j
		case quote == '`':
		case text[j] == '\\':
			j++
		case text[j] == '\n':
			return -1
		}
	}
	return -1
}

const quoteHint = ` (put templates in quotes: "…", because caddy fmt tears an unquoted one apart)`

var tornTag = regexp.MustCompile(`^\{ ?[\pL_][^{}"]*\}\}|^\{+$`)

// looksTorn reports whether a text is what caddy fmt leaves of an unquoted
// template. Use it only for texts in which braces mean nothing else.
func looksTorn(text string) bool { return tornTag.MatchString(text) }

// position names a place in a template.
func position(text string, offset int) string {
	offset = min(offset, len(text))
	before := text[:offset]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	if !strings.Contains(text, "\n") {
		return fmt.Sprintf("at character %d", column)
	}
	return fmt.Sprintf("at line %d, character %d", line, column)
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
