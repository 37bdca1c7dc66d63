package postman

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// urlParts is a URL that is cut into parts.
type urlParts struct {
	Raw      json.RawMessage `json:"raw"`
	Protocol json.RawMessage `json:"protocol"`
	Auth     struct {
		User     json.RawMessage `json:"user"`
		Password json.RawMessage `json:"password"`
	} `json:"auth"`
	Host     json.RawMessage `json:"host"`
	Port     json.RawMessage `json:"port"`
	Path     json.RawMessage `json:"path"`
	Query    json.RawMessage `json:"query"`
	Variable json.RawMessage `json:"variable"`
}

// urlText returns a URL as one text, as Postman puts it together: from its
// parts, with the path variables put in, without what is disabled. missing
// returns what stands for a path variable without a value.
func urlText(data json.RawMessage, missing func(name string) string) string {
	if isText(data) {
		return withPathVariables(textOf(data), nil, missing)
	}
	var parts urlParts
	decode(data, &parts)
	if isAbsent(parts.Host) && isAbsent(parts.Path) {
		// Postman itself sends nothing then.
		return withPathVariables(textOf(parts.Raw), parts.Variable, missing)
	}
	var b strings.Builder
	if protocol := textOf(parts.Protocol); protocol != "" {
		b.WriteString(strings.TrimSuffix(protocol, "://") + "://")
	}
	if user, password := isText(parts.Auth.User), isText(parts.Auth.Password); user || password {
		b.WriteString(textOf(parts.Auth.User))
		if password {
			b.WriteString(":" + textOf(parts.Auth.Password))
		}
		b.WriteString("@")
	}
	b.WriteString(strings.Join(segments(parts.Host), "."))
	if port := textOf(parts.Port); port != "" {
		b.WriteString(":" + port)
	}
	if path := pathSegments(parts.Path); path != nil {
		b.WriteString("/" + strings.Join(fillPath(path, parts.Variable, missing), "/"))
	}
	if query, given := queryText(parts.Query); given {
		b.WriteString("?" + query)
	}
	return b.String()
}

// segments returns the elements of a host or path, which is a text or a list.
func segments(data json.RawMessage) []string {
	if !isList(data) {
		if isAbsent(data) {
			return nil
		}
		return []string{textOf(data)}
	}
	var list []json.RawMessage
	decode(data, &list)
	texts := make([]string, len(list))
	for i, element := range list {
		if isObject(element) {
			var wrapped struct {
				Value json.RawMessage `json:"value"`
			}
			decode(element, &wrapped)
			element = wrapped.Value
		}
		texts[i] = textOf(element)
	}
	return texts
}

func pathSegments(data json.RawMessage) []string {
	if !isText(data) {
		return segments(data)
	}
	text := strings.TrimPrefix(textOf(data), "/")
	if text == "" && textOf(data) == "" {
		return nil
	}
	return strings.Split(text, "/")
}

// fillPath puts the path variables in. One begins a segment and ends with it or
// at a full stop. Only a text that is not empty is put in.
func fillPath(path []string, data json.RawMessage, missing func(name string) string) []string {
	variables := map[string]json.RawMessage{}
	for _, p := range listOf(data) {
		key := textOf(p.Key)
		if key == "" {
			key = textOf(p.ID)
		}
		variables[key] = p.Value
	}
	for i, segment := range path {
		name, isVariable := strings.CutPrefix(segment, ":")
		if !isVariable {
			continue
		}
		name, _, _ = strings.Cut(name, ".")
		if value := variables[name]; isText(value) && textOf(value) != "" {
			path[i] = textOf(value) + segment[1+len(name):]
		} else if isPathVariable.MatchString(name) {
			path[i] = missing(name) + segment[1+len(name):]
		}
	}
	return path
}

// isPathVariable matches what people call a path variable. A segment such as :80
// is text.
var isPathVariable = regexp.MustCompile(`^[\pL_][^{}]*$`)

// asItStands is for path variables without a value: Postman sends their names.
func asItStands(name string) string { return ":" + name }

// withPathVariables is fillPath for a URL that is one text.
func withPathVariables(text string, data json.RawMessage, missing func(name string) string) string {
	end := strings.IndexAny(text, "?#")
	if end < 0 {
		end = len(text)
	}
	return strings.Join(fillPath(strings.Split(text[:end], "/"), data, missing), "/") + text[end:]
}

// queryText returns a query as one text, and whether there is any.
func queryText(data json.RawMessage) (string, bool) {
	switch {
	case isText(data):
		return textOf(data), textOf(data) != ""
	case isObject(data):
		return objectQuery(data)
	}
	var list []string
	for _, p := range listOf(data) {
		if truthy(p.Disabled) {
			continue
		}
		one := ""
		if isText(p.Key) {
			one = escapeReserved(textOf(p.Key), true)
		}
		if isText(p.Value) {
			one += "=" + escapeReserved(textOf(p.Value), false)
		}
		list = append(list, one)
	}
	return strings.Join(list, "&"), list != nil
}

