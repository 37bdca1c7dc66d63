package template

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Request is a rendered HTTP request.
type Request struct {
	send.Request
	empty []string

	// url is what URL points to, here to save an allocation.
	url  url.URL
	path string
	// authHeader is the header field that holds credentials, and shownQuery how
	// much of the query comes before those in it; "" and 0 if there are none.
	authHeader string
	shownQuery int
}

// Send sends the request.
func (r *Request) Send(ctx context.Context, through *send.Connections, timeout time.Duration) send.Result {
	return through.Send(ctx, &r.Request, timeout)
}

// Empty names the tags that rendered as nothing.
func (r *Request) Empty() []string { return r.empty }

// Render makes the request or the mail for an event. The delivery's id becomes the
// Idempotency-Key or the Message-ID. An error means that it must not be sent, now or
// later: its message names the reason and holds no value of the event.
func (s *Set) Render(event *event.Event, delivery string) (Rendered, error) {
	v := s.variantFor(event.Tenant())
	if v.missing != nil {
		return nil, v.missing.unsent(event.Tenant())
	}
	if v.unproven != nil {
		return nil, v.unproven
	}
	r := rendering{bound: s.language.Bind(event), buffer: make([]byte, 0, 512)}
	if v.mail != nil {
		return s.renderMail(v, &r, event, delivery)
	}
	return s.renderRequest(v, &r, event, delivery)
}

// renderRequest makes the request for an event.
func (s *Set) renderRequest(v *variant, r *rendering, event *event.Event, delivery string) (Rendered, error) {
	request := &Request{Request: send.Request{Method: s.action.Method, Host: v.host, Masker: s.masker, TLS: s.tls}}
	path, err := r.path(v.path)
	if err != nil {
		return nil, err
	}
	query, err := r.text("query", v.query)
	if err != nil {
		return nil, err
	}
	request.path = path
	request.setURL(v.target, path)
	request.URL.RawQuery, request.URL.ForceQuery = query, v.hasMark
	if request.Header, err = r.header(v, event, delivery); err != nil {
		return nil, err
	}
	if err := r.authenticate(v.auth, request); err != nil {
		return nil, err
	}
	if err := r.body(v, event, request); err != nil {
		return nil, err
	}
	s.signer.sign(request, delivery)
	request.empty = r.empty
	return request, nil
}

// setURL sets the URL to a target's with a path that is sent byte for byte.
func (r *Request) setURL(target send.Target, path string) {
	r.url = url.URL{Scheme: target.Scheme, Host: target.Host}
	r.URL = &r.url
	if strings.HasPrefix(path, "//") {
		// As Opaque this would read as a host.
		r.url.RawPath = path
		r.url.Path, _ = url.PathUnescape(path)
		return
	}
	r.url.Opaque = path
}

// rendering is the state of one Render.
type rendering struct {
	bound  *language.Bound
	empty  []string
	buffer []byte
}

// value evaluates a tag.
func (r *rendering) value(t *tag) (any, error) {
	value, err := r.bound.Evaluate(t.expression)
	if err != nil {
		return nil, err
	}
	if (value == nil || value == "" && t.escaping != jsonValue) && !slices.Contains(r.empty, t.source) {
		r.empty = append(r.empty, t.source)
	}
	return value, nil
}

// append appends a rendered template.
func (r *rendering) append(dst []byte, place string, t template) ([]byte, error) {
	for i := range t {
		if t[i].tag == nil {
			dst = append(dst, t[i].text...)
			continue
		}
		value, err := r.value(t[i].tag)
		if err == nil {
			dst, err = t[i].tag.escaping.append(dst, value)
		}
		if err != nil {
			return dst, fmt.Errorf("%s: %s: %w", place, t[i].tag, err)
		}
	}
	return dst, nil
}

// text returns a rendered template.
func (r *rendering) text(place string, t template) (string, error) {
	switch {
	case len(t) == 0:
		return "", nil
	case len(t) == 1 && t[0].tag == nil:
		return t[0].text, nil
	}
	out, err := r.append(r.buffer[:0], place, t)
	r.buffer = out
	return string(out), err
}

