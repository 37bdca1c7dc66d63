package template

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// Embedded is what was found out about a text that stands inside another place,
// such as JSON in the field of a form. There the relay escapes for the place only,
// so that a quote in a value could end a string of the text.
type Embedded struct {
	// Language is "JSON", "XML" or "GraphQL", or "" for a text in none of them.
	Language string
	// Broken says that a text looks like the language and is not well-formed, so
	// that nothing is known of its tags.
	Broken bool
	// Calls are for each tag the functions that escape its value for the text, the
	// innermost first.
	Calls [][]string
}

// Wrap puts the functions for a tag around its expression.
func (e *Embedded) Wrap(tag int, expression string) string {
	for _, call := range e.Calls[tag] {
		expression = call + "(" + expression + ")"
	}
	return expression
}

// inPlace leaves out the functions whose work the relay does by itself, for a
// text whose type says that it is of that language.
func (e *Embedded) inPlace() {
	for i, calls := range e.Calls {
		e.Calls[i] = calls[:max(len(calls)-1, 0)]
	}
}

// maxEmbedded bounds how many texts are looked for inside one another.
const maxEmbedded = 8

// FindEmbedded finds out which language a template's text is in, and how the
// values of its tags are to be escaped. There is one literal more than there are
// tags: one before each, and the last behind all. contentType is that of the text:
// for what it says the relay escapes by itself, and only what stands in strings of
// the text is of interest.
func FindEmbedded(literals []string, contentType string) Embedded {
	found := findEmbedded(literals, 0)
	switch how, _ := escapeFor(config.BodyRaw, contentType); {
	case how == jsonText && found.Language == "JSON", how == xmlText && found.Language == "XML":
		if len(literals) > 1 {
			found.inPlace()
		}
	case how == jsonText || how == xmlText:
		return Embedded{Calls: make([][]string, len(literals)-1)}
	}
	return found
}

var (
	graphQL = regexp.MustCompile(`^\s*(?:(?:query|mutation|subscription|fragment)\b[^"{]*[{(]|\{\s*[_A-Za-z]\w*\s*[\s{(:}])`)
	markup  = regexp.MustCompile(`^\s*<[A-Za-z!?/]`)
)

func findEmbedded(literals []string, depth int) Embedded {
	none := Embedded{Calls: make([][]string, len(literals)-1)}
	if len(literals) < 2 || depth == maxEmbedded {
		return none
	}
	begin := strings.TrimSpace(literals[0])
	switch {
	case strings.HasPrefix(begin, "{") || strings.HasPrefix(begin, "["):
		if found, ok := embeddedJSON(literals, depth); ok {
			return found
		}
		if graphQL.MatchString(literals[0]) {
			return embeddedGraphQL(literals)
		}
		if strings.Contains(strings.Join(literals, ""), `"`) {
			none.Language, none.Broken = "JSON", true
		}
	case markup.MatchString(begin):
		return embeddedXML(literals)
	case graphQL.MatchString(literals[0]):
		return embeddedGraphQL(literals)
	}
	return none
}

// embeddedJSON reads a text as JSON with tags in it.
func embeddedJSON(literals []string, depth int) (found Embedded, ok bool) {
	found = Embedded{Language: "JSON", Calls: make([][]string, len(literals)-1)}
	var reader jsonReader
	var sample strings.Builder
	// content are the literals of the string that is open, of whose tags the
	// first has the number from.
	var content []string
	from := 0
	endString := func() {
		inner, unread := make([]string, len(content)), false
		for i, text := range content {
			unread = unread || json.Unmarshal([]byte(`"`+text+`"`), &inner[i]) != nil
		}
		if len(content) < 2 || unread {
			return
		}
		within := findEmbedded(inner, depth+1)
		found.Broken = found.Broken || within.Broken
		for i, calls := range within.Calls {
			found.Calls[from+i] = append(calls, found.Calls[from+i]...)
		}
	}
	for i, text := range literals {
		for text != "" {
			inString := reader.inString
			at := 0
			for at < len(text) && reader.inString == inString {
				reader.read(text[at : at+1])
				at++
			}
			part := text[:at]
			sample.WriteString(part)
			text = text[at:]
			switch {
			case inString && !reader.inString:
				content[len(content)-1] += part[:len(part)-1]
				endString()
			case inString:
				content[len(content)-1] += part
			case reader.inString:
				content, from = []string{""}, i
			}
		}
		if i == len(found.Calls) {
			break
		}
		if reader.inString {
			content = append(content, "")
			found.Calls[i] = []string{"json_text"}
			sample.WriteString("x")
			continue
		}
		found.Calls[i] = []string{"tojson"}
		value := "null"
		if reader.atKey() {
			value = `""`
		}
		sample.WriteString(value)
		reader.read(value)
	}
	return found, json.Valid([]byte(sample.String()))
}

