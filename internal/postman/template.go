package postman

import (
	"regexp"
	"strings"
)

// template is a text of Postman's, cut at its tags. Postman replaces tags again
// and again; here that is done once, by putting the values of variables in that
// cannot be parameters.
type template []piece

// piece is literal text, or a tag.
type piece struct {
	literal string
	// Of the following, one is set for a tag: a variable that becomes a custom
	// parameter, a system parameter of the event, or an expression in place of
	// one of Postman's dynamic variables.
	parameter  *variable
	event      string
	expression string
	// inString says that the parameter's value is to be escaped for a JSON string.
	inString bool
	// name is the tag's own name, for messages and for a parameter in its place.
	name string
}

func (p *piece) isTag() bool { return p.parameter != nil || p.event != "" || p.expression != "" }

// fromEvent reports whether the piece has its value from the event, or from the
// moment, and not from the configuration.
func (p *piece) fromEvent() bool { return p.event != "" || p.expression != "" }

var tagPattern = regexp.MustCompile(`\{\{([^{}]*)\}\}`)

// cutTags cuts a text at its tags and calls literal and tag with the parts.
func cutTags(text string, literal, tag func(string)) {
	at := 0
	for _, found := range tagPattern.FindAllStringSubmatchIndex(text, -1) {
		if found[0] > at {
			literal(text[at:found[0]])
		}
		tag(text[found[2]:found[3]])
		at = found[1]
	}
	if at < len(text) {
		literal(text[at:])
	}
}

// joined returns the template with neighbouring literals made one.
func (t template) joined() template {
	out := make(template, 0, len(t))
	for _, p := range t {
		if !p.isTag() {
			if p.literal == "" {
				continue
			}
			if last := len(out) - 1; last >= 0 && !out[last].isTag() {
				out[last].literal += p.literal
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

// mapLiterals returns the template with its literals rewritten.
func (t template) mapLiterals(rewrite func(string) string) template {
	out := make(template, len(t))
	for i, p := range t {
		if !p.isTag() {
			p.literal = rewrite(p.literal)
		}
		out[i] = p
	}
	return out
}

// cut cuts the template at the first place in a literal where index finds
// something, and drops as many bytes as index says. found is false if there is
// no such place; then all is before.
func (t template) cut(index func(string) (at, length int)) (before, after template, found bool) {
	for i, p := range t {
		if p.isTag() {
			continue
		}
		if at, length := index(p.literal); at >= 0 {
			before = append(t[:i:i], piece{literal: p.literal[:at]})
			after = append(template{{literal: p.literal[at+length:]}}, t[i+1:]...)
			return before.joined(), after.joined(), true
		}
	}
	return t, nil, false
}

// cutLast is cut for the last place.
func (t template) cutLast(separator string) (before, after template, found bool) {
	for i := len(t) - 1; i >= 0; i-- {
		if t[i].isTag() {
			continue
		}
		if at := strings.LastIndex(t[i].literal, separator); at >= 0 {
			before = append(t[:i:i], piece{literal: t[i].literal[:at]})
			after = append(template{{literal: t[i].literal[at+len(separator):]}}, t[i+1:]...)
			return before.joined(), after.joined(), true
		}
	}
	return t, nil, false
}

// at returns an index function for cut.
func at(separators string, length int) func(string) (int, int) {
	return func(text string) (int, int) { return strings.IndexAny(text, separators), length }
}

// isEmpty reports whether nothing is in the template.
func (t template) isEmpty() bool { return len(t.joined()) == 0 }

// known returns what the template becomes with the values that variables have
// in the collection, or the beginning of it. Tags without one are left out.
func (t template) known() string {
	var b strings.Builder
	for _, p := range t {
		if b.Len() > maxTemplate {
			break
		}
		switch {
		case p.parameter != nil:
			b.WriteString(p.parameter.resolved)
		case !p.isTag():
			b.WriteString(p.literal)
		}
	}
	return b.String()
}

// fixed returns the template's text if it holds no tags.
func (t template) fixed() (string, bool) {
	switch joined := t.joined(); {
	case len(joined) == 0:
		return "", true
	case len(joined) == 1 && !joined[0].isTag():
		return joined[0].literal, true
	}
	return "", false
}

func literalOf(text string) template { return template{{literal: text}}.joined() }

// size is about how much memory the template takes, written, filled or as it is.
func (t template) size() int {
	size := 0
	for _, p := range t {
		size += len(p.literal) + 64
		if p.parameter != nil {
			size += len(p.parameter.resolved)
		}
	}
	return size
}