// path renders the path. It fails for a value that is absent or blank, which would
// change what the request is about (DELETE /projects/), and for one that makes a
// segment of dots, which would lead to another path.
func (r *rendering) path(parts []pathPart) (string, error) {
	if len(parts) == 1 {
		return parts[0].literal, nil
	}
	dst := r.buffer[:0]
	for _, part := range parts {
		dst = append(dst, part.literal...)
		begin := len(dst)
		for i := range part.segment {
			tag := part.segment[i].tag
			if tag == nil {
				dst = append(dst, part.segment[i].text...)
				continue
			}
			value, err := r.value(tag)
			if err != nil {
				return "", fmt.Errorf("url: %w", err)
			}
			if number, ok := value.(int64); ok {
				dst = strconv.AppendInt(dst, number, 10)
				continue
			}
			text, err := event.TextOf(value)
			if err != nil {
				return "", fmt.Errorf("url: %s: %w", tag, err)
			}
			if strings.TrimSpace(text) == "" {
				return "", fmt.Errorf("url: %s is absent or empty, and the path needs a value there; not sent", tag)
			}
			dst = escape.Unreserved.Append(dst, text)
		}
		if segment := dst[begin:]; len(part.segment) > 0 && bytes.ContainsAny(segment, ".%") && holdsDots(string(segment)) {
			return "", fmt.Errorf("url: %s makes a path segment of dots, which would lead to another path; not sent", template(part.segment).firstTag())
		}
	}
	r.buffer = dst
	return string(dst), nil
}

// holdsDots reports whether a path segment is . or .. to any reader:
// servers decode, some of them twice, and some then take an encoded slash or a
// backslash for a separator, or drop what follows a semicolon.
func holdsDots(segment string) bool {
	for range 4 {
		for piece := range strings.FieldsFuncSeq(segment, func(c rune) bool { return c == '/' || c == '\\' }) {
			piece, _, _ = strings.Cut(piece, ";")
			if piece = strings.TrimSpace(piece); piece == "." || piece == ".." {
				return true
			}
		}
		decoded := escape.DecodePercent(segment)
		if decoded == segment {
			return false
		}
		segment = decoded
	}
	return false
}

// header renders the header fields.
func (r *rendering) header(v *variant, event *event.Event, delivery string) (http.Header, error) {
	header := make(http.Header, len(v.fixed)+len(v.headers)+3)
	maps.Copy(header, v.fixed)
	// The values share one slice, so that they cost one allocation.
	values := make([]string, 0, len(v.headers)+3)
	for i := range v.headers {
		h := &v.headers[i]
		first := len(values)
		for j, value := range h.values {
			text, err := r.text("header "+h.name, value)
			if err != nil {
				return nil, fmt.Errorf("%w; not sent", err)
			}
			text = strings.TrimSpace(text)
			if h.proofs != nil && h.proofs[j].isEmpty(text) {
				return nil, h.proofs[j].empty
			}
			values = append(values, text)
		}
		header[h.name] = slices.Clip(values[first:])
	}
	if event.Test {
		header[send.TestHeader] = []string{"1"}
	}
	setUnlessGiven := func(name, value string) {
		if _, given := header[name]; !given {
			values = append(values, value)
			header[name] = slices.Clip(values[len(values)-1:])
		}
	}
	setUnlessGiven(deliveryHeader, delivery)
	setUnlessGiven(send.EventHeader, event.ID)
	if trace := event.Headers[traceHeader]; len(trace) > 0 && isTraceparent(trace[0]) {
		setUnlessGiven(traceHeader, trace[0])
	}
	return header, nil
}

// isTraceparent reports whether a text is a W3C traceparent.
func isTraceparent(text string) bool {
	if len(text) != 55 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; i {
		case 2, 35, 52:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// body renders the body.
func (r *rendering) body(v *variant, event *event.Event, request *Request) error {
	switch {
	case v.forward:
		return forwardBody(event, request)
	case v.form != nil:
		body, boundary, err := r.form(v.form)
		request.Body = body
		request.Header["Content-Type"] = []string{"multipart/form-data; boundary=" + boundary}
		return err
	case len(v.body) == 0:
		return nil
	case len(v.body) == 1 && v.body[0].tag == nil:
		request.Body = []byte(v.body[0].text)
		return nil
	}
	out, err := r.append(r.buffer[:0], "body", v.body)
	if err == nil {
		err = v.verify.check(out)
		if err != nil {
			err = fmt.Errorf("body: %w; not sent", err)
		}
	}
	if err != nil {
		return err
	}
	// The buffer was only lent to path, query and headers, which hold copies.
	r.buffer = nil
	request.Body = out
	return nil
}

// forwardBody makes the event's body that of the request, with the Content-Type
// it came with unless the action names another.
func forwardBody(event *event.Event, request *Request) error {
	if len(event.RawBody) == 0 {
		return nil
	}
	request.Body = event.RawBody
	if kind := event.Headers["Content-Type"]; len(kind) > 0 {
		if !httpguts.ValidHeaderFieldValue(kind[0]) {
			return errors.New("body: the event's Content-Type holds a character that a header cannot carry; not sent")
		}
		if _, given := request.Header["Content-Type"]; !given {
			request.Header["Content-Type"] = kind[:1:1]
		}
	}
	return nil
}