// embeddedXML reads a text as XML with tags in it.
func embeddedXML(literals []string) Embedded {
	found := Embedded{Language: "XML", Calls: make([][]string, len(literals)-1)}
	var reader xmlReader
	for i := range found.Calls {
		reader.read(literals[i])
		switch reader.place {
		case xmlContent, xmlSingle, xmlDouble, xmlCDATA:
			found.Calls[i] = []string{"toxml"}
		default:
			found.Broken = true
		}
	}
	if found.Broken = found.Broken || readXML([]byte(strings.Join(literals, "x"))) != nil; found.Broken {
		found.Calls = make([][]string, len(found.Calls))
	}
	return found
}

// embeddedGraphQL reads a text as a query of GraphQL, whose strings are escaped
// like those of JSON. In comments and texts in three quotes that is more than is
// needed, and keeps a value inside all the same.
func embeddedGraphQL(literals []string) Embedded {
	found := Embedded{Language: "GraphQL", Calls: make([][]string, len(literals)-1)}
	// end is what ends the string or comment that is open.
	end := ""
	for i := range found.Calls {
		for text := literals[i]; text != ""; {
			skip := 1
			switch {
			case end == "" && text[0] == '#':
				end = "\n"
			case end == "" && strings.HasPrefix(text, `"""`):
				end, skip = `"""`, 3
			case end == "" && text[0] == '"':
				end = `"`
			case end != "" && end != "\n" && text[0] == '\\':
				skip = 2
			case end != "" && strings.HasPrefix(text, end):
				end, skip = "", len(end)
			}
			text = text[min(skip, len(text)):]
		}
		found.Calls[i] = []string{"tojson"}
		if end != "" {
			found.Calls[i] = []string{"json_text"}
		}
	}
	return found
}

// harmless matches expressions whose value cannot end a string, or is escaped by
// the administrator already.
var harmless = regexp.MustCompile(`\b(?:json_text|to(?:json|JSON|xml|Base64)|urlencode|verbatim|digits|int|float|len|hmac_sha256|format_time|now|round|floor|ceil)\s*\(|^(?:id|event|source)$`)

// Unescaped says of each text of the action that is JSON, XML or GraphQL in
// another place which tags should be escaped for it, and how.
func (s *Set) Unescaped() (warnings []string) {
	w := s.written
	look := func(place string, pieces []piece, contentType string) {
		literals, tags := []string{""}, []*tag(nil)
		for _, piece := range pieces {
			if piece.tag == nil {
				literals[len(literals)-1] += piece.text
				continue
			}
			literals, tags = append(literals, ""), append(tags, piece.tag)
		}
		found := FindEmbedded(literals, contentType)
		for i, tag := range tags {
			if len(found.Calls[i]) == 0 || tag.expression.Trusted() || harmless.MatchString(tag.source) {
				continue
			}
			warnings = append(warnings, place+": "+tag.String()+" stands in "+found.Language+
				", for which it is not escaped there: a quote in the value breaks it, or changes what the target reads; write {{"+
				found.Wrap(i, tag.source)+"}}")
		}
	}
	for _, value := range queryValues(w.url.pieces) {
		look(w.url.place, value, "")
	}
	contentType := w.action.Body.Type
	for _, header := range w.headers {
		look(header.value.place, header.value.pieces, "")
		if strings.EqualFold(header.name.text, "Content-Type") {
			contentType = header.value.text
		}
	}
	for _, pair := range w.query {
		look(pair.value.place, pair.value.pieces, "")
	}
	for _, field := range w.fields {
		look(field.value.place, field.value.pieces, field.kind.text)
	}
	switch w.action.Body.Kind {
	case config.BodyJSON:
		contentType = "application/json"
	case config.BodyXML:
		contentType = "application/xml"
	}
	look(w.body.place, w.body.pieces, contentType)
	return warnings
}

// queryValues cuts the values of the query out of a URL.
func queryValues(address []piece) (values [][]piece) {
	inQuery, inValue := false, false
	for _, p := range address {
		if p.tag != nil {
			if inValue {
				values[len(values)-1] = append(values[len(values)-1], p)
			}
			continue
		}
		for text := p.text; text != ""; {
			stop := "?"
			if inValue {
				stop = "&"
			} else if inQuery {
				stop = "="
			}
			before, after, found := strings.Cut(text, stop)
			if inValue && before != "" {
				values[len(values)-1] = append(values[len(values)-1], piece{text: UnescapeQuery(before)})
			}
			if text = after; !found {
				break
			}
			inQuery, inValue = true, stop == "="
			if inValue {
				values = append(values, nil)
			}
		}
	}
	return values
}

// UnescapeQuery returns what a target reads in a query, or the text as it is if
// that is not encoded as it should be.
func UnescapeQuery(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
