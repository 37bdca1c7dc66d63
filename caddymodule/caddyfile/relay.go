package caddyfile

import (
	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// relayLevel holds the settings of the relay as a whole.
var relayLevel = level[config.Relay]{name: "an event_relay block", settings: []setting[config.Relay]{
	{name: "active", usage: "on|off", wants: "on or off", least: 1, most: 1, read: func(l *line, app *config.Relay) (err error) {
		app.Disabled, err = l.off()
		return err
	}},
	{name: "queue", usage: "sqlite [DIR]", wants: "an engine", least: 1, most: -1, block: true, read: queueEngines.pick},
	{name: "queue_required", usage: "on|off", wants: "on or off", least: 1, most: 1, read: func(l *line, app *config.Relay) error {
		off, err := l.off()
		app.QueueRequired = !off
		return err
	}},
	{name: "timezone", usage: "ZONE", wants: "a time zone", least: 1, most: 1, read: func(l *line, app *config.Relay) (err error) {
		app.Timezone, err = l.timezone(0)
		return err
	}},
	{name: "retention", usage: "AGE [SIZE]", wants: "an age and perhaps a size", least: 1, most: 2, read: readRetention},
	{name: "targets", usage: "private_ranges|loopback|CIDR|HOST…", wants: "networks or hosts", least: 1, most: -1, repeat: true, read: readTargets},
	{name: "max_pending", usage: "N", wants: "a number", least: 1, most: 1, read: func(l *line, app *config.Relay) (err error) {
		app.MaxPending, err = l.count(0, "deliveries")
		return err
	}},
	{name: "min_free", usage: "SIZE|off", wants: "a size, or off", least: 1, most: 1, read: func(l *line, app *config.Relay) (err error) {
		if app.MinFree = config.MinFreeOff; l.text(0) != "off" {
			app.MinFree, err = l.size(0)
		}
		return err
	}},
	{name: "keep_connections", usage: "on|off", wants: "on or off", least: 1, most: 1, read: func(l *line, app *config.Relay) (err error) {
		app.CloseConnections, err = l.off()
		return err
	}},
	{name: "parameter", usage: "NAME VALUE", wants: "a name and a value", least: 1, most: 2, repeat: true, block: true, read: readParameter},
	{name: "source", usage: "NAME [PRESET]", wants: "a name and perhaps a preset", least: 1, most: 2, repeat: true, block: true, read: readSource},
	{name: "action", usage: "NAME", wants: "a name", least: 1, most: 1, repeat: true, block: true, read: readAction},
	{name: "on", usage: "EVENT…", wants: "one or more events", least: 1, most: -1, repeat: true, block: true, read: readRule},
}}

// queueEngines holds the engines of `queue`.
var queueEngines = level[config.Relay]{name: "queue", settings: []setting[config.Relay]{
	{name: "sqlite", usage: "[DIR]", wants: "at most a directory", least: 0, most: 1, read: func(l *line, app *config.Relay) error {
		app.Queue = &config.Queue{Engine: "sqlite", Directory: l.text(0)}
		return nil
	}},
}}

func readRetention(l *line, app *config.Relay) (err error) {
	app.Retention = new(config.Retention)
	if app.Retention.Age, err = l.duration(0); err != nil {
		return err
	}
	if len(l.args) > 1 {
		app.Retention.Size, err = l.size(1)
	}
	return err
}

func readTargets(l *line, app *config.Relay) error {
	for _, arg := range l.args {
		if _, err := send.NewTargets([]string{arg.Text}); err != nil {
			return errAt(arg, "reading %w", err)
		}
		app.Targets = append(app.Targets, arg.Text)
	}
	return nil
}
