package postman

import (
	"slices"
	"strings"

	actiontemplate "github.com/caddy-event-relay/event-relay/handlers/forward/template"
)

// embedded escapes what comes with the event for JSON, XML and GraphQL that
// stands in another place, such as JSON in the field of a form: the relay escapes
// for the place only. what names the text in the report, contentType is its type,
// and read returns what a target reads where the literals are encoded.
func (c *conversion) embedded(t template, what, contentType string, read func(string) string) template {
	var literals []string
	var tags []int
	current, hasEvent := "", false
	for i, p := range t {
		if !p.isTag() || p.parameter != nil && p.parameter.resolved != "" && !p.inString {
			current += p.literal
			if p.parameter != nil {
				current += p.parameter.resolved
			}
			continue
		}
		hasEvent = hasEvent || p.event != ""
		literals, tags, current = append(literals, read(current)), append(tags, i), ""
	}
	if !hasEvent {
		return t
	}
	found := actiontemplate.FindEmbedded(append(literals, read(current)), contentType)
	out := slices.Clone(t)
	var escaped, open []string
	for n, i := range tags {
		p := &out[i]
		switch {
		case p.event == "":
		case len(found.Calls[n]) > 0:
			escaped = append(escaped, "{{"+p.name+"}}")
			p.expression, p.event = found.Wrap(n, p.event), ""
		case found.Broken:
			open = append(open, "{{"+p.name+"}}")
		}
	}
	if escaped != nil {
		c.note(Changed, "%s is %s: %s is escaped for that; Postman sends it as it is", what, found.Language, join(escaped))
	}
	if open != nil {
		c.note(Flagged, "%s looks like %s and is not well-formed: %s is not escaped for that, so that a quote in a value can change what the target reads", what, found.Language, join(open))
	}
	return out
}

// join lists tags, each once.
func join(tags []string) string {
	slices.Sort(tags)
	return strings.Join(slices.Compact(tags), ", ")
}

// asRead is for literals that are not encoded.
func asRead(text string) string { return text }

// embeddedInQuery is embedded for each value of a query, or of a body that is
// encoded like one.
func (c *conversion) embeddedInQuery(t template, what string) template {
	var out template
	for rest, more := t, true; more; {
		var pair template
		pair, rest, more = rest.cut(at("&", 1))
		if name, value, found := pair.cut(at("=", 1)); found {
			out = append(append(out, name...), piece{literal: "="})
			pair = c.embedded(value, "value "+cut(oneLine(name.known()), 40)+" of the "+what, "", actiontemplate.UnescapeQuery)
		}
		if out = append(out, pair...); more {
			out = append(out, piece{literal: "&"})
		}
	}
	return out.joined()
}
