package caddyfile

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// parameterLevel holds the settings of a parameter.
var parameterLevel = level[config.Parameter]{name: "a parameter block", settings: []setting[config.Parameter]{
	{name: "default", usage: "VALUE", wants: "one value", least: 1, most: 1, read: func(l *line, p *config.Parameter) (err error) {
		p.Value, err = l.value(0)
		return err
	}},
	{name: "tenant", usage: "CODE VALUE", wants: "the code of a tenant and a value", least: 2, most: 2, repeat: true, read: readTenant},
}}

// readParameter reads `parameter NAME VALUE` or `parameter NAME { … }`.
func readParameter(l *line, app *config.Relay) (err error) {
	parameter := config.Parameter{Name: l.text(0), Place: l.place()}
	var wrong config.Findings
	if err := names.CheckIdentifier("parameter", parameter.Name); err != nil {
		wrong.Add("", l.errf("%w", err))
	} else {
		wrong.Add("", l.unique("parameter", parameter.Name))
	}
	if len(l.args) > 1 {
		wrong.Add("", l.refuseBlock())
		parameter.Value, err = l.value(1)
		wrong.Add("", err)
	} else {
		had, err := parameterLevel.read(l.d, &parameter)
		wrong.Add("", err)
		if !had.any("default", "tenant") || err == nil && parameter.Value == "" && len(parameter.Tenants) == 0 {
			wrong.Add("", l.errf("parameter %s has no value: parameter NAME VALUE, or a block with default VALUE and tenant CODE VALUE", parameter.Name))
		}
	}
	if len(wrong) > 0 {
		standInParameter(l, app)
		return wrong.Err()
	}
	app.Parameters = append(app.Parameters, parameter)
	return nil
}

// standInParameter makes a parameter known by its name.
func standInParameter(l *line, app *config.Relay) {
	name := l.text(0)
	same := func(p config.Parameter) bool { return p.Name == name }
	if names.CheckIdentifier("parameter", name) == nil && !slices.ContainsFunc(app.Parameters, same) {
		app.Parameters = append(app.Parameters, config.Parameter{Name: name, Value: secret.Masked, Place: l.place()})
	}
}

func readTenant(l *line, parameter *config.Parameter) error {
	code, err := l.nonEmpty(0, "code")
	if err != nil {
		return err
	}
	if err := l.unique("tenant", code); err != nil {
		return err
	}
	if parameter.Tenants == nil {
		parameter.Tenants = make(map[string]string)
	}
	parameter.Tenants[code], err = l.value(1)
	return err
}
