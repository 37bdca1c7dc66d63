package command

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

func writeEvents(w io.Writer, sources []inspect.SourceEvents, width int) error {
	table := newTable("SOURCE", "EVENT", "STATE", "ACTIONS", "RULES", "DESCRIPTION").
		cutting("STATE", "ACTIONS", "RULES", "DESCRIPTION")
	for _, source := range sources {
		for _, event := range source.Events {
			var actions, places []string
			for _, rule := range event.Rules {
				place := rule.Place
				switch {
				case rule.Inactive:
					place += " (inactive)"
				case rule.Ignore:
					place += " (ignore)"
				default:
					actions = append(actions, rule.Do...)
				}
				places = append(places, place)
			}
			slices.Sort(actions)
			table.add(source.Source, event.Name, eventState(event),
				strings.Join(slices.Compact(actions), ", "), strings.Join(places, ", "), event.Description)
		}
	}
	return table.write(w, width)
}

func eventState(event inspect.EventListed) string {
	switch {
	case event.Switch != nil:
		return offText(*event.Switch)
	case event.Active:
		return "on"
	}
	return ""
}

func writeActions(w io.Writer, actions []actionWithExample, width int) error {
	table := newTable("ACTION", "METHOD", "URL", "STATE", "WAITING", "USED BY", "DESCRIPTION").
		cutting("URL", "STATE", "USED BY", "DESCRIPTION")
	for _, action := range actions {
		waiting := ""
		if action.Backlog != nil {
			waiting = strconv.Itoa(action.Backlog.Count)
		}
		table.add(action.Name, action.Method, action.URL, actionState(action.ActionListed), waiting, usedBy(action.UsedBy), action.Description)
	}
	return table.write(w, width)
}

func actionState(action inspect.ActionListed) string {
	switch {
	case action.Switch != nil:
		return "paused" + strings.TrimPrefix(offText(*action.Switch), "off")
	case action.Down != nil:
		return "target down since " + clock(action.Down.Since)
	}
	return "on"
}

func usedBy(users []string) string {
	if len(users) == 0 {
		return "unused"
	}
	return strings.Join(users, ", ")
}

// writeExamples prints actions in full, each with what it would send.
func writeExamples(w io.Writer, actions []actionWithExample) error {
	var b strings.Builder
	for n, action := range actions {
		if n > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "Action     %s", printable(action.Name))
		if action.Place != "" {
			fmt.Fprintf(&b, " (%s)", printable(action.Place))
		}
		b.WriteByte('\n')
		if action.Description != "" {
			fmt.Fprintf(&b, "           %s\n", printable(action.Description))
		}
		fmt.Fprintf(&b, "State      %s\n", printable(actionState(action.ActionListed)))
		fmt.Fprintf(&b, "Used by    %s\n", printable(usedBy(action.UsedBy)))
		fmt.Fprintf(&b, "Targets    %s\n", printable(strings.Join(action.Targets, ", ")))
		for _, setting := range action.Settings {
			fmt.Fprintf(&b, "  %-20s %s\n", printable(setting[0]), printable(setting[1]))
		}
		if action.Example.EventID != "" {
			fmt.Fprintf(&b, "For event  %s\n", action.Example.EventID)
		} else {
			b.WriteString("For event  one that is made up, because none is stored\n")
		}
		writePlanned(&b, &action.Example.PlannedRequest)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeParameters(w io.Writer, parameters []inspect.ParameterListed, width int) error {
	table := newTable("PARAMETER", "KIND", "VALUE", "USED BY", "DESCRIPTION").cutting("VALUE", "USED BY", "DESCRIPTION")
	for _, p := range parameters {
		users := strings.Join(p.UsedBy, ", ")
		if p.Kind == "custom" {
			users = usedBy(p.UsedBy)
		}
		table.add(p.Name, p.Kind, parameterValue(p), users, p.Description)
	}
	return table.write(w, width)
}

func parameterValue(p inspect.ParameterListed) string {
	var values []string
	switch {
	case p.Kind != "custom":
		return "of the event"
	case p.Secret:
		return secret.Masked
	case p.Undefined && p.Value == "":
		return "undefined"
	case p.Undefined:
		return "undefined: " + p.Value
	case p.Value != "":
		values = append(values, p.Value)
	}
	tenants := make([]string, 0, len(p.Tenants))
	for tenant, value := range p.Tenants {
		tenants = append(tenants, tenant+": "+value)
	}
	slices.Sort(tenants)
	return strings.Join(append(values, tenants...), ", ")
}

// offText says that something is off, until when and why.
func offText(s queue.Switch) string {
	text := "off"
	if !s.Until.IsZero() {
		text += " until " + clock(s.Until)
	}
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	return text
}

// clock is a moment to the minute.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
