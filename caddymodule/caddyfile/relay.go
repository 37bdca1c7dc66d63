package caddyfile

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// relayLevelName is what messages call the block of the relay.
const relayLevelName = "an event_relay block"

// relayLevel holds the settings of the relay as a whole.
var relayLevel = level[config.Relay]{name: relayLevelName, settings: []setting[config.Relay]{
	{name: "active", usage: "on|off", wants: "on or off", least: 1, most: 1, read: func(l *line, app *config.Relay) (err error) {
		app.Disabled, err = l.off()
		return err
	}},
	{name: "queue", usage: "sqlite [DIR] | postgres DSN", wants: "an engine", least: 1, most: -1, block: true, read: readQueue},
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
	{name: "targets", usage: "private_ranges|loopback|CIDR|HOST…", wants: "networks or hosts", least: 1, most: -1, repeat: true, read: readTargets, standIn: allowTargets},
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
	{name: "parameter", usage: "NAME VALUE", wants: "a name and a value", least: 1, most: 2, repeat: true, block: true, named: true, read: readParameter, standIn: standInParameter},
	{name: "source", usage: "NAME [PRESET]", wants: "a name and perhaps a preset", least: 1, most: 2, repeat: true, block: true, named: true, read: readSource, standIn: standInSource},
	{name: "action", usage: "NAME", wants: "a name", least: 1, most: 1, repeat: true, block: true, named: true, read: readAction, standIn: standInAction},
	{name: "on", usage: "EVENT…", wants: "one or more events", least: 1, most: -1, repeat: true, block: true, read: readRule},
}}

// queueEngines holds the engines of `queue`.
var queueEngines = level[config.Relay]{name: "queue", settings: []setting[config.Relay]{
	{name: config.QueueSQLite, usage: "[DIR]", wants: "at most a directory", least: 0, most: 1, read: func(l *line, app *config.Relay) error {
		app.Queue = &config.Queue{Engine: config.QueueSQLite, Directory: l.text(0), Place: l.place()}
		return nil
	}},
	{name: config.QueuePostgres, usage: "DSN", wants: "one DSN, in quotes if it has blanks, or a placeholder for it", least: 1, most: 1, block: true, read: readPostgres},
}}

// readQueue reads `queue ENGINE …`. Where the engine should be may stand a DSN, which
// no message shows.
func readQueue(l *line, app *config.Relay) error {
	if strings.ContainsAny(l.text(0), ":=/{") {
		return l.errf("queue needs an engine before its place: queue sqlite DIR, or queue postgres DSN")
	}
	return queueEngines.pick(l, app)
}

// postgresLevel holds the settings of a queue in PostgreSQL.
var postgresLevel = level[config.Queue]{name: "a queue postgres block", settings: []setting[config.Queue]{
	{name: "schema", usage: "NAME", wants: "a name", least: 1, most: 1, read: func(l *line, q *config.Queue) (err error) {
		q.Schema, err = l.nonEmpty(0, "name")
		return err
	}},
	{name: "node", usage: "NAME", wants: "a name, or a placeholder for it", least: 1, most: 1, read: func(l *line, q *config.Queue) (err error) {
		q.Node, err = l.nonEmpty(0, "name")
		return err
	}},
	{name: "lease", usage: "DURATION", wants: "a duration", least: 1, most: 1, read: func(l *line, q *config.Queue) (err error) {
		q.Lease, err = l.duration(0)
		return err
	}},
	{name: "connections", usage: "N", wants: "a number", least: 1, most: 1, read: func(l *line, q *config.Queue) (err error) {
		q.Connections, err = l.count(0, "connections")
		return err
	}},
	{name: "deliver", usage: "on|off", wants: "on or off", least: 1, most: 1, read: func(l *line, q *config.Queue) (err error) {
		q.ReceiveOnly, err = l.off()
		return err
	}},
}}

// readPostgres reads `queue postgres DSN { … }`.
func readPostgres(l *line, app *config.Relay) error {
	app.Queue = &config.Queue{Engine: config.QueuePostgres, Place: l.place()}
	var wrong config.Findings
	if l.text(0) == "" {
		wrong.Add("", l.errf("%w; what {$NAME} stands for may be unset", config.ErrNoDSN))
	} else {
		var err error
		app.Queue.DSN, err = l.value(0)
		wrong.Add("", err)
	}
	_, err := postgresLevel.read(l.d, app.Queue)
	wrong.Add("", err)
	if len(wrong) > 0 {
		// What is missing from it would be told twice.
		app.Queue = nil
	}
	return wrong.Err()
}

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
	err := l.each(0, func(_ int, arg caddyfile.Token) error {
		if _, err := send.NewTargets([]string{arg.Text}); err != nil {
			return errAt(arg, "reading %w", err)
		}
		app.Targets = append(app.Targets, arg.Text)
		return nil
	})
	if err != nil {
		allowTargets(l, app)
	}
	return err
}

// allowTargets allows what may be among targets that could not be read.
func allowTargets(_ *line, app *config.Relay) { app.Targets = append(app.Targets, "0.0.0.0/0", "::/0") }
