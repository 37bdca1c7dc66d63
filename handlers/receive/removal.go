package receive

import (
	"bytes"
	"encoding/json"
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
func (req *request) withoutCredentials(doc *document) kept {
	c := kept{path: validText(req.request.URL.Path), segments: req.seen.Segments, query: req.seen.Query}
	for _, s := range req.receiver.sources {
		proven := req.proofOf(s).proven
		for _, credential := range s.credentials {
			for _, place := range credential.Traits().Places {
				req.clear(&c, doc, place, proven, credential.Holds)
			}
		}
	}
	if len(c.query) > 0 {
		req.query = nil // the events have it
	} else if c.query != nil {
		c.query = map[string][]string{} // the request uses its own again
	}

	c.headers = make(map[string][]string, len(req.request.Header))
	for name, values := range req.request.Header {
		if !req.removesHeader(name, values) {
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
	blankDocument(doc, req.presentedForms())
	for _, form := range req.presentedForms() {
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
func (req *request) clear(c *kept, doc *document, place auth.Place, proven bool, holds func(string) bool) {
	switch place.In {
	case auth.InPath:
		// The last segment is an event's name as often.
		if n := len(req.seen.Segments); n > 0 && len(c.segments) == n && holds(req.seen.Segments[n-1]) {
			c.segments = c.segments[:n-1]
			c.path = validText(pathOf(req.origin.Mount, c.segments))
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
func (req *request) removesHeader(name string, values []string) bool {
	if privateHeaders[name] {
		return true
	}
	header := auth.Place{In: auth.InHeader, Name: name}
	for _, s := range req.receiver.sources {
		for _, c := range s.credentials {
			if slices.Contains(c.Traits().Places, header) && (req.atMount(s) || slices.ContainsFunc(values, c.Holds)) {
				return true
			}
		}
	}
	return false
}

// atMount reports whether a source may send to the mount of the request.
func (req *request) atMount(s *source) bool {
	return len(req.origin.Sources) == 0 || slices.Contains(req.origin.Sources, s.Name)
}

// blankBody blanks proven values in the bytes of the body, in place.
func (req *request) blankBody(raw []byte) {
	for _, form := range req.presentedForms() {
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
func (req *request) presentedForms() []string {
	if req.formed < len(req.presented) {
		for _, value := range req.presented[req.formed:] {
			if len(value) >= blankable {
				req.forms = append(req.forms, repetitionsOf(value)...)
			}
		}
		req.forms, req.formed = escape.LongestFirst(req.forms), len(req.presented)
	}
	return req.forms
}

// repetitionsOf returns a text as it is and as a sender may write it in URLs and in
// JSON.
func repetitionsOf(text string) []string {
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
	return forms
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
