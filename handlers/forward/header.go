package forward

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"golang.org/x/net/http/httpguts"
)

// header is a header field whose values are not all known before an event
// comes.
type header struct {
	name   string
	values []template
}

// The fields that frame a message or belong to the connection. The transport
// sets them; one from elsewhere could make two requests of one.
var framing = map[string]bool{
	"Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Upgrade": true,
	"Te": true, "Trailer": true, "Expect": true, "Keep-Alive": true,
}

// headers compiles the header settings.
func (c *actionCompiler) headers(p *Prepared, settings Settings) {
	p.fixed = http.Header{"User-Agent": {settings.UserAgent}}
	byName := map[string]int{}
	var groups []header
	for _, pair := range c.action.Headers {
		place := "header " + pair.Name
		if looksTorn(pair.Name) || looksTorn(pair.Value) {
			c.fail(place, errTorn)
			continue
		}
		name, ok := c.template(place, pair.Name)
		value, valueOK := c.template(place, pair.Value)
		if !ok || !valueOK {
			continue
		}
		field, err := headerName(name)
		if err == nil {
			value, err = headerValue(field, value)
		}
		if err != nil {
			c.fail(place, err)
			continue
		}
		key := http.CanonicalHeaderKey(field)
		switch key {
		case "Host":
			p.host, _ = value.text()
			continue
		case "User-Agent", "Content-Type", "Idempotency-Key", "X-Event-Id", "Traceparent":
			// net/http and the code here look for these by this spelling.
			field = key
			delete(p.fixed, key)
		}
		at, known := byName[key]
		if !known {
			at = len(groups)
			byName[key] = at
			groups = append(groups, header{name: field})
		}
		groups[at].values = append(groups[at].values, value)
	}
	for _, group := range groups {
		var fixed []string
		for _, value := range group.values {
			if text, ok := value.text(); ok {
				fixed = append(fixed, text)
			}
		}
		if len(fixed) == len(group.values) {
			p.fixed[group.name] = fixed
		} else {
			p.headers = append(p.headers, group)
		}
	}
}

// headerName checks the name of a header field.
func headerName(t template) (string, error) {
	name, fixed := t.text()
	name = strings.TrimSpace(name)
	if !fixed {
		return "", fmt.Errorf("%s comes with the event and may not name a header", t.firstTag())
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return "", fmt.Errorf("%q cannot be the name of a header", name)
	}
	if key := http.CanonicalHeaderKey(name); framing[key] || strings.HasPrefix(key, "Proxy-") {
		return "", fmt.Errorf("%s belongs to the connection and is set by the relay itself: remove this line", key)
	}
	return name, nil
}

// headerValue checks the value of a header field.
func headerValue(name string, value template) (template, error) {
	if tag := value.firstTag(); tag != nil {
		switch key := http.CanonicalHeaderKey(name); key {
		case "Host":
			return nil, fmt.Errorf("%s comes with the event and may not choose the host; only the configuration can say where a request goes", tag)
		case "Content-Type":
			return nil, fmt.Errorf("%s comes with the event and may not choose the Content-Type, which decides how values in the body are escaped", tag)
		}
	}
	value = value.with(unchanged, headerText)
	for _, p := range value {
		if p.tag == nil && strings.ContainsFunc(p.text, unicode.IsControl) {
			return nil, errors.New("the value holds a control character, which a header cannot carry")
		}
	}
	value = trimmed(value)
	if text, _ := value.text(); http.CanonicalHeaderKey(name) == "Host" && (text == "" || !httpguts.ValidHostHeader(text)) {
		return nil, errors.New("the value is no host name")
	}
	return value, nil
}
