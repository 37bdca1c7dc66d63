package template

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// pathPart is a stretch of a URL's path: literal text with its slashes, or one
// segment (without them) in which values of the event stand.
type pathPart struct {
	literal string
	segment template
}

// makeURL makes the URL: scheme and authority from the configuration alone, then
// path and query with their tags.
func (b *builder) makeURL() {
	if b.url.wrong {
		return
	}
	whole := trimmed(b.fill(b.url).joined())
	rest, err := b.authority(whole)
	if err != nil {
		b.fail("url", err)
		return
	}
	path, query, hasMark, err := cutPath(rest)
	if err != nil {
		b.fail("url", err)
		return
	}
	b.made.path = pathParts(path)
	b.made.query, b.made.hasMark = query.with(escape.Query.Encode, percent), hasMark
}

// makeQuery adds the query settings to the query that the URL has.
func (b *builder) makeQuery() {
	query := b.made.query
	for _, pair := range b.query {
		if pair.wrong() {
			continue
		}
		if len(query) > 0 {
			query = append(query, piece{text: "&"})
		}
		query = append(query, b.fill(pair.name).with(escape.QueryName.Encode, percent)...)
		query = append(query, piece{text: "="})
		query = append(query, b.fill(pair.value).with(escape.QueryValue.Encode, percent)...)
	}
	b.made.query = query.joined()
}

// trimmed returns a template without blanks around it.
func trimmed(t template) template {
	if len(t) > 0 && t[0].tag == nil {
		t[0].text = strings.TrimLeft(t[0].text, " \t\r\n")
	}
	if last := len(t) - 1; last >= 0 && t[last].tag == nil {
		t[last].text = strings.TrimRight(t[last].text, " \t\r\n")
	}
	return t.joined()
}

// authority reads scheme and authority and returns what follows them. Both must
// stand in the text before the first tag, and the authority must end there:
// glued to a tag, an event could lengthen it.
func (b *builder) authority(whole template) (template, error) {
	first := whole.firstTag()
	if len(whole) == 0 {
		return nil, errors.New("the URL is empty")
	}
	text := whole[0].text
	scheme, rest, found := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !found && first != nil && !strings.ContainsAny(text, "/?#") {
		return nil, first.mayNot("choose the scheme; only the configuration can say where a request goes")
	}
	if scheme != "http" && scheme != "https" || !found {
		return nil, fmt.Errorf("the URL must begin with http:// or https://, not %q", beginning(b.action.URL))
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		if first != nil {
			return nil, first.mayNot("choose the host or port; only the configuration can say where a request goes: put a / before it")
		}
		end = len(rest)
	}
	parsed, err := parseAuthority(scheme, rest[:end])
	if err != nil {
		if !strings.HasPrefix(strings.TrimSpace(b.action.URL), text[:len(text)-len(rest)+end]) {
			// The error would show what parameters hold, secret ones too.
			err = errors.New("with the parameters put in, host and port are not valid")
		}
		return nil, err
	}
	b.made.target = send.Target{Scheme: scheme, Host: strings.TrimSuffix(strings.ToLower(parsed.Host), ":")}
	if user := parsed.User; user != nil {
		password, _ := user.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		b.secrets = append(b.secrets, password, credentials)
		b.authorization = "Basic " + credentials
		if user.Username() == "" && password == "" {
			b.made.unproven = errors.New("url: user and password are empty; not sent: fill in the parameters that they come from, or remove them from the URL")
		}
	}
	remainder := template{{text: rest[end:]}}
	return append(remainder, whole[1:]...), nil
}

// parseAuthority reads host and port, and user and password if there are any.
func parseAuthority(scheme, authority string) (*url.URL, error) {
	parsed, err := url.Parse(scheme + "://" + authority)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err
		}
		return nil, fmt.Errorf("reading host and port: %w", err)
	}
	if parsed.Hostname() == "" {
		return nil, fmt.Errorf("the URL names no host (%q)", scheme+"://"+authority)
	}
	if port := parsed.Port(); port != "" {
		if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
			return nil, fmt.Errorf("port %s is not between 1 and 65535", port)
		}
	}
	return parsed, nil
}

// beginning returns enough of a text to recognise it by.
func beginning(text string) string {
	if len(text) > 12 {
		return text[:12] + "…"
	}
	return text
}

// cutPath cuts what follows the authority into path and query. The fragment is
// dropped: it is not sent.
func cutPath(rest template) (path, query template, hasMark bool, err error) {
	part := &path
	fragment := false
	for _, p := range rest {
		if p.tag != nil {
			if fragment {
				return nil, nil, false, fmt.Errorf("%s stands after #: what follows # is not sent", p.tag)
			}
			*part = append(*part, p)
			continue
		}
		if fragment {
			continue
		}
		text, _, hasFragment := strings.Cut(p.text, "#")
		fragment = hasFragment
		if before, after, cut := strings.Cut(text, "?"); cut && !hasMark {
			hasMark = true
			path = append(path, piece{text: before})
			part = &query
			text = after
		}
		*part = append(*part, piece{text: text})
	}
	return path.joined(), query.joined(), hasMark, nil
}

// pathParts cuts a path into literal stretches and the segments in which tags
// stand.
func pathParts(path template) []pathPart {
	var parts []pathPart
	encode := escape.Path.Encode
	literal, segment := "", template(nil)
	// A segment is over at a slash or at the end. One without tags belongs to
	// the literal stretch around it.
	end := func() {
		if text, fixed := segment.text(); fixed {
			literal += text
		} else {
			parts = append(parts, pathPart{literal: literal}, pathPart{segment: segment.joined()})
			literal = ""
		}
		segment = nil
	}
	for _, p := range path.with(encode, percent) {
		if p.tag != nil {
			segment = append(segment, p)
			continue
		}
		for text := p.text; ; {
			before, after, slash := strings.Cut(text, "/")
			segment = append(segment, piece{text: before})
			if !slash {
				break
			}
			end()
			literal += "/"
			text = after
		}
	}
	end()
	if literal == "" && len(parts) == 0 {
		literal = "/"
	}
	return append(parts, pathPart{literal: literal})
}
