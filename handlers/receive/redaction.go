package receive

import (
	"fmt"
	"maps"
	"net/textproto"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

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
