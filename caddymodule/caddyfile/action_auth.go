package caddyfile

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// actionAuthKinds holds the kinds of `auth` in an action. Their values are
// templates, unlike the secrets of a source.
var actionAuthKinds = level[config.Action]{name: "action auth", settings: []setting[config.Action]{
	{name: "bearer", usage: `"TOKEN"`, wants: "one token, in quotes", least: 1, most: 1, read: func(l *line, a *config.Action) error {
		token, err := l.template(0, "token")
		if err == nil {
			a.Auth = &config.ActionAuth{Kind: "bearer", Value: token}
		}
		return err
	}},
	{name: "basic", usage: `"USER" "PASSWORD"`, wants: "a user and a password, in quotes", least: 2, most: 2, read: func(l *line, a *config.Action) error {
		auth := &config.ActionAuth{Kind: "basic", User: l.text(0), Password: l.text(1)}
		if err := auth.Check(); err != nil {
			return l.errf("%w", err)
		}
		a.Auth = auth
		return nil
	}},
	{name: "api_key", usage: `header|query NAME "VALUE"`, wants: "a place, a name and a value", least: 3, most: 3, read: func(l *line, a *config.Action) error {
		auth := &config.ActionAuth{Kind: "api_key", In: l.text(0)}
		var wrong config.Findings
		if !slices.Contains(config.ActionKeyPlaces, auth.In) {
			wrong.Add("", errAt(l.args[0], "%w", names.Unknown("action api_key place", auth.In, config.ActionKeyPlaces, "")))
		}
		var err error
		auth.Name, err = l.template(1, "name")
		wrong.Add("", err)
		auth.Value, err = l.template(2, "value")
		wrong.Add("", err)
		if len(wrong) == 0 {
			a.Auth = auth
		}
		return wrong.Err()
	}},
	{name: "none", least: 0, most: 0, read: func(*line, *config.Action) error { return nil }},
}}
