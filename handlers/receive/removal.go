package receive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/rules"
)

// clean is what an event may keep of a request beside its body. Events of one
// batch share it.
type clean struct {
	path     string
	segments []string
	query    map[string][]string
	headers  map[string][]string
}

// blankable is the length from which a value that proved a request is blanked
// wherever it stands in the request, because some senders repeat the URL that
// they call in their body. A shorter one could be a word by chance.
const blankable = 16

// withoutCredentials takes the credentials out of the request and its body:
// header fields that may hold one, the query keys and body fields of the
// sources that the request proved, and values that would prove another.
func (v *visit) withoutCredentials(doc *document) clean {
	c := clean{path: validText(v.request.URL.Path), segments: v.segments, query: v.query}
	token, tokens := v.pathToken, ""
	if n := len(v.segments); n > 0 {
		tokens = v.segments[n-1]
	}
	for _, s := range v.receiver.sources {
		at := slices.Index(v.allowed, s)
		proven := at >= 0 && v.proven[at]
		for _, credential := range s.credentials {
			switch {
			case credential.Kind == Path:
				token = token || tokens != "" && credential.holds(tokens)
			case credential.Kind == APIKey && credential.In == InQuery:
				if values, there := c.query[credential.Name]; there && (proven || slices.ContainsFunc(values, credential.holds)) {
					delete(c.query, credential.Name)
				}
			case credential.Kind == APIKey && credential.In == InBody:
				fields := doc.fields()
				if value, there := fields[credential.Name]; there {
					text, _ := textOf(value)
					if proven || credential.holds(text) {
						delete(fields, credential.Name)
						doc.changed()
					}
				}
			}
		}
	}
	if token {
		c.segments = v.segments[:len(v.segments)-1]
		c.path = validText(pathOf(v.origin.Mount, c.segments))
	}

	c.headers = make(map[string][]string, len(v.request.Header))
	for name, values := range v.request.Header {
		if !v.receiver.headers[name] {
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
	for _, value := range v.presented {
		if len(value) >= blankable {
			blankText(&c.path, value)
			blankValues(c.query, value)
			blankValues(c.headers, value)
			c.segments = slices.Clone(c.segments)
			for i := range c.segments {
				blankText(&c.segments[i], value)
			}
		}
	}
	return c
}

// holds reports whether a value is one of the credential's, without counting as
// its use.
func (c *credential) holds(value string) bool { return c.find(value) >= 0 }

// blankBody blanks proven values in the bytes of the body, in place.
func (v *visit) blankBody(raw []byte) {
	for _, value := range v.presented {
		if len(value) < blankable {
			continue
		}
		for at := 0; ; {
			i := bytes.Index(raw[at:], []byte(value))
			if i < 0 {
				break
			}
			at += i
			for range len(value) {
				raw[at] = '*'
				at++
			}
		}
	}
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
	query      []string
	headers    []string
	parameters []rules.Parameter
}

// compileRedaction reads the paths of what is to be removed.
func compileRedaction(paths []string) (redaction, error) {
	var r redaction
	for _, path := range paths {
		keys, err := splitPath(path)
		if err != nil {
			return r, err
		}
		parameter, isParameter := rules.ParameterByName(path)
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
func (r redaction) removeShared(c *clean) {
	if len(r.query)+len(r.headers)+len(r.parameters) == 0 {
		return
	}
	c.query, c.headers = maps.Clone(c.query), maps.Clone(c.headers) // another candidate may need them whole
	for _, key := range r.query {
		delete(c.query, key)
	}
	for _, name := range r.headers {
		delete(c.headers, name)
	}
	for _, p := range r.parameters {
		for key := range c.query {
			if tag, ok := tagOf(key); ok && tag == p {
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
			if tag, ok := tagOf(key); ok && tag == p {
				delete(tags, key)
				removed = true
			}
		}
	}
	return removed
}

// removePath removes what a path leads to; in lists, from every element. Text
// where an object was expected is removed if it may hold one that could not be
// read, because what cannot be read cannot be shown to be clean.
func removePath(value any, path []string) (removed bool) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			removed = removePath(element, path) || removed
		}
	case map[string]any:
		inner, there := value[path[0]]
		if !there {
			return false
		}
		if text, isText := inner.(string); len(path) == 1 || isText && looksStructured(text) {
			delete(value, path[0])
			return true
		}
		return removePath(inner, path[1:])
	}
	return removed
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
