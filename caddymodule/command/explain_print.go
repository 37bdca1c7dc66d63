package command

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/rules"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// maxValue is how much of a value is printed, in characters, and maxInline how
// many values follow a condition on its own line.
const (
	maxValue  = 80
	maxInline = 3
)

const isAbsent = " is absent"

// explanationText is an explanation for people.
func explanationText(x inspect.Explanation) string {
	var b strings.Builder
	if !x.At.IsZero() {
		fmt.Fprintf(&b, "At         %s, as if the event were received then\n", x.At.Format("Monday 2006-01-02 15:04:05 -07:00"))
	}
	switch {
	case x.Refused != "":
		fmt.Fprintf(&b, "Refused    %d %s: %s\n", x.Status, http.StatusText(x.Status), printable(x.Refused))
	case x.Ping:
		fmt.Fprintf(&b, "Ping       answered %d; there is no event in it, and nothing is stored\n", x.Status)
	}
	for i := range x.Events {
		if i > 0 {
			b.WriteByte('\n')
		}
		if len(x.Events) > 1 {
			fmt.Fprintf(&b, "%d of %d\n", i+1, len(x.Events))
		}
		writeExplanation(&b, &x.Events[i])
	}
	return b.String()
}

func writeExplanation(b *strings.Builder, event *inspect.EventExplanation) {
	fmt.Fprintf(b, "Event      %s from %s\n", printable(event.Event), printable(event.Source))
	if event.Subject != "" {
		fmt.Fprintf(b, "Subject    %s\n", printable(event.Subject))
	}
	if event.ParseError != "" {
		fmt.Fprintf(b, "Body error %s\n", printable(event.ParseError))
	}
	for _, note := range event.Notes {
		fmt.Fprintf(b, "Note       %s\n", printable(note))
	}
	verdict := event.Verdict
	fmt.Fprintf(b, "Verdict    %s: %s", verdict.Decision, printable(verdict.Reason))
	if place := verdict.Place(); place != "" {
		fmt.Fprintf(b, " (%s)", printable(place))
	}
	b.WriteByte('\n')
	if len(verdict.Absent) > 0 {
		fmt.Fprintf(b, "Absent     %s\n", printable(strings.Join(verdict.Absent, ", ")))
	}
	fmt.Fprintf(b, "\nRules      %s; %s\n", counted(len(event.Rules), "names this event", "name this event"),
		counted(event.OtherRules, "names others only", "name others only"))
	for i := range event.Rules {
		writeRule(b, &event.Rules[i])
	}
	for i := range event.Requests {
		writePlanned(b, &event.Requests[i])
	}
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func writeRule(b *strings.Builder, rule *rules.RuleExplanation) {
	fmt.Fprintf(b, "  %s  on %s  →  ", printable(rule.Place), printable(strings.Join(rule.Events, " ")))
	switch rule.Outcome {
	case rules.RuleInactive, rules.RuleNotRead:
		b.WriteString(strings.ReplaceAll(string(rule.Outcome), "_", " ") + ": " + printable(rule.Reason))
	case rules.RuleNotHeld:
		b.WriteString("does not apply")
	case rules.RuleFailed:
		b.WriteString("error")
	default:
		b.WriteString(string(rule.Outcome))
	}
	b.WriteByte('\n')
	if rule.Description != "" {
		fmt.Fprintf(b, "    # %s\n", printable(rule.Description))
	}
	for i := range rule.When {
		writePart(b, "    when ", &rule.When[i])
	}
	if rule.Ignore {
		b.WriteString("    ignore")
		if rule.Outcome == rules.RuleApplied {
			b.WriteString(": this ends the reading")
		}
		b.WriteByte('\n')
		return
	}
	var actions []string
	for _, action := range rule.Do {
		if rule.Outcome == rules.RuleApplied && !slices.Contains(rule.Adds, action) {
			action += " (asked for before)"
		}
		actions = append(actions, action)
	}
	fmt.Fprintf(b, "    do   %s\n", printable(strings.Join(actions, ", ")))
}

// writePart prints a part: simple values behind it, else its own parts below.
func writePart(b *strings.Builder, prefix string, p *language.Part) {
	b.WriteString(prefix)
	b.WriteString(partText(p))
	values, inline := inlineValues(p)
	if p.Result == language.ResultUnknown {
		// The text of the part names what is absent already.
		values = slices.DeleteFunc(values, func(value string) bool { return strings.HasSuffix(value, isAbsent) })
		for i, value := range values {
			if _, note, found := strings.Cut(value, isAbsent+" ("); found {
				values[i] = strings.TrimSuffix(note, ")")
			}
		}
	}
	if inline && len(values) > 0 {
		fmt.Fprintf(b, "   (%s)", strings.Join(values, ", "))
	}
	b.WriteByte('\n')
	if !inline {
		indent := strings.Repeat(" ", len(prefix)+2)
		for i := range p.Parts {
			writePart(b, indent, &p.Parts[i])
		}
	}
	if p.More {
		fmt.Fprintf(b, "%s…\n", strings.Repeat(" ", len(prefix)+2))
	}
}

// partText is what a part gives, on one line.
func partText(p *language.Part) string {
	expression := printable(p.Expression)
	var text string
	switch {
	case p.Result == language.ResultValue && len(p.Parts) == 0:
		text = expression + " = " + shortened(printable(p.Value), maxValue)
	case p.Result == language.ResultValue:
		text = expression + "  →  " + shortened(printable(p.Value), maxValue)
	case p.Result == language.ResultError && !isInherited(p):
		text = expression + "  →  error: " + printable(p.Error)
	case p.Result == language.ResultUnknown && len(p.Parts) == 0 && slices.Equal(p.Absent, []string{p.Expression}):
		text = expression + isAbsent
	case p.Result == language.ResultUnknown && p.Because() != "":
		text = expression + "  →  unknown, " + printable(p.Because())
	default:
		text = fmt.Sprintf("%s  →  %s", expression, p.Result)
	}
	if p.Note != "" {
		text += " (" + printable(p.Note) + ")"
	}
	if p.Unread {
		text += ", but not needed"
	}
	return text
}

// isInherited reports whether one of the parts shows the error.
func isInherited(p *language.Part) bool {
	return slices.ContainsFunc(p.Parts, func(part language.Part) bool { return part.Result == language.ResultError && !part.Unread })
}

// inlineValues returns what stands in a comparison or a function, if that is
// little and simple enough to follow it on one line.
func inlineValues(p *language.Part) (values []string, inline bool) {
	for i := range p.Parts {
		part := &p.Parts[i]
		isValue := part.Result == language.ResultValue || len(part.Parts) == 0 && part.Result != language.ResultError
		if !isValue || part.Unread || part.More {
			return nil, false
		}
		text := strings.Replace(partText(part), "  →  ", " → ", 1)
		if len(part.Parts) == 0 && (part.Result == language.ResultTrue || part.Result == language.ResultFalse) {
			text = printable(part.Expression) + " = " + string(part.Result)
		}
		more, inline := inlineValues(part)
		if !inline {
			return nil, false
		}
		for _, value := range append([]string{text}, more...) {
			if !slices.Contains(values, value) {
				values = append(values, value)
			}
		}
	}
	return values, len(values) <= maxInline
}

func writePlanned(b *strings.Builder, planned *inspect.PlannedRequest) {
	fmt.Fprintf(b, "\nRequest    %s", printable(planned.Action))
	if planned.Error != "" {
		fmt.Fprintf(b, " cannot be made, so nothing would be sent: %s\n", printable(planned.Error))
		return
	}
	b.WriteByte('\n')
	if len(planned.Empty) > 0 {
		fmt.Fprintf(b, "           empty: %s\n", printable(strings.Join(planned.Empty, ", ")))
	}
	if planned.Warning != "" {
		fmt.Fprintf(b, "           warning: %s\n", printable(planned.Warning))
	}
	fmt.Fprintf(b, "%s\n", strings.ReplaceAll(indent(planned.Request), "\n  \n", "\n\n"))
}

// shortened cuts a text to at most so many characters.
func shortened(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
