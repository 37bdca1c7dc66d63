package caddyfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/preset"
)

// sourceLevel holds the settings of a source.
var sourceLevel = level[config.Source]{name: "a source block", settings: []setting[config.Source]{
	{name: "auth", usage: "bearer|basic|api_key|path|hmac|standard_webhooks|none …", wants: "a kind", least: 1, most: -1, repeat: true, block: true, read: readCredential},
	{name: "allow", usage: "CIDR…", wants: "one or more networks", least: 1, most: -1, repeat: true, read: readAllow},
	{name: "name_from", usage: "`EXPR`", wants: "one expression, in backticks", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		s.NameFrom, err = l.expression(0)
		return err
	}},
	{name: "event", usage: `NAME ["TEXT"]`, wants: "a name and perhaps a description in quotes", least: 1, most: 2, repeat: true, read: readEventType},
	{name: "field", usage: "NAME `EXPR`", wants: "a name and an expression in backticks", least: 2, most: 2, repeat: true, read: readField},
	{name: "subject", usage: `"TEMPLATE"|off`, wants: "one template in quotes, or off", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		s.Subject, err = l.template(0, "template")
		return err
	}},
	{name: "batch", usage: "`EXPR`", wants: "one expression, in backticks", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		s.Batch, err = l.expression(0)
		return err
	}},
	{name: "timezone", usage: "ZONE", wants: "a time zone", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		s.Timezone, err = l.timezone(0)
		return err
	}},
	{name: "quiet", usage: "DURATION", wants: "a duration", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		s.Quiet, err = l.duration(0)
		return err
	}},
	{name: "dedupe", usage: "WINDOW [`EXPR`]", wants: "a duration and perhaps an expression in backticks", least: 1, most: 2, read: readDedupe},
	{name: "redact", usage: "PATH…", wants: "one or more paths, such as body.phone", least: 1, most: -1, repeat: true, read: func(l *line, s *config.Source) error {
		for i := range l.args {
			path, err := l.nonEmpty(i, "path")
			if err != nil {
				return err
			}
			s.Redact = append(s.Redact, path)
		}
		return nil
	}},
	{name: "max_body", usage: "SIZE", wants: "a size", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		s.MaxBody, err = l.size(0)
		return err
	}},
	{name: "respond", usage: "200|202|204", wants: "a status", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		if !slices.Contains(respondStatuses, l.text(0)) {
			return l.errf("respond is one of %s, not %q", strings.Join(respondStatuses, ", "), l.text(0))
		}
		s.Respond, err = strconv.Atoi(l.text(0))
		return err
	}},
}}

var respondStatuses = []string{"200", "202", "204"}

// readSource reads `source NAME [PRESET] { … }`. A source that is called like
// a preset is of that preset.
func readSource(l *line, app *config.Relay) error {
	source := config.Source{Name: l.text(0), Place: l.place()}
	if err := names.Check("source", source.Name); err != nil {
		return l.errf("%w", err)
	}
	if err := l.unique("source", source.Name); err != nil {
		return err
	}
	switch known := preset.Names(); {
	case len(l.args) == 1 && slices.Contains(known, source.Name):
		source.Preset = source.Name
	case len(l.args) == 2:
		source.Preset = l.text(1)
		if !slices.Contains(known, source.Preset) {
			return l.errf("%w", names.Unknown("preset", source.Preset, known, ""))
		}
	}
	had, err := sourceLevel.read(l.d, &source)
	var wrong config.Findings
	wrong.Add("", err)
	if !had.any("auth") {
		wrong.Add("", l.errf("source %s has no auth: add how its requests prove where they come from, as in `auth bearer {env.TOKEN}`, "+
			"or `auth none` if it is to be open", source.Name))
	}
	app.Sources = append(app.Sources, source)
	return wrong.Err()
}

func readAllow(l *line, source *config.Source) error {
	for _, arg := range l.args {
		if _, err := config.Networks(arg.Text); err != nil {
			return errAt(arg, "%w", err)
		}
		source.Allow = append(source.Allow, arg.Text)
	}
	return nil
}

func readDedupe(l *line, source *config.Source) (err error) {
	source.Dedupe = new(config.Dedupe)
	if source.Dedupe.Window, err = l.duration(0); err == nil && len(l.args) > 1 {
		source.Dedupe.Key, err = l.expression(1)
	}
	return err
}

func readEventType(l *line, source *config.Source) error {
	name, err := l.nonEmpty(0, "name of the event")
	if err != nil {
		return err
	}
	if err := l.unique("event", names.Normal(name)); err != nil {
		return err
	}
	source.Events = append(source.Events, config.EventType{Name: name, Description: l.text(1)})
	return nil
}

func readField(l *line, source *config.Source) error {
	name := l.text(0)
	if err := names.CheckIdentifier("field", name); err != nil {
		return l.errf("%w", err)
	}
	if err := l.unique("field", name); err != nil {
		return err
	}
	expression, err := l.expression(1)
	if err != nil {
		return err
	}
	source.Fields = append(source.Fields, config.Field{Name: name, Expression: expression})
	return nil
}
