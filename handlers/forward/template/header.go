package template

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// header is a header field with a value that depends on the event.
type header struct {
	name   string
	values []template
	// proofs say of each value of an Authorization header when it is empty, nil for
	// other fields.
	proofs []proof
}

// proof tells whether the value of an Authorization header holds credentials.
type proof struct {
	// scheme is the literal text around the tags, such as Bearer.
	scheme string
	// empty is the error of a request in which all tags come out blank, nil for a
	// value without tags.
	empty error
}

// isEmpty reports whether a rendered value is the scheme alone. Such a request is not
// sent: a target may answer it with 200 and without doing anything.
func (p proof) isEmpty(value string) bool { return p.empty != nil && value == p.scheme }

// proof returns the proof of an Authorization header that the action names. A value
// without tags is sent as it is written.
func (b *builder) proof(w writtenText, filled template) proof {
	var scheme strings.Builder
	tags := 0
	for _, p := range filled {
		if p.tag != nil || p.put {
			tags++
		} else {
			scheme.WriteString(p.text)
		}
	}
	if tags == 0 {
		return proof{}
	}
	return proof{strings.TrimSpace(scheme.String()), b.emptyProof(w.place+": there is nothing to prove the request with", w.pieces)}
}

// The fields that frame a message or belong to the connection. The transport
// sets them; one from elsewhere could make two requests of one.
var framing = map[string]bool{
	"Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Upgrade": true,
	"Te": true, "Trailer": true, "Expect": true, "Keep-Alive": true,
}

// The fields that, beside send.EventHeader, every request has unless its action has one of that name, beside
// the Content-Type of its body.
const (
	userAgentHeader = "User-Agent"
	deliveryHeader  = "Idempotency-Key"
	traceHeader     = "Traceparent"
)

// makeHeaders makes the header fields.
func (b *builder) makeHeaders() {
	fixed := http.Header{userAgentHeader: {b.userAgent}}
	if b.authorization != "" {
		fixed["Authorization"] = []string{b.authorization}
	}
	byName := map[string]int{}
	var groups []header
	for _, pair := range b.headers {
		if pair.wrong() {
			continue
		}
		field, err := headerName(b.fill(pair.name))
		var value, filled template
		if err == nil {
			filled = b.fill(pair.value)
			value, err = headerValue(field, filled)
		}
		if err != nil {
			b.fail(pair.name.place, err)
			continue
		}
		key := http.CanonicalHeaderKey(field)
		b.given[key] = true
		if len(b.action.Sign) > 0 && isSignature(key) {
			b.fail(pair.name.place, errors.New("sign makes this header: remove the one or the other"))
		}
		switch key {
		case "Host":
			b.made.host, _ = value.text()
			continue
		case userAgentHeader, "Content-Type", deliveryHeader, send.EventHeader, traceHeader:
			// net/http and the code here look for these by this spelling.
			field = key
		}
		delete(fixed, key)
		at, known := byName[key]
		if !known {
			at = len(groups)
			byName[key] = at
			groups = append(groups, header{name: field})
		}
		groups[at].values = append(groups[at].values, value)
		if key == "Authorization" {
			groups[at].proofs = append(groups[at].proofs, b.proof(pair.value, filled))
		}
	}
	for _, group := range groups {
		var texts []string
		for i, value := range group.values {
			text, ok := value.text()
			if !ok {
				continue
			}
			texts = append(texts, text)
			if group.proofs != nil && group.proofs[i].isEmpty(text) {
				b.made.unproven = group.proofs[i].empty
			}
		}
		if len(texts) == len(group.values) {
			fixed[group.name] = texts
		} else {
			b.made.headers = append(b.made.headers, group)
		}
	}
	b.made.fixed = fixed
}

// headerName checks the name of a header field.
func headerName(t template) (string, error) {
	name, fixed := t.text()
	name = strings.TrimSpace(name)
	if !fixed {
		return "", t.firstTag().mayNot("name a header")
	}
	if !httpguts.ValidHeaderFieldName(name) {
		if slices.ContainsFunc(t, func(p piece) bool { return p.put }) {
			// The error would show what parameters hold, secret ones too.
			return "", errors.New("with the parameters put in, the name of the header is not valid")
		}
		if bare, found := strings.CutSuffix(name, ":"); found && httpguts.ValidHeaderFieldName(bare) {
			return "", fmt.Errorf("%q cannot be the name of a header; write it without the colon: header %s VALUE", name, bare)
		}
		return "", fmt.Errorf("%q cannot be the name of a header", name)
	}
	switch key := http.CanonicalHeaderKey(name); {
	case framing[key] || strings.HasPrefix(key, "Proxy-"):
		return "", fmt.Errorf("%s belongs to the connection and is set by the relay itself: remove this line", key)
	case key == send.TestHeader: // so that a target can rely on it
		return "", fmt.Errorf("%s tells test events from others and is set by the relay itself: remove this line", key)
	}
	return name, nil
}

// headerValue checks the value of a header field.
func headerValue(name string, value template) (template, error) {
	if tag := value.firstTag(); tag != nil {
		switch key := http.CanonicalHeaderKey(name); key {
		case "Host":
			return nil, tag.mayNot("choose the host; only the configuration can say where a request goes")
		case "Content-Type":
			return nil, tag.mayNot("choose the Content-Type, which decides how values in the body are escaped")
		}
	}
	value = value.with(unchanged, headerText)
	for _, p := range value {
		if p.tag == nil && escape.CheckHeader(p.text) != nil {
			return nil, errors.New("the value holds a control character, which a header cannot carry")
		}
	}
	value = trimmed(value)
	if text, _ := value.text(); http.CanonicalHeaderKey(name) == "Host" && (text == "" || !httpguts.ValidHostHeader(text)) {
		return nil, errors.New("the value is no host name")
	}
	return value, nil
}
