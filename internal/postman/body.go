package postman

import (
	"encoding/json"
	"mime"
	"regexp"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// body is a body as collections describe it.
type body struct {
	Mode       json.RawMessage `json:"mode"`
	Raw        json.RawMessage `json:"raw"`
	URLEncoded json.RawMessage `json:"urlencoded"`
	FormData   json.RawMessage `json:"formdata"`
	GraphQL    json.RawMessage `json:"graphql"`
	Disabled   json.RawMessage `json:"disabled"`
	Options    struct {
		Raw struct {
			Language json.RawMessage `json:"language"`
		} `json:"raw"`
	} `json:"options"`
}

// types are the Content-Types of Postman's languages.
var types = map[string]string{
	"json": "application/json", "xml": "application/xml", "html": "text/html", "javascript": "application/javascript",
}

// body converts the body and returns the headers that remain.
func (c *conversion) body(it *item, fields []field) []field {
	var b body
	mode := "raw"
	switch data := it.request.Body; {
	case isText(data):
		b.Raw = data
	case isObject(data):
		decode(data, &b)
		if mode = strings.ToLower(textOf(b.Mode)); mode == "" || truthy(b.Disabled) {
			return fields
		}
	default:
		return fields
	}
	if method := c.action.Method; (method == "GET" || method == "HEAD") && !truthy(it.behavior["disableBodyPruning"]) {
		if !b.isEmpty(mode) {
			c.note(Changed, "the body is left out: Postman sends none with %s", method)
		}
		return fields
	}
	switch mode {
	case "urlencoded":
		return c.urlEncoded(b.URLEncoded, fields)
	case "formdata":
		return c.form(b.FormData, fields)
	case "graphql":
		if isAbsent(b.GraphQL) {
			b.GraphQL = json.RawMessage("{}")
		}
		return c.text(c.graphQL(b.GraphQL), "application/json", fields, it)
	case "file":
		c.leaveOut("its body is a file, which is on the computer of its author")
		return fields
	}
	raw := textOf(b.Raw)
	if raw == "" {
		return fields
	}
	language := textOf(b.Options.Raw.Language)
	own := contentTypeOf(fields)
	if language == "json" || language == "" && jsonType.MatchString(own) {
		if stripped := stripComments(raw); stripped != raw {
			raw = stripped
			c.note(Changed, "the comments in the JSON body are left out, as Postman does")
		}
	}
	kind := types[language]
	if kind == "" {
		kind = "text/plain"
	}
	return c.text(c.parse(raw), kind, fields, it)
}

var jsonType = regexp.MustCompile(`^application/(\S+\+)?json`)

// isEmpty reports whether nothing would be sent.
func (b *body) isEmpty(mode string) bool {
	switch mode {
	case "urlencoded":
		return isAbsent(b.URLEncoded) || isList(b.URLEncoded) && len(listOf(b.URLEncoded)) == 0
	case "formdata":
		return len(listOf(b.FormData)) == 0
	case "raw":
		return textOf(b.Raw) == ""
	}
	return false
}

// contentTypeOf returns the Content-Type among the headers. Of several the last
// counts.
func contentTypeOf(fields []field) string {
	text := ""
	for _, f := range fields {
		if f.is("Content-Type") {
			text = f.value.known()
		}
	}
	return text
}

// text converts a body that is one text. kind is its Content-Type if no header
// gives one.
func (c *conversion) text(t template, kind string, fields []field, it *item) []field {
	own := contentTypeOf(fields)
	if own != "" {
		kind = own
		if !strings.Contains(own, "{{") && c.typeIsFixed(fields) {
			// Rather a setting of the body than a header beside it.
			fields, _ = without(fields, func(f *field) bool { return f.is("Content-Type") })
			own = ""
		}
	} else {
		var headers map[string]json.RawMessage
		decode(it.behavior["disabledSystemHeaders"], &headers)
		if truthy(headers["content-type"]) {
			c.note(Changed, "the body is sent as %s; Postman would send no Content-Type", kind)
		}
	}
	text, fixed := t.fixed()
	blank := fixed && strings.TrimSpace(text) == ""
	media, _, err := mime.ParseMediaType(kind)
	if err != nil {
		media = ""
	}
	isJSON := media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
	if blank && isJSON {
		c.note(Changed, "the body is left out: Postman sends nothing but blanks, which are no JSON")
		if own == "" {
			fields = append(fields, field{name: literalOf("Content-Type"), value: literalOf(kind)})
		}
		return fields
	}
	b := new(config.Body)
	c.action.Body = b
	switch {
	case own == "" && kind == "application/json" && !blank:
		b.Kind = config.BodyJSON
	case own == "" && kind == "application/xml" && !blank:
		b.Kind = config.BodyXML
	default:
		b.Kind = config.BodyRaw
		if own == "" {
			b.Type = mendWhole(string(literalWriter(kind)))
		}
	}
	if isJSON {
		t = c.placeInJSON(t)
	}
	if media == "application/x-www-form-urlencoded" {
		t = c.embeddedInQuery(t, "body")
	} else {
		t = c.embedded(t, "the body", kind, asRead)
	}
	b.Text = c.write(t, anywhere)
	return fields
}

func literalWriter(text string) writer {
	var w writer
	w.literal(text)
	return w
}

// typeIsFixed reports whether the Content-Type holds no tags.
func (c *conversion) typeIsFixed(fields []field) bool {
	for _, f := range fields {
		if _, fixed := f.value.fixed(); f.is("Content-Type") && !fixed {
			return false
		}
	}
	return true
}

// placeInJSON notes which variables stand for whole values of JSON: nothing
// cannot be one. Where the value of a variable in a string makes the body no
// JSON, it is escaped.
func (c *conversion) placeInJSON(t template) template {
	sample, withoutBare, escaped := new(strings.Builder), new(strings.Builder), make(template, len(t))
	var bare []string
	add := func(text string) {
		sample.WriteString(text)
		withoutBare.WriteString(text)
	}
	inString, afterBackslash := false, false
	for i, p := range t {
		escaped[i] = p
		switch {
		case p.inString:
			add("x")
		case p.parameter != nil && inString:
			escaped[i].inString = breaksJSON(p.parameter.resolved)
			add(p.parameter.resolved)
		case p.parameter != nil && p.parameter.resolved == "":
			p.parameter.use(bareInJSON)
			add("null")
		case p.parameter != nil:
			p.parameter.use(bareInJSON)
			sample.WriteString(p.parameter.resolved)
			withoutBare.WriteString("null")
			if !json.Valid([]byte(p.parameter.resolved)) {
				bare = append(bare, p.name)
			}
		case p.isTag() && inString:
			add("x")
		case p.isTag():
			add("null")
		}
		add(p.literal)
		for i := range len(p.literal) {
			switch ch := p.literal[i]; {
			case afterBackslash:
				afterBackslash = false
			case ch == '\\':
				afterBackslash = inString
			case ch == '"':
				inString = !inString
			}
		}
	}
	if sample.Len() > maxTemplate || json.Valid([]byte(sample.String())) {
		return t
	}
	if len(bare) > 0 && json.Valid([]byte(withoutBare.String())) {
		c.leaveOut("the body is no JSON: the value of {{%s}} stands outside of quotes, and is neither a number nor another value of JSON", oneLine(bare[0]))
		return t
	}
	for i, p := range escaped {
		if p.inString && !t[i].inString {
			c.note(Changed, "the value of {{%s}} is escaped in the JSON body; Postman sends it as it is, which makes the body no JSON", p.name)
		}
	}
	return escaped
}

// urlEncoded converts a body of names and values.
func (c *conversion) urlEncoded(data json.RawMessage, fields []field) []field {
	var list []config.BodyField
	add := func(name, value string) {
		if name == "" {
			c.note(Changed, "a field of the body without a name is left out")
			return
		}
		list = append(list, config.BodyField{Name: c.fieldName(name), Value: c.write(c.embedded(c.parse(value), "field "+cut(oneLine(name), 40)+" of the body", "", asRead), anywhere)})
	}
	if isText(data) && textOf(data) != "" {
		for one := range strings.SplitSeq(textOf(data), "&") {
			name, value, _ := strings.Cut(one, "=")
			add(name, value)
		}
	}
	for _, p := range listOf(data) {
		if !truthy(p.Disabled) {
			add(textOf(p.Key), textOf(p.Value))
		}
	}
	if list == nil {
		return fields
	}
	c.action.Body = &config.Body{Kind: config.BodyURLEncoded, Fields: list}
	return c.dropType(fields)
}

// form converts a body of parts.
func (c *conversion) form(data json.RawMessage, fields []field) []field {
	var list []config.BodyField
	found := false
	for _, p := range listOf(data) {
		if truthy(p.Disabled) {
			continue
		}
		found = true
		name := textOf(p.Key)
		switch {
		case textOf(p.Type) == "file":
			c.note(Changed, "the file %q of the form is left out: it is on the computer of its author", name)
		case name == "":
			c.note(Changed, "a field of the form without a name is left out")
		default:
			value := textOf(p.Value)
			if !truthy(p.Value) {
				value = ""
			}
			one := config.BodyField{Name: c.fieldName(name)}
			kind := textOf(p.ContentType)
			if written := c.parse(kind); isText(p.ContentType) && strings.Contains(written.known(), "/") {
				one.Type = c.write(written, contentType)
			} else if kind != "" {
				c.note(Changed, "the type %q of field %q is left out: it is no Content-Type", kind, name)
			}
			one.Value = c.write(c.embedded(c.parse(value), "field "+cut(oneLine(name), 40)+" of the form", c.parse(one.Type).known(), asRead), anywhere)
			list = append(list, one)
		}
	}
	if list == nil {
		if found {
			c.note(Flagged, "nothing of the form is left, so that no body is sent")
		}
		return fields
	}
	c.action.Body = &config.Body{Kind: config.BodyForm, Fields: list}
	return c.dropType(fields)
}

// dropType drops a Content-Type that the body sets by itself. Postman keeps one
// of an urlencoded body that says no other thing.
func (c *conversion) dropType(fields []field) []field {
	if c.action.Body != nil && c.action.Body.Kind == config.BodyURLEncoded && strings.HasPrefix(contentTypeOf(fields), "application/x-www-form-urlencoded") {
		return fields
	}
	rest, found := without(fields, func(f *field) bool { return f.is("Content-Type") })
	if found {
		c.note(Changed, "header Content-Type is left out: the body brings its own")
	}
	return rest
}

// graphQL writes a GraphQL query as Postman does: the variables as they are.
func (c *conversion) graphQL(data json.RawMessage) template {
	var q struct {
		Query         json.RawMessage `json:"query"`
		OperationName json.RawMessage `json:"operationName"`
		Variables     json.RawMessage `json:"variables"`
	}
	decode(data, &q)
	var t template
	add := func(name string, value template) {
		separator := ","
		if t == nil {
			separator = "{"
		}
		t = append(append(t, piece{literal: separator + `"` + name + `":`}), value...)
	}
	if isText(q.Query) {
		add("query", c.quotedJSON(textOf(q.Query)))
	}
	if isText(q.OperationName) {
		add("operationName", c.quotedJSON(textOf(q.OperationName)))
	}
	if variables := textOf(q.Variables); variables != "" {
		add("variables", c.parse(variables))
	}
	if t == nil {
		t = literalOf("{")
	}
	return append(t, piece{literal: "}"}).joined()
}

// quotedJSON makes a JSON string of a text with the values of variables in it.
func (c *conversion) quotedJSON(text string) template {
	t := c.parse(text).mapLiterals(func(literal string) string {
		quoted := quoteJSON(literal)
		return quoted[1 : len(quoted)-1]
	})
	for i := range t {
		t[i].inString = t[i].parameter != nil && breaksJSON(t[i].parameter.resolved)
	}
	return append(append(literalOf(`"`), t...), piece{literal: `"`})
}

// breaksJSON reports whether a text cannot stand in a JSON string as it is.
func breaksJSON(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r == '"' || r == '\\' || r < ' ' })
}

// quoteJSON writes a JSON string as JavaScript does.
func quoteJSON(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(text) != nil {
		return `""`
	}
	return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
}

// stripComments removes what stands after // and between /* and */, outside of
// strings. The line feed that ends a comment is kept.
func stripComments(text string) string {
	var b strings.Builder
	inString := false
	for i := 0; i < len(text); i++ {
		switch {
		case inString:
			if text[i] == '\\' && i+1 < len(text) {
				b.WriteByte(text[i])
				i++
			} else if text[i] == '"' {
				inString = false
			}
		case text[i] == '"':
			inString = true
		case strings.HasPrefix(text[i:], "//"):
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				return b.String()
			}
			// A carriage return before it goes too.
			i += end
		case strings.HasPrefix(text[i:], "/*"):
			end := strings.Index(text[i+2:], "*/")
			if end < 0 {
				return b.String()
			}
			i += end + 3
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
