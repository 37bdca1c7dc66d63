package template

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// formPart is one part of a multipart/form-data body.
type formPart struct {
	// place is the part of the action, for messages.
	place string
	// head is everything before the value.
	head, value template
	verify      wellFormed
}

// makeForm makes the parts of a form. Its Content-Type names the boundary, which
// every request has anew.
func (b *builder) makeForm() {
	if given := b.made.fixed["Content-Type"]; len(given) > 0 {
		if media, _, err := mime.ParseMediaType(given[0]); err != nil || media != "multipart/form-data" {
			b.fail("header Content-Type", errors.New("a form is multipart/form-data, with a boundary that the relay makes: remove this line, or write another kind of body"))
		}
		delete(b.made.fixed, "Content-Type")
	}
	parts := make([]formPart, 0, len(b.fields))
	for _, field := range b.fields {
		if field.wrong() {
			continue
		}
		part := formPart{place: field.value.place}
		part.head = template{{text: `Content-Disposition: form-data; name="`}}
		part.head = append(part.head, b.fill(field.name).with(escapedPartName, partName)...)
		part.head = append(part.head, piece{text: "\"\r\n"})
		contentType, err := partType(b.fill(field.kind))
		if err != nil {
			b.fail(part.place, err)
			continue
		}
		if contentType != "" {
			part.head = append(part.head, piece{text: "Content-Type: " + contentType + "\r\n"})
		}
		part.head = append(part.head, piece{text: "\r\n"}).joined()
		part.value, part.verify = b.escaped(field.value, config.BodyForm, contentType)
		parts = append(parts, part)
	}
	b.made.form = parts
}

func escapedPartName(text string) string { return string(escape.AppendPartName(nil, text)) }

// partType checks the Content-Type of a part.
func partType(t template) (string, error) {
	text, fixed := t.text()
	switch text = strings.TrimSpace(text); {
	case !fixed:
		return "", t.firstTag().mayNot("choose the Content-Type of a part, which decides how its value is escaped")
	case escape.CheckHeader(text) != nil:
		return "", errors.New("the type holds a control character, which the head of a part cannot carry")
	}
	return text, nil
}

// form renders the parts of a form and returns them with their boundary.
func (r *rendering) form(parts []formPart) (body []byte, boundary string, err error) {
	content := r.buffer[:0]
	ends := make([]int, len(parts))
	for i := range parts {
		part := &parts[i]
		if content, err = r.append(content, part.place, part.head); err != nil {
			return nil, "", err
		}
		begin := len(content)
		if content, err = r.append(content, part.place, part.value); err != nil {
			return nil, "", err
		}
		if err = part.verify.check(content[begin:]); err != nil {
			return nil, "", fmt.Errorf("%s: %w; not sent", part.place, err)
		}
		ends[i] = len(content)
	}
	r.buffer = content
	boundary = chooseBoundary(content, rand.Text)
	body = make([]byte, 0, len(content)+(len(parts)+1)*(len(boundary)+6))
	begin := 0
	for _, end := range ends {
		body = append(append(append(body, "--"...), boundary...), "\r\n"...)
		body = append(append(body, content[begin:end]...), "\r\n"...)
		begin = end
	}
	body = append(append(append(body, "--"...), boundary...), "--\r\n"...)
	return body, boundary, nil
}

// chooseBoundary returns a boundary that does not occur in the content.
func chooseBoundary(content []byte, random func() string) string {
	for {
		if boundary := "event-relay-" + random(); !bytes.Contains(content, []byte(boundary)) {
			return boundary
		}
	}
}
