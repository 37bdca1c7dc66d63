package caddyfile

import (
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
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
	if err := names.CheckIdentifier("parameter", parameter.Name); err != nil {
		return l.errf("%w", err)
	}
	if err := l.unique("parameter", parameter.Name); err != nil {
		return err
	}
	if len(l.args) > 1 {
		if err := l.refuseBlock(); err != nil {
			return err
		}
		if parameter.Value, err = l.value(1); err != nil {
			return err
		}
	} else {
		if _, err := parameterLevel.read(l.d, &parameter); err != nil {
			return err
		}
		if parameter.Value == "" && len(parameter.Tenants) == 0 {
			return l.errf("parameter %s has no value: parameter NAME VALUE, or a block with default VALUE and tenant CODE VALUE", parameter.Name)
		}
	}
	app.Parameters = append(app.Parameters, parameter)
	return nil
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
