package forward

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode"
)

// makeBody makes the body, after the headers, because a Content-Type among them
// decides how values are escaped.
func (b *builder) makeBody() {
	body, fixed := b.action.Body, b.made.fixed
	if b.body.wrong {
		return
	}
	if body.Kind == BodyNone {
		if body.Text != "" {
			b.fail("body", errors.New("body none has no text"))
		}
		return
	}
	if strings.ContainsFunc(body.Type, unicode.IsControl) {
		b.fail("body", fmt.Errorf("%q cannot be a Content-Type", body.Type))
		return
	}
	if len(fixed["Content-Type"]) == 0 {
		fixed["Content-Type"] = []string{contentType(body)}
	}
	text := b.fill(b.body)
	how, oneJSON := escapeFor(body.Kind, fixed["Content-Type"][0])
	if how != jsonText {
		b.made.body = text.with(unchanged, how)
		return
	}
	text = jsonTemplate(text)
	if oneJSON {
		unsure, err := checkJSON(body.Text, text)
		if err != nil {
			b.fail("body", err)
		}
		b.made.verifyJSON = unsure
	}
	b.made.body = text.joined()
}

func contentType(body Body) string {
	switch {
	case body.Kind == BodyJSON:
		return "application/json"
	case body.Type != "":
		return body.Type
	}
	return "text/plain; charset=utf-8"
}

// escapeFor returns how values are escaped in a body, and whether the body must
// be one JSON value.
func escapeFor(kind, contentType string) (how escape, oneJSON bool) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		// Rather read too much into a Content-Type that is slightly wrong than
		// send a value unescaped.
		media, _, _ = strings.Cut(contentType, ";")
		media = strings.ToLower(strings.TrimSpace(media))
	}
	switch {
	case kind == BodyJSON, media == "application/json", media == "text/json", strings.HasSuffix(media, "+json"):
		return jsonText, true
	case strings.Contains(media, "json"):
		// A list of JSON values: lines, or a sequence.
		return jsonText, false
	case media == "application/xml", media == "text/xml", strings.HasSuffix(media, "+xml"), media == "text/html":
		return xmlText, false
	case media == "application/x-www-form-urlencoded":
		return percent, false
	}
	return asIs, false
}
