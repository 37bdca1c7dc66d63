package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// ruleLevel holds the settings of a rule.
var ruleLevel = level[config.Rule]{name: "an on block", settings: []setting[config.Rule]{
	{name: "description", usage: `"TEXT"`, wants: "one text, in quotes", least: 1, most: 1, read: func(l *line, r *config.Rule) error {
		r.Description = l.text(0)
		return nil
	}},
	{name: "active", usage: "on|off", wants: "on or off", least: 1, most: 1, read: func(l *line, r *config.Rule) (err error) {
		r.Disabled, err = l.off()
		return err
	}},
	{name: "when", usage: "`EXPR`", wants: "one expression, in backticks", least: 1, most: 1, repeat: true, read: func(l *line, r *config.Rule) error {
		condition, err := l.expression(0)
		if err == nil {
			r.When = append(r.When, condition)
		}
		return err
	}},
	{name: "do", usage: "ACTION…", wants: "one or more actions", least: 1, most: -1, repeat: true, read: func(l *line, r *config.Rule) error {
		return l.each(0, func(_ int, arg caddyfile.Token) error {
			if err := names.Check("action", arg.Text); err != nil {
				return errAt(arg, "%w", err)
			}
			r.Do = append(r.Do, arg.Text)
			return nil
		})
	}},
	{name: "ignore", usage: `["TEXT"]`, wants: "at most a reason, in quotes", least: 0, most: 1, read: func(l *line, r *config.Rule) error {
		r.Ignore, r.Reason = true, l.text(0)
		return nil
	}},
}}

func readRule(l *line, app *config.Relay) error {
	rule := config.Rule{Place: l.place()}
	var wrong config.Findings
	wrong.Add("", l.each(0, func(i int, _ caddyfile.Token) error {
		event, err := l.nonEmpty(i, "name of an event")
		if err == nil {
			rule.Events = append(rule.Events, event)
		}
		return err
	}))
	had, err := ruleLevel.read(l.d, &rule)
	wrong.Add("", err)
	switch {
	case had.any("do") && had.any("ignore"):
		wrong.Add("", l.errf("a rule either does something or ignores: put ignore into a rule of its own, below this one"))
	case !had.any("do", "ignore"):
		wrong.Add("", l.errf("the rule leads to nothing: add do with one or more actions, or ignore"))
	}
	if len(rule.Events) == 0 {
		rule.Events = []string{event.UnknownName}
	}
	rule.Ignore = len(rule.Do) == 0
	app.Rules = append(app.Rules, rule)
	return wrong.Err()
}