// objectQuery is queryText for {"name": "value"}, in the order of the file.
func objectQuery(data json.RawMessage) (string, bool) {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	var list []string
	if _, err := decoder.Token(); err != nil {
		return "", false
	}
	for decoder.More() {
		key, err := decoder.Token()
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			break
		}
		one := escapeReserved(fmt.Sprint(key), true)
		if isText(value) {
			one += "=" + escapeReserved(textOf(value), false)
		}
		list = append(list, one)
	}
	return strings.Join(list, "&"), list != nil
}

// escapeReserved percent-encodes what would end a query value, but not in tags.
func escapeReserved(text string, key bool) string {
	replace := strings.NewReplacer("&", "%26", "#", "%23")
	if key {
		replace = strings.NewReplacer("&", "%26", "#", "%23", "=", "%3D")
	}
	var b strings.Builder
	cutTags(text, func(literal string) { _, _ = replace.WriteString(&b, literal) }, func(name string) { b.WriteString("{{" + name + "}}") })
	return b.String()
}

// address converts the request's URL: what Postman puts together, cut anew with the
// values of variables known, as Postman does before it sends.
func (c *conversion) address(it *item) {
	whole := c.parse(urlText(it.request.URL, func(name string) string { return "{{" + pathMark + name + "}}" }))
	if len(whole) > 0 && !whole[0].isTag() {
		whole[0].literal = strings.TrimLeftFunc(whole[0].literal, unicode.IsSpace)
	}
	whole = whole.joined()
	if whole.isEmpty() {
		c.leaveOut("it has no URL")
		return
	}
	if last := &whole[len(whole)-1]; !last.isTag() {
		trimmed := strings.TrimRightFunc(last.literal, unicode.IsSpace)
		last.literal = trimmed + strings.Repeat("%20", len([]rune(last.literal[len(trimmed):])))
	}
	// What follows # is never sent.
	whole, _, _ = whole.cut(at("#", 1))
	address, query, hasQuery := whole.cut(at("?", 1))
	address = address.mapLiterals(func(text string) string { return strings.ReplaceAll(text, `\`, "/") })
	address = withScheme(address)

	authority, path := c.cutAuthority(address)
	// Its places are noted already.
	c.placeSegments(path)
	text := c.write(authority, contentType) + c.write(path, inPath)
	if hasQuery {
		rest, lines := query, []pairTemplate(nil)
		if known := address.known(); !strings.ContainsAny(known, "?#") {
			rest, lines, hasQuery = c.cutQuery(query)
			if strings.Contains(rest.known(), "#") {
				// What follows it is not sent.
				rest, lines = query, nil
			}
		}
		if hasQuery {
			text += "?" + c.write(c.embeddedInQuery(rest, "query"), anywhere)
		}
		for _, line := range lines {
			c.action.Query = append(c.action.Query, config.NameValue{Name: c.write(line.name, anywhere), Value: c.write(c.embedded(line.value, "value "+cut(oneLine(line.name.known()), 40)+" of the query", "", asRead), anywhere)})
		}
	}
	c.action.URL = mendWhole(text)
}

// cutScheme cuts a URL at the :// that is written in it, if that ends a scheme.
func cutScheme(address template) (scheme, rest template, found bool) {
	scheme, rest, found = address.cut(func(text string) (int, int) { return strings.Index(text, "://"), 3 })
	if !found || strings.Contains(scheme.known(), "://") {
		return nil, address, false
	}
	for _, p := range scheme {
		if strings.Contains(p.literal, "/") {
			return nil, address, false
		}
	}
	return scheme, rest, true
}

// withScheme puts http:// before a URL that has no scheme. A variable of which
// nothing is known, at the beginning, is taken to hold one.
func withScheme(address template) template {
	if scheme, rest, found := cutScheme(address); found {
		// Slashes that follow are not counted.
		rest = rest.mapFirst(func(text string) string { return strings.TrimLeft(text, "/") })
		return append(append(scheme[:len(scheme):len(scheme)], piece{literal: "://"}), rest...).joined()
	}
	if len(address) == 0 {
		return literalOf("http://")
	}
	if v := address[0].parameter; v != nil && (v.resolved == "" || strings.Contains(v.resolved, "://")) {
		return address
	}
	return append(literalOf("http://"), address...).joined()
}

// mapFirst rewrites the first piece if it is a literal.
func (t template) mapFirst(rewrite func(string) string) template {
	if len(t) > 0 && !t[0].isTag() {
		t = append(template{{literal: rewrite(t[0].literal)}}, t[1:]...)
	}
	return t
}

// cutAuthority cuts a URL after its authority, and notes where in it variables
// stand. User and password become an authentication.
func (c *conversion) cutAuthority(address template) (authority, path template) {
	before, rest, hasScheme := cutScheme(address)
	if !hasScheme {
		// A variable begins the URL and holds the scheme, and perhaps more.
		authority, path = cutAt(address)
		authority = c.configured(authority)
		c.place(authority[:1], baseURL)
		c.placeHost(authority[1:])
		return authority, path
	}
	before = c.configured(before)
	c.place(before, scheme)
	authority, path = cutAt(rest)
	authority = c.configured(authority)
	if userInfo, host, found := authority.cutLast("@"); found {
		authority = host
		c.userInfo(userInfo)
	}
	c.placeHost(authority)
	return append(append(before[:len(before):len(before)], piece{literal: "://"}), authority...).joined(), path
}

// cutAt cuts before the first slash.
func cutAt(t template) (before, after template) {
	before, after, found := t.cut(at("/", 0))
	if !found {
		return t, nil
	}
	return before, after
}

func (c *conversion) placeHost(authority template) {
	host, number, found := authority.cutLast(":")
	if found && !strings.Contains(number.known(), "]") {
		if number.isEmpty() {
			c.note(Changed, "the colon without a port is left out of the Host header")
		}
		c.place(number, port)
		authority = host
	}
	c.place(authority, hostName)
}

// placeSegments notes which variables are all that stands in a segment of the
// path: without a value the path above would be called.
func (c *conversion) placeSegments(path template) {
	for rest, found := path, true; found; {
		var segment template
		segment, rest, found = rest.cut(at("/", 1))
		if segment = segment.joined(); len(segment) == 1 && segment[0].isTag() {
			c.place(segment, wholeSegment)
		}
	}
}

// configured returns the template with parameters in place of what would come
// with the event: only the configuration may choose where a request goes.
func (c *conversion) configured(t template) template {
	out := make(template, len(t))
	for i, p := range t {
		if p.fromEvent() {
			p = piece{parameter: c.standIn(p.name), name: p.name}
		}
		out[i] = p
	}
	return out
}

// standIn returns a parameter for a tag that would come with the event.
func (c *conversion) standIn(name string) *variable {
	v := c.vars.standIn(name)
	c.note(Changed, "{{%s}} would come with the event where only the configuration may choose; it is the parameter %s here", name, v.identifier)
	return v
}

// place notes where variables stand.
func (c *conversion) place(t template, where place) {
	for _, p := range t {
		if p.parameter != nil {
			p.parameter.use(where)
		}
	}
}

// userInfo takes user and password from the URL. An authentication that the
// request has goes before them.
func (c *conversion) userInfo(t template) {
	// Percent-encoding is for the URL only.
	user, password, _ := t.mapLiterals(unescape).cut(at(":", 1))
	c.fromURL = &authentication{kind: "basic", user: user, value: password}
}

func unescape(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// pairTemplate is a query value.
type pairTemplate struct{ name, value template }

// cutQuery cuts the last values off a query that can be settings of their own.
// Such a setting means what it reads: the relay encodes all that would mean
// something else, where Postman sends some characters as they are.
func (c *conversion) cutQuery(query template) (rest template, lines []pairTemplate, hasRest bool) {
	rest = query
	for {
		before, last, found := rest.cutLast("&")
		if !found {
			last = rest
		}
		name, value, hasValue := last.cut(at("=", 1))
		if !hasValue || name.isEmpty() || strings.TrimSpace(name.known()) == "" && !hasUnknown(name) ||
			!means(name, "!$()*,:@/?[]") || !means(value, "!$()*,:@/?[]=") {
			return rest, lines, true
		}
		lines = append([]pairTemplate{{name, value}}, lines...)
		if !found {
			return nil, lines, false
		}
		rest = before
	}
}

func hasUnknown(t template) bool {
	for _, p := range t {
		if p.isTag() {
			return true
		}
	}
	return false
}

// means reports whether a text reads the same in a query as a setting does: all
// its characters are encoded, or left, by Postman as by the relay.
func means(t template, stays string) bool {
	same := func(text string) bool {
		return !strings.ContainsFunc(text, func(r rune) bool {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r > 0x7e, r <= ' ':
				return false
			}
			return !strings.ContainsRune(`-_.~"<>'`+stays, r)
		})
	}
	for _, p := range t {
		if !same(p.literal) || p.parameter != nil && !same(p.parameter.resolved) {
			return false
		}
	}
	return true
}
