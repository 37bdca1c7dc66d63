package forward

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode"
)

// body compiles the body, after the headers, because a Content-Type among them
// decides how values are escaped.
func (c *actionCompiler) body(p *Prepared) {
	body := c.action.Body
	if body.Kind == BodyNone {
		if body.Text != "" {
			c.fail("body", errors.New("body none has no text"))
		}
		return
	}
	if body.Kind == BodyJSON && looksTorn(body.Text) {
		c.fail("body", errTorn)
		return
	}
	text, ok := c.template("body", body.Text)
	if !ok {
		return
	}
	if strings.ContainsFunc(body.Type, unicode.IsControl) {
		c.fail("body", fmt.Errorf("%q cannot be a Content-Type", body.Type))
		return
	}
	if len(p.fixed["Content-Type"]) == 0 {
		p.fixed["Content-Type"] = []string{contentType(body)}
	}
	how, verify := escapeFor(body.Kind, p.fixed["Content-Type"][0])
	if how != jsonText {
		p.body = text.with(unchanged, how)
		return
	}
	p.body, p.verifyJSON = jsonTemplate(text), false
	if verify {
		unsure, err := checkJSON(body.Text, p.body)
		if err != nil {
			c.fail("body", err)
		}
		p.verifyJSON = unsure
	}
	p.body = p.body.joined()
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
