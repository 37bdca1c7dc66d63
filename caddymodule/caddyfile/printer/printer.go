// Package printer writes configurations, or the parameters and actions of one, as
// text of a Caddyfile. It is the other way of the parser in the room above. It
// imports no Caddy, because the importer of Postman collections and the API write
// with it, too.
package printer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// Actions writes parameters and actions as text to be imported into the
// event_relay block of a Caddyfile, as `caddy fmt` leaves it. Reading it gives
// the same parameters and actions. An error names everything that a Caddyfile
// cannot say, and the text is then without it.
func Actions(parameters []config.Parameter, actions []config.Action) (string, error) {
	w := new(Writer)
	for i := range parameters {
		w.Parameter(&parameters[i])
	}
	for i := range actions {
		w.Action(&actions[i])
	}
	return w.Text()
}

// Writer writes the lines of text to be imported.
type Writer struct {
	text strings.Builder
	// direct says that the text stands in the Caddyfile itself and is not imported.
	direct bool
	// what is the setting that is being written, for errors.
	what   string
	indent int
	wrong  []error
}

// Blank writes a blank line, but not at the beginning of the text or of a block.
func (w *Writer) Blank() {
	if text := w.text.String(); text != "" && !strings.HasSuffix(text, "{\n") {
		w.text.WriteByte('\n')
	}
}

// Comment writes a line for people. Braces would mean something to Caddy, which
// looks for variables of the environment in comments too.
func (w *Writer) Comment(text string) {
	w.text.WriteString(strings.TrimSpace("# "+strings.NewReplacer("{", "(", "}", ")").Replace(text)) + "\n")
}

// line writes a line: words that are written as they are, then arguments that
// are quoted.
func (w *Writer) line(words string, arguments ...string) {
	if line, ok := w.joined(words, arguments); ok {
		w.write(line)
	}
}

// joined returns the words and arguments of a line, and false if an argument cannot
// be written.
func (w *Writer) joined(words string, arguments []string) (string, bool) {
	tokens := []string{words}
	for _, argument := range arguments {
		token, err := w.quote(argument, false)
		if err != nil {
			w.fail(words, err)
			return words, false
		}
		tokens = append(tokens, token)
	}
	return strings.Join(tokens, " "), true
}

func (w *Writer) write(line string) {
	w.text.WriteString(strings.Repeat("\t", w.indent) + line + "\n")
}

// quote quotes a text for where the writer's text is to stand.
func (w *Writer) quote(text string, first bool) (string, error) {
	switch {
	case first && text == "import":
		return "", errImport
	case w.direct && reference.MatchString(text):
		return text, nil
	case w.direct:
		return quoted(protectVariables(text), first)
	}
	return quoted(protect(text), first)
}

// expression writes a line that ends with an expression, in backticks if possible:
// the next string that a person writes into it needs no other quotes then.
func (w *Writer) expression(words, expression string, arguments ...string) {
	line, ok := w.joined(words, arguments)
	if !ok {
		return
	}
	token, err := backticked(expression)
	if err != nil {
		w.fail(words, err)
		return
	}
	w.write(line + " " + token)
}

func (w *Writer) fail(setting string, err error) {
	w.wrong = append(w.wrong, fmt.Errorf("writing %s of %s: %w", setting, w.what, err))
}

// Text returns what was written, and what could not be written.
func (w *Writer) Text() (string, error) { return w.text.String(), errors.Join(w.wrong...) }

// open and close write the lines around a block. A block whose line cannot be
// written whole keeps its beginning, so that what stands in it stays inside.
func (w *Writer) open(words string, arguments ...string) {
	line, _ := w.joined(words, arguments)
	w.write(line + " {")
	w.indent++
}

func (w *Writer) close() {
	w.indent--
	w.write("}")
}

// Parameter writes a parameter.
func (w *Writer) Parameter(p *config.Parameter) {
	w.what = "parameter " + p.Name
	if len(p.Tenants) == 0 {
		w.line("parameter", p.Name, p.Value)
		return
	}
	w.open("parameter " + p.Name)
	if p.Value != "" {
		w.line("default", p.Value)
	}
	for _, code := range slices.Sorted(maps.Keys(p.Tenants)) {
		w.line("tenant", code, p.Tenants[code])
	}
	w.close()
}

// Action writes an action, after a blank line.
func (w *Writer) Action(a *config.Action) {
	w.what = "action " + a.Name
	w.Blank()
	w.open("action " + a.Name)
	if a.Description != "" {
		w.line("description", a.Description)
	}
	if a.Mail != nil {
		w.mail(a.Mail)
	} else {
		w.line(strings.ToLower(cmp.Or(a.Method, "POST")), a.URL)
	}
	for _, pair := range a.Query {
		w.line("query", pair.Name, pair.Value)
	}
	for _, pair := range a.Headers {
		w.line("header", pair.Name, pair.Value)
	}
	w.auth(a.Auth)
	w.body(a.Body)
	w.delivery(a)
	w.close()
}

func (w *Writer) mail(m *config.Mail) {
	w.open("mail", m.Server)
	w.line("from", m.From)
	for _, list := range []struct {
		name      string
		addresses []string
	}{{"to", m.To}, {"cc", m.CC}, {"bcc", m.BCC}} {
		for _, address := range list.addresses {
			w.line(list.name, address)
		}
	}
	if m.ReplyTo != "" {
		w.line("reply_to", m.ReplyTo)
	}
	w.line("subject", m.Subject)
	w.line("text", m.Text)
	if m.HTML != "" {
		w.line("html", m.HTML)
	}
	if len(m.Recipients) > 0 {
		w.line("recipients", m.Recipients...)
	}
	if m.StartTLS != "" {
		w.line("starttls", string(m.StartTLS))
	}
	w.close()
}

func (w *Writer) auth(auth *config.ActionAuth) {
	if auth == nil {
		return
	}
	switch auth.Kind {
	case "api_key":
		w.line("auth api_key "+auth.In, auth.Name, auth.Value)
	case "basic":
		w.line("auth basic", auth.User, auth.Password)
	case "bearer":
		w.line("auth bearer", auth.Value)
	}
}

func (w *Writer) body(body *config.Body) {
	if body == nil {
		return
	}
	switch body.Kind {
	case "form", "urlencoded":
		w.open("body " + body.Kind)
		for _, field := range body.Fields {
			name, err := w.quote(field.Name, true)
			if err != nil {
				w.fail("body "+body.Kind, err)
				continue
			}
			if field.Type != "" {
				w.line(name, field.Value, field.Type)
			} else {
				w.line(name, field.Value)
			}
		}
		w.close()
	case "json", "xml":
		w.line("body "+body.Kind, body.Text)
	case "raw":
		if body.Type != "" {
			w.line("body raw", body.Type, body.Text)
		} else {
			w.line("body raw", body.Text)
		}
	case "forward":
		w.line("body forward")
	}
}

// delivery writes the delivery settings that are given.
func (w *Writer) delivery(a *config.Action) {
	for _, setting := range config.DeliverySettings {
		switch arguments, err := setting.Arguments(a); {
		case err != nil:
			w.fail(setting.Name, err)
		case arguments != nil:
			w.line(setting.Name, arguments...)
		}
	}
}
