package receive

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// kept is what an event may keep of a request beside its body. Events of one
// batch share it.
type kept struct {
	path     string
	segments []string
	query    map[string][]string
	headers  map[string][]string

	// jsonHeaders are headers with the Content-Type of JSON, once needed.
	jsonHeaders map[string][]string
}

// blankable is the length in bytes from which a value that proved a request is
// blanked wherever it stands in the request, because some senders repeat the URL
// that they call in their body. A shorter one could be a word or a number by
// chance. The manual names the bound.
const blankable = 8

// withoutCredentials takes the credentials out of the request and its body:
// header fields that may hold one, the query keys and body fields of the
// sources that the request proved, and values that would prove another.
func (q *request) withoutCredentials(doc *document) kept {
	c := kept{path: validText(q.request.URL.Path), segments: q.seen.Segments, query: q.seen.Query}
	for _, s := range q.receiver.sources {
		proven := q.proofOf(s).proven
		for _, credential := range s.credentials {
			for _, place := range credential.Traits().Places {
				q.clear(&c, doc, place, proven, credential.Holds)
			}
		}
	}

	c.headers = make(map[string][]string, len(q.request.Header))
	for name, values := range q.request.Header {
		if !q.removesHeader(name, values) {
			if !validTexts(values) {
				values = slices.Clone(values)
				for i := range values {
					values[i] = validText(values[i])
				}
			}
			c.headers[name] = values
		}
	}
	if doc.retyped {
		c.headers["Content-Type"] = []string{"application/json"}
	}
	c.segments = slices.Clone(c.segments) // the request's own are not ours to change
	forms := q.presentedForms()
	blankDocument(doc, forms)
	for _, form := range forms {
		blankText(&c.path, form)
		blankValues(c.query, form)
		blankValues(c.headers, form)
		for i := range c.segments {
			blankText(&c.segments[i], form)
		}
	}
	return c
}

// clear takes a credential out of a place other than a header. What stands
// there is taken for one if the request proved the source, and else only if it
// is one: the same name can be data to another source.
func (q *request) clear(c *kept, doc *document, place auth.Place, proven bool, holds func(string) bool) {
	switch place.In {
	case auth.InPath:
		// The last segment is an event's name as often.
		if n := len(q.seen.Segments); n > 0 && len(c.segments) == n && holds(q.seen.Segments[n-1]) {
			c.segments = c.segments[:n-1]
			c.path = validText(pathOf(q.origin.Mount, c.segments))
		}
	case auth.InQuery:
		if values, there := c.query[place.Name]; there && (proven || slices.ContainsFunc(values, holds)) {
			delete(c.query, place.Name)
		}
	case auth.InBody:
		removed := false
		for _, fields := range doc.objects() {
			value, there := fields[place.Name]
			if there && (proven || slices.ContainsFunc(textsOf(value), holds)) {
				delete(fields, place.Name)
				removed = true
			}
		}
		if removed {
			doc.changed()
		}
	}
}

