package caddyfile

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// actionAuthKinds holds the kinds of `auth` in an action. Their values are
// templates, unlike the secrets of a source.
var actionAuthKinds = level[config.Action]{name: "action auth", settings: []setting[config.Action]{
	{name: "bearer", usage: `"TOKEN"`, wants: "one token, in quotes", least: 1, most: 1, read: func(l *line, a *config.Action) (err error) {
		a.Auth = &config.ActionAuth{Kind: "bearer"}
		a.Auth.Value, err = l.template(0, "token")
		return err
	}},
	{name: "basic", usage: `"USER" "PASSWORD"`, wants: "a user and a password, in quotes", least: 2, most: 2, read: func(l *line, a *config.Action) error {
		a.Auth = &config.ActionAuth{Kind: "basic", User: l.text(0), Password: l.text(1)}
		if err := a.Auth.Check(); err != nil {
			return l.errf("%w", err)
		}
		return nil
	}},
	{name: "api_key", usage: `header|query NAME "VALUE"`, wants: "a place, a name and a value", least: 3, most: 3, read: func(l *line, a *config.Action) (err error) {
		a.Auth = &config.ActionAuth{Kind: "api_key", In: l.text(0)}
		if !slices.Contains(config.ActionKeyPlaces, a.Auth.In) {
			return errAt(l.args[0], "%w", names.Unknown("action api_key place", a.Auth.In, config.ActionKeyPlaces, ""))
		}
		if a.Auth.Name, err = l.template(1, "name"); err != nil {
			return err
		}
		a.Auth.Value, err = l.template(2, "value")
		return err
	}},
	{name: "none", least: 0, most: 0, read: func(*line, *config.Action) error { return nil }},
}}
