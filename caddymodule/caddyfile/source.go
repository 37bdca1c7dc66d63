package caddyfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/preset"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// sourceLevel holds the settings of a source.
var sourceLevel = level[config.Source]{name: "a source block", settings: []setting[config.Source]{
	{name: "auth", usage: "bearer|basic|api_key|path|hmac|standard_webhooks|none …", wants: "a kind", least: 1, most: -1, repeat: true, block: true, read: readCredential},
	{name: "allow", usage: "CIDR…", wants: "one or more networks", least: 1, most: -1, repeat: true, read: readAllow},
	{name: "name_from", usage: "`EXPR`", wants: "one expression, in backticks", least: 1, most: 1, read: func(l *line, s *config.Source) (err error) {
		s.NameFrom, err = l.expression(0)
		return err
	}},
	{name: "event", usage: `NAME ["TEXT"]`, wants: "a name and perhaps a description in quotes", least: 1, most: 2, repeat: true, named: true, read: readEventType, standIn: standInEvent},
	{name: "field", usage: "NAME `EXPR`", wants: "a name and an expression in backticks", least: 2, most: 2, repeat: true, named: true, read: readField, standIn: standInField},
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
		return l.each(0, func(i int, _ caddyfile.Token) error {
			path, err := l.nonEmpty(i, "path")
			if err == nil {
				s.Redact = append(s.Redact, path)
			}
			return err
		})
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
	var wrong config.Findings
	if err := names.Check("source", source.Name); err != nil {
		wrong.Add("", l.errf("%w", err))
	}
	again := l.unique("source", source.Name)
	wrong.Add("", again)
	switch known := preset.Names(); {
	case len(l.args) == 1 && slices.Contains(known, source.Name):
		source.Preset = source.Name
	case len(l.args) == 2:
		source.Preset = l.text(1)
		if !slices.Contains(known, source.Preset) {
			err := l.errf("%w", names.Unknown("preset", source.Preset, known, ""))
			if source.Preset = names.Nearest(source.Preset, known); source.Preset == "" {
				// Its events are not known.
				err = tornError{err}
			}
			wrong.Add("", err)
		}
	}
	had, err := sourceLevel.read(l.d, &source)
	wrong.Add("", err)
	if !had.any("auth") {
		wrong.Add("", l.errf("source %s has no auth: add how its requests prove where they come from, as in `auth bearer {env.TOKEN}`, "+
			"or `auth none` if it is to be open", source.Name))
	}
	if len(source.Auth) == 0 {
		source.Auth = unreadAuth
	}
	if again == nil {
		app.Sources = append(app.Sources, source)
	} else {
		addSource(app, source)
	}
	return wrong.Err()
}

// unreadAuth stands in for an auth that could not be read.
var unreadAuth = []config.Credential{{Kind: "bearer", Values: []string{secret.Masked}}}

// standInSource makes a source known by its name.
func standInSource(l *line, app *config.Relay) {
	if names.Check("source", l.text(0)) == nil {
		addSource(app, config.Source{Name: l.text(0), Auth: unreadAuth, Place: l.place()})
	}
}

// addSource adds a source, or its events and fields if there is one of that name.
func addSource(app *config.Relay, source config.Source) {
	i := slices.IndexFunc(app.Sources, func(s config.Source) bool { return s.Name == source.Name })
	if i < 0 {
		app.Sources = append(app.Sources, source)
		return
	}
	for _, event := range source.Events {
		addEvent(&app.Sources[i], event.Name)
	}
	for _, field := range source.Fields {
		addField(&app.Sources[i], field)
	}
}

func readAllow(l *line, source *config.Source) error {
	return l.each(0, func(_ int, arg caddyfile.Token) error {
		if _, err := config.Networks(arg.Text); err != nil {
			return errAt(arg, "%w", err)
		}
		source.Allow = append(source.Allow, arg.Text)
		return nil
	})
}

func readDedupe(l *line, source *config.Source) error {
	var wrong config.Findings
	window, err := l.duration(0)
	wrong.Add("", err)
	key := ""
	if len(l.args) > 1 {
		key, err = l.expression(1)
		wrong.Add("", err)
	}
	if window > 0 {
		source.Dedupe = &config.Dedupe{Window: window, Key: key}
	}
	return wrong.Err()
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
	var wrong config.Findings
	if err := names.CheckIdentifier("field", name); err != nil {
		wrong.Add("", l.errf("%w", err))
	} else {
		wrong.Add("", l.unique("field", name))
	}
	expression, err := l.expression(1)
	wrong.Add("", err)
	if len(wrong) > 0 {
		standInField(l, source)
		return wrong.Err()
	}
	source.Fields = append(source.Fields, config.Field{Name: name, Expression: expression})
	return nil
}

// standInEvent makes an event known by its name.
func standInEvent(l *line, source *config.Source) { addEvent(source, l.text(0)) }

func addEvent(source *config.Source, name string) {
	same := func(e config.EventType) bool { return names.Normal(e.Name) == names.Normal(name) }
	if strings.TrimSpace(name) != "" && !slices.ContainsFunc(source.Events, same) {
		source.Events = append(source.Events, config.EventType{Name: name})
	}
}

// standInField makes a field known by its name.
func standInField(l *line, source *config.Source) {
	if names.CheckIdentifier("field", l.text(0)) == nil {
		addField(source, config.Field{Name: l.text(0), Expression: "body"})
	}
}

func addField(source *config.Source, field config.Field) {
	if !slices.ContainsFunc(source.Fields, func(f config.Field) bool { return f.Name == field.Name }) {
		source.Fields = append(source.Fields, field)
	}
}
