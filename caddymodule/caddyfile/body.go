package caddyfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// bodyKinds holds the kinds of `body`.
var bodyKinds = level[config.Action]{name: "body", settings: []setting[config.Action]{
	{name: "none", least: 0, most: 0, read: func(*line, *config.Action) error { return nil }},
	{name: "form", usage: `{ NAME "VALUE" [TYPE] }`, wants: "a block of fields and nothing else", least: 0, most: 0, block: true,
		read: func(l *line, a *config.Action) error {
			return readFields(l, a, "form", 2)
		}},
	{name: "urlencoded", usage: `{ NAME "VALUE" }`, wants: "a block of fields and nothing else", least: 0, most: 0, block: true,
		read: func(l *line, a *config.Action) error {
			return readFields(l, a, "urlencoded", 1)
		}},
	{name: "raw", usage: "[TYPE] `TEXT`", wants: "one text, in backticks or as a heredoc, perhaps after its type", least: 1, most: 2, read: func(l *line, a *config.Action) error {
		text := len(l.args) - 1
		body := &config.Body{Kind: "raw", Text: l.text(text)}
		if text == 1 {
			body.Type = l.text(0)
			if err := checkType(body.Type); err != nil {
				return l.errf("%w: body raw [TYPE] `TEXT`", err)
			}
		}
		if err := body.Check(); err != nil {
			return l.errf("%w", err)
		}
		err := l.checkTemplate(l.args[text])
		if err == nil {
			a.Body = body
		}
		return err
	}},
	document("json", "JSON text"),
	document("xml", "XML text"),
	{name: "forward", least: 0, most: 0, read: func(_ *line, a *config.Action) error {
		a.Body = &config.Body{Kind: "forward"}
		return nil
	}},
}}

// document is the kind of a body that is one text of a known type.
func document(kind, what string) setting[config.Action] {
	return setting[config.Action]{name: kind, usage: "`TEXT`", wants: "one text, in backticks or as a heredoc", least: 1, most: 1, read: func(l *line, a *config.Action) error {
		text, err := l.template(0, what)
		if err == nil {
			a.Body = &config.Body{Kind: kind, Text: text}
		}
		return err
	}}
}

// readFields reads the block of a body that is made of fields, each with its
// name and at most as many arguments as given.
func readFields(l *line, action *config.Action, kind string, most int) error {
	body := &config.Body{Kind: kind}
	var wrong config.Findings
	for nesting := l.d.Nesting(); l.d.NextBlock(nesting); {
		inside := l.d.Nesting()
		if err := readBodyField(l, body, most); err != nil {
			wrong.Add("", err)
			if cut := (cutError{}); errors.As(err, &cut) {
				break
			}
			skipSetting(l.d, inside)
		}
	}
	if len(body.Fields)+len(wrong) == 0 {
		return l.errf("body %s has no fields: give it a block with a name and a value on each line, or write body none", kind)
	}
	if len(body.Fields) > 0 {
		action.Body = body
	}
	return wrong.Err()
}

// readBodyField reads the field at which the dispenser stands.
func readBodyField(l *line, body *config.Body, most int) error {
	// The name stands where other blocks have a setting's, but it may be
	// anything.
	name := l.d.Token()
	field := &line{d: l.d, words: []caddyfile.Token{name}, args: l.d.RemainingArgsAsTokens()}
	if len(field.args) != 2 || !strings.Contains(field.text(1), "/") {
		// Only the type of a part may follow a heredoc.
		if err := field.refuseCutHeredoc(); err != nil {
			return err
		}
	}
	for _, token := range slices.Concat(field.words, field.args) {
		if err := refuseTag(token); err != nil {
			return err
		}
		if err := field.checkTemplate(token); err != nil {
			return err
		}
	}
	if err := field.refuseBlock(); err != nil {
		return err
	}
	if strings.TrimSpace(name.Text) == "" {
		return field.errf("a field of body %s has an empty name", body.Kind)
	}
	if len(field.args) == 0 || len(field.args) > most {
		return field.errf("field %s of body %s needs %s", name.Text, body.Kind,
			[...]string{1: "a value", 2: "a value and perhaps the type of its part"}[most])
	}
	value := config.BodyField{Name: name.Text, Value: field.text(0), Type: field.text(1)}
	if len(field.args) > 1 {
		// A parameter may be all of a type.
		if err := checkType(value.Type); err != nil && !strings.Contains(value.Type, "{{") {
			return errAt(field.args[1], "%w: NAME \"VALUE\" [TYPE]", err)
		}
	}
	body.Fields = append(body.Fields, value)
	return nil
}

// checkType returns an error for what cannot be a Content-Type. It finds a text
// that should have been in quotes, and what stands in the wrong order.
func checkType(text string) error {
	if !strings.Contains(text, "/") {
		return fmt.Errorf("%q is not a type of body, such as text/plain", text)
	}
	return config.CheckTemplate(text)
}