// textsOf returns the values of a field that came once or several times.
func textsOf(value any) []string {
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	var texts []string
	for _, element := range list {
		if text, ok := event.Text(element); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// removesHeader reports whether a header must not become part of the event: one
// in which a source of this mount expects a credential, whatever it holds, and
// one that holds the credential of any other source. The same header can be data
// to the sources of another mount.
func (q *request) removesHeader(name string, values []string) bool {
	if privateHeaders[name] {
		return true
	}
	header := auth.Place{In: auth.InHeader, Name: name}
	for _, s := range q.receiver.sources {
		for _, c := range s.credentials {
			if slices.Contains(c.Traits().Places, header) && (q.atMount(s) || slices.ContainsFunc(values, c.Holds)) {
				return true
			}
		}
	}
	return false
}

// atMount reports whether a source may send to the mount of the request.
func (q *request) atMount(s *source) bool {
	return len(q.origin.Sources) == 0 || slices.Contains(q.origin.Sources, s.Name)
}

// blankBody blanks proven values in the bytes of the body, in place.
func (q *request) blankBody(raw []byte) {
	for _, form := range q.presentedForms() {
		for at := 0; ; {
			i := bytes.Index(raw[at:], []byte(form))
			if i < 0 {
				break
			}
			at += i
			for range len(form) {
				raw[at] = '*'
				at++
			}
		}
	}
}

// blankDocument blanks proven values in the decoded body. It finds what
// blankBody cannot: a key that the body itself proved, and spellings that only
// decoding shows, such as \u0061 for a or another charset.
func blankDocument(doc *document, forms []string) {
	asWritten := doc.isRaw && !doc.retyped && bytes.IndexByte(doc.raw, '\\') < 0 // blankBody saw all of it
	if len(forms) == 0 || asWritten {
		return
	}
	for _, form := range forms {
		blankText(&doc.problem, form)
	}
	if value, blanked := blankValue(doc.value, forms); blanked {
		doc.value = value
		doc.changed()
	}
}

// blankValue returns a decoded value without the given texts, and whether any
// stood in it. It changes objects and lists in place.
func blankValue(value any, forms []string) (without any, blanked bool) {
	switch value := value.(type) {
	case string:
		text := value
		for _, form := range forms {
			blankText(&text, form)
		}
		return text, text != value
	case []any:
		for i, element := range value {
			if element, did := blankValue(element, forms); did {
				value[i], blanked = element, true
			}
		}
	case map[string]any:
		for key, inner := range value {
			name, renamed := blankValue(key, forms)
			inner, did := blankValue(inner, forms)
			if renamed {
				delete(value, key)
			}
			if renamed || did {
				value[name.(string)], blanked = inner, true
			}
		}
	}
	return value, blanked
}

// presentedForms returns the forms in which a sender may repeat the values that
// proved the request, a longer one before those that it may contain.
func (q *request) presentedForms() []string {
	var forms []string
	for _, value := range q.presented {
		if len(value) >= blankable {
			forms = append(forms, formsOf(value)...)
		}
	}
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	return forms
}

// formsOf returns a text as it is and as it is written in URLs and in JSON, a
// longer form before one that it may contain.
func formsOf(text string) []string {
	if escape.Unreserved.Encode(text) == text {
		return []string{text}
	}
	// The slash may stay as it is in a query, and a blank may be escaped too.
	query, path := url.QueryEscape(text), url.PathEscape(text)
	forms := []string{text, query, strings.ReplaceAll(query, "+", "%20")}
	for _, escaped := range []string{query, path} {
		forms = append(forms, escaped, strings.ReplaceAll(escaped, "%2F", "/"))
	}
	for _, form := range slices.Clone(forms) {
		forms = append(forms, escape.LowerPercent(form))
	}
	for _, form := range slices.Clone(forms) {
		html, _ := json.Marshal(form) // as many write it: & < > as \u0026 …
		for _, quoted := range [][]byte{html, encodeJSON(form)} {
			inner := string(quoted[1 : len(quoted)-1])
			forms = append(forms, inner, strings.ReplaceAll(inner, "/", `\/`))
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(forms)
}

func validTexts(texts []string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

func blankText(text *string, value string) {
	if strings.Contains(*text, value) {
		*text = strings.ReplaceAll(*text, value, strings.Repeat("*", len(value)))
	}
}

func blankValues(all map[string][]string, value string) {
	for key, values := range all {
		if name := key; strings.Contains(key, value) {
			blankText(&name, value)
			delete(all, key)
			all[name], key = append(all[name], values...), name
			values = all[name]
		}
		for i := range values {
			if strings.Contains(values[i], value) {
				values = slices.Clone(values) // the request's own are not ours to change
				blankText(&values[i], value)
				all[key] = values
			}
		}
	}
}

// redaction is what a source wants removed.
type redaction struct {
	body       [][]string // paths of keys
	fields     [][]string // the same, from where the tags are
	query      []string
	headers    []string
	parameters []event.Parameter
}

// compileRedaction reads the paths of what is to be removed.
func compileRedaction(paths []string) (redaction, error) {
	var r redaction
	for _, path := range paths {
		keys, err := splitPath(path)
		if err != nil {
			return r, err
		}
		parameter, isParameter := event.ParameterByName(path)
		switch first := keys[0]; {
		case isParameter:
			r.parameters = append(r.parameters, parameter)
		case first == "body" && len(keys) > 1:
			r.body = append(r.body, keys[1:])
		case first == "query" && len(keys) == 2:
			r.query = append(r.query, keys[1])
		case first == "headers" && len(keys) == 2:
			r.headers = append(r.headers, textproto.CanonicalMIMEHeaderKey(keys[1]))
		case len(keys) == 1 && first != "body" && first != "query" && first != "headers":
			r.headers = append(r.headers, textproto.CanonicalMIMEHeaderKey(first))
		default:
			return r, fmt.Errorf("%s cannot be removed; say body.KEY…, query.KEY, headers.NAME, a system parameter or the name of a header", path)
		}
	}
	return r, nil
}

// splitPath reads a path such as body.customer["first name"]. Header names may
// hold hyphens.
func splitPath(path string) ([]string, error) {
	wrong := fmt.Errorf("%q is no path; it looks like body.customer.phone or body[\"first name\"]", path)
	var keys []string
	for rest := path; rest != "" || keys == nil; {
		var key string
		switch {
		case strings.HasPrefix(rest, `["`):
			end := strings.Index(rest, `"]`)
			if end < 2 || keys == nil {
				return nil, wrong
			}
			key, rest = rest[2:end], rest[end+2:]
		default:
			if keys != nil {
				if !strings.HasPrefix(rest, ".") {
					return nil, wrong
				}
				rest = rest[1:]
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			key, rest = rest[:end], rest[end:]
			if strings.ContainsAny(key, " \t\"'`()]{}?:;,") {
				return nil, wrong
			}
		}
		if key == "" {
			return nil, wrong
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// removeShared removes what is redacted outside the body.
func (r redaction) removeShared(c *kept) {
	if len(r.query)+len(r.headers)+len(r.parameters) == 0 {
		return
	}
	c.query, c.headers = maps.Clone(c.query), maps.Clone(c.headers) // another candidate may need them whole
	for _, path := range r.query {
		for key := range c.query {
			if strings.EqualFold(key, path) || strings.EqualFold(withoutBrackets(key), path) {
				delete(c.query, key)
			}
		}
	}
	for _, name := range r.headers {
		delete(c.headers, name)
	}
	for _, p := range r.parameters {
		for key := range c.query {
			if tag, ok := tagOf(withoutBrackets(key)); ok && tag == p {
				delete(c.query, key)
			}
		}
	}
}

// removeBody removes what is redacted in the body of an event, and reports
// whether anything was there.
func (r redaction) removeBody(body any, tags map[string]any) (removed bool) {
	for _, path := range r.body {
		removed = removePath(body, path) || removed
	}
	for _, p := range r.parameters {
		for key := range tags {
			if tag, ok := tagOf(withoutBrackets(key)); ok && tag == p {
				delete(tags, key)
				removed = true
			}
		}
	}
	for _, path := range r.fields {
		removed = removePath(tags, path) || removed
	}
	return removed
}

// removePath removes what a path leads to; in lists, from every element. Text
// where an object was expected is removed if it may hold one that could not be
// read, because what cannot be read may still hold it.
func removePath(value any, path []string) (removed bool) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			removed = removePath(element, path) || removed
		}
	case map[string]any:
		for key, inner := range value {
			rest, leads := follow(path, key)
			if !leads {
				if _, isIndex := index(key); isIndex {
					// An element of a form's list, whose numbers have a gap.
					removed = removePath(inner, path) || removed
				}
				continue
			}
			if text, isText := inner.(string); len(rest) == 0 || isText && looksStructured(text) {
				delete(value, key)
				removed = true
				continue
			}
			removed = removePath(inner, rest) || removed
		}
	}
	return removed
}

// follow reports whether a key leads along a path, and returns what is left of
// it. A key of a form may lead several steps at once: people[0][phone] leads
// all of people.phone.
func follow(path []string, key string) (rest []string, leads bool) {
	if key == path[0] {
		return path[1:], true
	}
	base := withoutBrackets(key)
	if base != path[0] {
		return nil, false
	}
	rest = path[1:]
	for _, step := range strings.Split(strings.TrimSuffix(key[len(base)+1:], "]"), "][") {
		switch {
		case len(rest) == 0:
			return nil, true
		case step == rest[0]:
			rest = rest[1:]
		case strings.Trim(step, "0123456789") != "":
			return nil, false
		}
	}
	return rest, true
}

// withoutBrackets returns what stands before the brackets of a form's key, such
// as phone[] or customer[phone].
func withoutBrackets(key string) string {
	base, _, _ := strings.Cut(key, "[")
	return base
}

func looksStructured(text string) bool {
	text = strings.TrimSpace(text)
	return text != "" && strings.IndexByte(`{["<`, text[0]) >= 0
}

// encodeJSON encodes a decoded body. Such a body always can be: it holds no
// other types than JSON has, and numbers as JSON writes them.
func encodeJSON(body any) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}
