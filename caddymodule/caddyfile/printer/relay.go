package printer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/preset"
)

// Relay writes a whole configuration as an event_relay block for the global options
// of a Caddyfile, as `caddy fmt` leaves it. Reading it gives the same configuration.
// An error names everything that a Caddyfile cannot say, and the text is then
// without it.
func Relay(settings *config.Relay) (string, error) {
	w := &Writer{direct: true}
	w.what = "event_relay"
	w.open("event_relay")
	w.relay(settings)
	for i := range settings.Parameters {
		if i == 0 {
			w.Blank()
		}
		w.Parameter(&settings.Parameters[i])
	}
	for i := range settings.Sources {
		w.source(&settings.Sources[i])
	}
	for i := range settings.Actions {
		w.Action(&settings.Actions[i])
	}
	for i := range settings.Rules {
		w.Blank()
		w.rule(&settings.Rules[i], i)
	}
	w.close()
	return w.Text()
}

// Rule writes one rule, which is the one of that index in its configuration.
func Rule(rule *config.Rule, index int) (string, error) {
	w := &Writer{direct: true}
	w.rule(rule, index)
	return w.Text()
}

// relay writes the settings of the relay as a whole that are given.
func (w *Writer) relay(r *config.Relay) {
	if r.Disabled {
		w.line("active off")
	}
	if r.Queue != nil {
		w.queue(r.Queue)
	}
	if r.QueueRequired {
		w.line("queue_required on")
	}
	if r.Timezone != "" {
		w.line("timezone", r.Timezone)
	}
	if r.Retention != nil {
		arguments := []string{duration(r.WithDefaults().Retention.Age)}
		if r.Retention.Size != 0 {
			arguments = append(arguments, size(r.Retention.Size))
		}
		w.line("retention", arguments...)
	}
	if len(r.Targets) > 0 {
		w.line("targets", r.Targets...)
	}
	if r.MaxPending != 0 {
		w.line("max_pending", strconv.Itoa(r.MaxPending))
	}
	switch r.MinFree {
	case 0:
	case config.MinFreeOff:
		w.line("min_free off")
	default:
		w.line("min_free", size(r.MinFree))
	}
	if r.CloseConnections {
		w.line("keep_connections off")
	}
}

// queue writes where the queue is.
func (w *Writer) queue(q *config.Queue) {
	if q.Engine != config.QueuePostgres {
		w.line("queue", slices.Concat([]string{cmp.Or(q.Engine, config.QueueSQLite)}, some(q.Directory))...)
		return
	}
	settings := [][]string{}
	add := func(name, value string, given bool) {
		if given {
			settings = append(settings, []string{name, value})
		}
	}
	add("schema", q.Schema, q.Schema != "")
	add("node", q.Node, q.Node != "")
	add("lease", duration(q.Lease), q.Lease != 0)
	add("connections", strconv.Itoa(q.Connections), q.Connections != 0)
	add("deliver", "off", q.ReceiveOnly)
	if len(settings) == 0 {
		w.line("queue postgres", q.DSN)
		return
	}
	w.open("queue postgres", q.DSN)
	for _, setting := range settings {
		w.line(setting[0], setting[1])
	}
	w.close()
}

// source writes a source, after a blank line.
func (w *Writer) source(s *config.Source) {
	w.what = "source " + s.Name
	w.Blank()
	if s.Preset == "" && slices.Contains(preset.Names(), s.Name) {
		w.fail("its name", errors.New("in a Caddyfile a source of this name is of the preset of this name"))
	}
	arguments := []string{s.Name}
	if s.Preset != s.Name {
		arguments = append(arguments, some(s.Preset)...)
	}
	w.open("source", arguments...)
	for i := range s.Auth {
		w.credential(&s.Auth[i])
	}
	if len(s.Allow) > 0 {
		w.line("allow", s.Allow...)
	}
	if s.Timezone != "" {
		w.line("timezone", s.Timezone)
	}
	if s.NameFrom != "" {
		w.expression("name_from", s.NameFrom)
	}
	if s.Batch != "" {
		w.expression("batch", s.Batch)
	}
	for _, event := range s.Events {
		w.line("event", slices.Concat([]string{event.Name}, some(event.Description))...)
	}
	for _, field := range s.Fields {
		w.expression("field", field.Expression, field.Name)
	}
	if s.Subject != "" {
		w.line("subject", s.Subject)
	}
	if s.Quiet != 0 {
		w.line("quiet", duration(s.Quiet))
	}
	switch window := s.Dedupe; {
	case window == nil:
	case window.Key == "":
		w.line("dedupe", duration(window.Window))
	default:
		w.expression("dedupe", window.Key, duration(window.Window))
	}
	if len(s.Redact) > 0 {
		w.line("redact", s.Redact...)
	}
	if s.MaxBody != 0 {
		w.line("max_body", size(s.MaxBody))
	}
	if s.Respond != 0 {
		w.line("respond", strconv.Itoa(s.Respond))
	}
	w.close()
}

// credential writes how a source proves itself.
func (w *Writer) credential(c *config.Credential) {
	switch c.Kind {
	case "none":
		w.line("auth none")
	case "basic":
		w.line("auth basic", c.User, c.Password)
	case "api_key":
		w.line("auth api_key "+c.In, slices.Concat([]string{c.Name}, c.Values)...)
	case "hmac":
		arguments := slices.Concat([]string{c.Name, c.Algorithm}, c.Values)
		if c.Timestamp == "" {
			w.line("auth hmac", arguments...)
			return
		}
		w.open("auth hmac", arguments...)
		timestamp := []string{c.Timestamp}
		if c.Tolerance != 0 {
			timestamp = append(timestamp, duration(c.Tolerance))
		}
		w.line("timestamp", timestamp...)
		w.close()
	case "standard_webhooks":
		if c.Tolerance == 0 {
			w.line("auth standard_webhooks", c.Values...)
			return
		}
		w.open("auth standard_webhooks", c.Values...)
		w.line("tolerance", duration(c.Tolerance))
		w.close()
	default:
		w.line("auth "+c.Kind, c.Values...)
	}
}

// rule writes a rule.
func (w *Writer) rule(r *config.Rule, index int) {
	w.what = fmt.Sprintf("rule %d", index+1)
	w.open("on", r.Events...)
	if r.Description != "" {
		w.line("description", r.Description)
	}
	if r.Disabled {
		w.line("active off")
	}
	for _, condition := range r.When {
		w.expression("when", condition)
	}
	if len(r.Do) > 0 {
		w.line("do", r.Do...)
	}
	if r.Ignore {
		w.line("ignore", some(r.Reason)...)
	}
	w.close()
}

// some returns a text as an argument, none if it is empty.
func some(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// duration writes a duration, in days if it is some whole days.
func duration(d config.Duration) string {
	const day = config.Duration(24 * time.Hour)
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}

// size writes a number of bytes with the largest unit that loses nothing.
func size(bytes int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes%unit.size == 0 {
			return strconv.FormatInt(bytes/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(bytes, 10) + "B"
}
