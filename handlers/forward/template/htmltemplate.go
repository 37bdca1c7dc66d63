package template

import (
	"bytes"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// The delimiters of the places of values. Text of the administrator that holds one of
// them is refused, so that nothing else can be taken for a place.
const (
	beginPlace = "\x02"
	endPlace   = "\x03"
)

// htmlText is the HTML of a mail. The package html/template finds out what each value
// stands in (text, attribute, URL, style, script) and escapes it for that.
type htmlText struct {
	parsed *htmltemplate.Template
	tags   []*tag
}

// htmlTemplate makes HTML of a template. Its error says where a value stands that
// cannot be escaped.
func htmlTemplate(t template) (*htmlText, error) {
	made := new(htmlText)
	var text strings.Builder
	put := false
	for _, p := range t {
		put = put || p.put
		if p.tag != nil {
			fmt.Fprintf(&text, "%sindex . %d%s", beginPlace, len(made.tags), endPlace)
			made.tags = append(made.tags, p.tag)
			continue
		}
		if strings.ContainsAny(p.text, beginPlace+endPlace) {
			return nil, errors.New("the text holds a control character")
		}
		text.WriteString(p.text)
	}
	parsed, err := htmltemplate.New("html").Delims(beginPlace, endPlace).Parse(text.String())
	if err == nil {
		made.parsed = parsed
		// Only the first use finds places that cannot be escaped.
		_, err = made.fill(make([]any, len(made.tags)))
	}
	if err == nil {
		return made, nil
	}
	if put {
		// The error could show what parameters hold, secret ones too.
		return nil, errors.New("with the parameters put in, there is a value in a place of the HTML where it cannot be escaped")
	}
	var wrong *htmltemplate.Error
	if !errors.As(err, &wrong) {
		return nil, err
	}
	if wrong.ErrorCode == htmltemplate.ErrEndContext {
		return nil, errors.New("the HTML ends within a tag, an attribute, a style or a script")
	}
	description := wrong.Description
	for i, tag := range made.tags {
		description = strings.ReplaceAll(description, fmt.Sprintf("{{index . %d}}", i), tag.String())
	}
	return nil, errors.New(description)
}

func (h *htmlText) fill(values []any) (string, error) {
	var out bytes.Buffer
	err := h.parsed.Execute(&out, values)
	return out.String(), err
}

// html renders HTML.
func (r *rendering) html(h *htmlText) (string, error) {
	values := make([]any, len(h.tags))
	for i, tag := range h.tags {
		value, err := r.value(tag)
		var text string
		if err == nil {
			text, err = event.TextOf(value)
		}
		if err != nil {
			return "", fmt.Errorf("html: %s: %w", tag, err)
		}
		values[i] = text
		if tag.verbatim() {
			values[i] = htmltemplate.HTML(text)
		}
	}
	text, err := h.fill(values)
	if err != nil {
		return "", errors.New("html: the values cannot be put in; not sent")
	}
	return text, nil
}
