package receive

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/preset"
	"github.com/caddy-event-relay/event-relay/rules/language"
	"github.com/caddy-event-relay/event-relay/rules/tags"
)

// subject is the template of a source's subjects, nil for a source without one.
type subject []subjectPart

// subjectPart is literal text, or the expression of a tag.
type subjectPart struct {
	text       string
	expression *language.Expression
}

// compileSubject compiles the template of a source. A secret must not get into a
// subject, because a subject is shown to people and goes into messages.
func compileSubject(template string, l *language.Language) (subject, error) {
	if tags.LooksTorn(template) {
		return nil, tags.ErrTorn
	}
	pieces, err := tags.Parse(template)
	if err != nil {
		return nil, err
	}
	var s subject
	var wrong []error
	for _, p := range pieces {
		if p.Source == "" {
			s = append(s, subjectPart{text: p.Text})
			continue
		}
		expression, err := l.Compile(p.Source)
		if err == nil {
			err = checkSubject(expression, l)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", tags.Position(template, p.Offset), err))
		}
		s = append(s, subjectPart{expression: expression})
	}
	return s, errors.Join(wrong...)
}

// checkSubject finds what the expression of a tag may not be.
func checkSubject(expression *language.Expression, l *language.Language) error {
	if at := slices.IndexFunc(expression.Parameters(), l.IsSecret); at >= 0 {
		return fmt.Errorf("parameter %s is secret, and a subject is shown to people: name something else", expression.Parameters()[at])
	}
	switch {
	case expression.Verbatim():
		return fmt.Errorf("{{%s}}: verbatim is for the values of a body: write it without verbatim", expression)
	case l.NamesSubject(expression.String()):
		return errors.New("a subject cannot hold itself: name a field, a parameter or body.…")
	}
	return nil
}

// longestValue is how many bytes of a value can matter for a subject. A Line of them
// is shorter, unless most of them are white space.
const longestValue = 2048

// render returns the subject of an event, as it is before it is made one line. found
// says that something of the event is in it, or that nothing of an event is asked for.
func (s subject) render(bound *language.Bound) (text string, found bool, err error) {
	var room [256]byte
	out, asks := room[:0], false
	for i := range s {
		if s[i].expression == nil {
			out = append(out, s[i].text...)
			continue
		}
		value, err := bound.Evaluate(s[i].expression)
		if err == nil {
			text, err = event.TextOf(value)
		}
		if err != nil {
			return "", false, err
		}
		if !s[i].expression.Trusted() {
			asks = true
			found = found || strings.TrimSpace(text) != ""
		}
		out = append(out, text[:min(len(text), longestValue)]...)
	}
	return string(out), found || !asks, nil
}

// setSubject gives an event its subject: from the source's template, or else from what
// its preset knows, or its call, or its fields. fields are those of the body, and
// bodyOnly says that what stands beside the body proves nothing. It is called once all
// else of the event is there and redacted.
func (req *request) setSubject(s *source, e *event.Event, fields map[string]any, bodyOnly bool) {
	if s.noSubject {
		return
	}
	if s.subject != nil {
		text, found, err := s.subject.render(req.receiver.language.Bind(e))
		if err != nil {
			e.SubjectError = err.Error()
			return
		}
		if found {
			e.Subject = event.Line(text)
			return
		}
	}
	if s.preset.Subject != nil {
		if len(fields) == 0 && !bodyOnly {
			fields = firstValues(e.Query)
		}
		e.Subject = event.Line(s.preset.Subject(e, fields))
	}
	if e.Subject == "" {
		e.Subject = event.Line(preset.Call(e))
	}
	if e.Subject == "" {
		e.Subject = event.Line(s.subjectOfFields(e))
	}
}

func firstValues(query map[string][]string) map[string]any {
	if len(query) == 0 {
		return nil
	}
	fields := make(map[string]any, len(query))
	for key, values := range query {
		fields[key] = values[0]
	}
	return fields
}

// An event shows at most this many fields as its subject, and this many characters of
// each.
const (
	mostFields   = 3
	longestField = 60
)

// subjectOfFields lists the first of the source's own fields that have a value.
func (s *source) subjectOfFields(e *event.Event) string {
	var b strings.Builder
	listed := 0
	for _, f := range s.fields {
		text, ok := event.Text(e.Fields[f.name])
		if f.overrides || !ok || strings.TrimSpace(text) == "" {
			continue
		}
		if listed > 0 {
			b.WriteString(" · ")
		}
		b.WriteString(f.name)
		b.WriteByte(' ')
		b.WriteString(event.Shortened(text, longestField))
		if listed++; listed == mostFields {
			break
		}
	}
	return b.String()
}
