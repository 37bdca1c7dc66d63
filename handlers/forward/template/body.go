package template

import (
	"encoding/json"
	"errors"
	"mime"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// wellFormed is what a body must be once it is rendered, where that depends on
// the values.
type wellFormed uint8

const (
	anything wellFormed = iota
	oneJSON
	oneXML
)

// check returns an error if a rendered text is not what it must be. The error
// holds nothing of the text.
func (w wellFormed) check(text []byte) error {
	switch {
	case w == oneJSON && !json.Valid(text):
		return errors.New("what was rendered is not well-formed JSON")
	case w == oneXML && readXML(text) != nil:
		return errors.New("what was rendered is not well-formed XML")
	}
	return nil
}

// makeBody makes the body. Call it after makeHeaders: a Content-Type among the headers
// decides how values are escaped.
func (b *builder) makeBody() {
	body, fixed := b.action.Body, b.made.fixed
	switch body.Kind {
	case config.BodyNone:
		return
	case config.BodyForward:
		b.made.forward = true
		return
	case config.BodyForm:
		b.makeForm()
		return
	}
	if len(fixed["Content-Type"]) == 0 {
		fixed["Content-Type"] = []string{contentType(body)}
	}
	if body.Kind == config.BodyURLEncoded {
		b.makeURLEncoded()
		return
	}
	if !b.body.wrong {
		b.made.body, b.made.verify = b.escaped(b.body, body.Kind, fixed["Content-Type"][0])
	}
}

func contentType(body *config.Body) string {
	switch {
	case body.Kind == config.BodyJSON:
		return "application/json"
	case body.Kind == config.BodyXML:
		return "application/xml"
	case body.Kind == config.BodyURLEncoded:
		return "application/x-www-form-urlencoded"
	case body.Type != "":
		return body.Type
	}
	return "text/plain; charset=utf-8"
}

// makeURLEncoded makes an urlencoded body. A blank becomes %20, which every
// reader understands, also one that takes a plus for a plus.
func (b *builder) makeURLEncoded() {
	encode := escape.Unreserved.Encode
	var body template
	for _, field := range b.fields {
		if field.wrong() {
			continue
		}
		if len(body) > 0 {
			body = append(body, piece{text: "&"})
		}
		body = append(body, b.fill(field.name).with(encode, percent)...)
		body = append(body, piece{text: "="})
		body = append(body, b.fill(field.value).with(encode, percent)...)
	}
	b.made.body = body.joined()
}

// escaped makes a body, or a part of one, in which values are escaped as its
// kind or type asks. verify is what must be checked of what is rendered.
func (b *builder) escaped(w writtenText, kind, contentType string) (t template, verify wellFormed) {
	text := b.fill(w)
	how, whole := escapeFor(kind, contentType)
	unsure := false
	var err error
	switch {
	case how == jsonText:
		t = jsonTemplate(text)
		if whole == oneJSON {
			unsure, err = checkJSON(w.text, t)
		}
		t = t.joined()
	case how == xmlText && (kind == config.BodyXML || mediaType(contentType) != "text/html"):
		if t, err = xmlTemplate(text.joined()); err == nil && whole == oneXML {
			unsure, err = checkXML(text)
		}
	default:
		t = text.with(unchanged, how)
		escaped := func(p piece) bool { return p.tag != nil && !p.tag.verbatim() }
		if i := slices.IndexFunc(t, escaped); i >= 0 && strings.HasPrefix(mediaType(contentType), "multipart/") {
			err = t[i].tag.mayNot("stand in a multipart text, whose boundary it could hold: write body form")
		}
	}
	if err != nil {
		b.fail(w.place, err)
	}
	if !unsure {
		whole = anything
	}
	return t, whole
}

// mediaType returns the media type that a Content-Type names.
func mediaType(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		// A Content-Type that is slightly wrong must still decide how values are
		// escaped: without it they would be sent unescaped.
		media, _, _ = strings.Cut(contentType, ";")
		media = strings.ToLower(strings.TrimSpace(media))
	}
	return media
}

// escapeFor returns how values are escaped in a body, and what the whole body
// must be.
func escapeFor(kind, contentType string) (how escaping, whole wellFormed) {
	media := mediaType(contentType)
	switch {
	case kind == config.BodyXML:
		return xmlText, oneXML
	case kind == config.BodyJSON, media == "application/json", media == "text/json", strings.HasSuffix(media, "+json"):
		return jsonText, oneJSON
	case strings.Contains(media, "json"):
		// A list of JSON values: lines, or a sequence.
		return jsonText, anything
	case media == "application/xml", media == "text/xml", strings.HasSuffix(media, "+xml"), media == "text/html":
		return xmlText, anything
	case media == "application/x-www-form-urlencoded":
		return percent, anything
	}
	return asIs, anything
}
