package caddyfile

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/rules/language"
	"github.com/caddy-event-relay/event-relay/rules/tags"
)

// off reads on or off, and reports whether it is off.
func (l *line) off() (bool, error) {
	switch l.text(0) {
	case "on":
		return false, nil
	case "off":
		return true, nil
	}
	return false, l.errf("%s is on or off, not %q", l.words[0].Text, l.text(0))
}

func (l *line) nonEmpty(i int, what string) (string, error) {
	if strings.TrimSpace(l.text(i)) == "" {
		return "", l.errf("%s has an empty %s", l.words[0].Text, what)
	}
	return l.text(i), nil
}

func (l *line) duration(i int) (config.Duration, error) {
	duration, err := caddy.ParseDuration(l.text(i))
	if err != nil || duration <= 0 {
		return 0, l.errf("%s needs a duration above zero, such as 10s, 15m, 24h or 30d, not %q", l.words[0].Text, l.text(i))
	}
	return config.Duration(duration), nil
}

func (l *line) timezone(i int) (string, error) {
	if _, err := config.Timezone(l.text(i)); err != nil {
		return "", l.errf("%w", err)
	}
	return l.text(i), nil
}

func (l *line) size(i int) (int64, error) {
	size, err := humanize.ParseBytes(l.text(i))
	if err != nil || size == 0 || size > math.MaxInt64 {
		return 0, l.errf("%s needs a size above zero, such as 500MiB or 2GiB, not %q", l.words[0].Text, l.text(i))
	}
	return int64(size), nil
}

// count reads a number of things, of which there is at least one.
func (l *line) count(i int, things string) (int, error) {
	count, err := strconv.Atoi(l.text(i))
	if err != nil || count < 1 {
		return 0, l.errf("%s is a number of %s, 1 or more, not %q", l.words[0].Text, things, l.text(i))
	}
	return count, nil
}

// value returns an argument that is as it stands or wholly a placeholder.
func (l *line) value(i int) (string, error) {
	if err := config.CheckValue(l.text(i)); err != nil {
		return "", l.errf("%w", err)
	}
	return l.text(i), nil
}

// secrets returns the arguments from one on, which may be placeholders.
func (l *line) secrets(from int) ([]string, error) {
	for i := range l.args[from:] {
		if l.text(from+i) == "" {
			return nil, l.errf("%s has an empty value, which is no secret", l.words[0].Text)
		}
		if _, err := l.value(from + i); err != nil {
			return nil, err
		}
	}
	values := make([]string, 0, len(l.args)-from)
	for _, arg := range l.args[from:] {
		values = append(values, arg.Text)
	}
	return values, nil
}

// expression returns an argument that is an expression.
func (l *line) expression(i int) (string, error) {
	text, err := l.nonEmpty(i, "expression")
	if err != nil {
		return "", err
	}
	if err := language.CheckSyntax(text); err != nil {
		return "", errAt(l.args[i], "%w", err)
	}
	return text, nil
}

// template returns an argument that is a template and must not be empty.
func (l *line) template(i int, what string) (string, error) {
	text, err := l.nonEmpty(i, what)
	if err != nil {
		return "", err
	}
	if err := l.checkTemplate(l.args[i]); err != nil {
		return "", err
	}
	return text, nil
}

// checkTemplate returns an error for a token of the line that is no template.
func (l *line) checkTemplate(token caddyfile.Token) error {
	err := config.CheckTemplate(token.Text)
	if err == nil {
		if err = tags.CheckSyntax(token.Text); err != nil {
			err = fmt.Errorf("reading %s: %w", l.words[0].Text, err)
		}
	}
	if err != nil {
		return errAt(token, "%w", err)
	}
	return nil
}
