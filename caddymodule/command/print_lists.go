package command

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

func writeEvents(w io.Writer, sources []inspect.SourceEvents, width int) error {
	table := newTable("SOURCE", "EVENT", "STATE", "CAME", "LAST", "ACTIONS", "RULES", "DESCRIPTION").
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
			count, last := usedText(event.Used)
			table.add(source.Source, event.Name, eventState(event), count, last,
				strings.Join(slices.Compact(actions), ", "), strings.Join(places, ", "), event.Description)
		}
	}
	return table.write(w, width)
}

func writeRules(w io.Writer, rules []inspect.RuleListed, width int) error {
	table := newTable("RULE", "EVENTS", "LEADS TO", "HELD", "LAST", "NOTE", "DESCRIPTION").
		cutting("EVENTS", "LEADS TO", "NOTE", "DESCRIPTION")
	for _, rule := range rules {
		leads := strings.Join(rule.Do, ", ")
		if rule.Ignore {
			leads = "ignore"
		}
		count, last := usedText(rule.Used)
		table.add(rule.Place, strings.Join(rule.Events, ", "), leads, count, last, ruleNote(rule), rule.Description)
	}
	return table.write(w, width)
}

// ruleNote says what should be looked at.
func ruleNote(rule inspect.RuleListed) string {
	switch {
	case rule.Inactive:
		return "inactive"
	case rule.Idle == inspect.IdleNotHeld:
		return "never held since " + clock(rule.Used.Since) + ", last event " + clock(rule.LastEvent)
	case rule.Idle == inspect.IdleNoEvent:
		return "no event of its since " + clock(rule.Used.Since)
	}
	return ""
}

// usedText is how often something was used, and when last.
func usedText(used *inspect.Used) (count, last string) {
	switch {
	case used == nil:
		return "", ""
	case used.Count == 0:
		return "0", ""
	}
	return strconv.FormatInt(used.Count, 10), clock(used.Last)
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
	table := newTable("ACTION", "METHOD", "URL", "STATE", "WAITING", "DELIVERIES", "FAILED", "LAST", "USED BY", "DESCRIPTION").
		cutting("URL", "STATE", "USED BY", "DESCRIPTION")
	for _, action := range actions {
		waiting := ""
		if action.Backlog != nil {
			waiting = strconv.Itoa(action.Backlog.Count)
		}
		count, last := usedText(action.Used)
		failed := ""
		if action.Ended != nil {
			failed = strconv.FormatInt(action.Ended.Failed+action.Ended.Expired, 10)
		}
		table.add(action.Name, action.Method, action.URL, actionState(action.ActionListed), waiting, count, failed, last, usedBy(action.UsedBy), action.Description)
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

// deliveriesText says how many deliveries an action had, and how they ended.
func deliveriesText(used *inspect.Used, ended *inspect.Ended) string {
	text := fmt.Sprintf("%d since %s", used.Count, clock(used.Since))
	if used.Count > 0 {
		text += ", the last " + clock(used.Last)
	}
	for _, end := range []struct {
		count int64
		how   string
	}{{ended.Delivered, "delivered"}, {ended.Failed, "failed"}, {ended.Expired, "expired"}} {
		if end.count > 0 {
			text += fmt.Sprintf(", %d %s", end.count, end.how)
		}
	}
	return text
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
		if action.Used != nil && action.Ended != nil {
			fmt.Fprintf(&b, "Deliveries %s\n", deliveriesText(action.Used, action.Ended))
		}
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
