package command

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// resentText says how many deliveries there are to be sent, or are sent, again.
func resentText(resent replay.Resent, what string) string {
	var b strings.Builder
	if resent.Deliveries == 0 {
		b.WriteString("No delivery fits. A filter without --state chooses those that failed, expired or were cancelled; unfinished ones are never sent again.")
	} else {
		fmt.Fprintf(&b, "%s of %s %s:", counted(resent.Deliveries, "delivery", "deliveries"), counted(resent.Events, "event", "events"), what)
		b.WriteString(" " + countsText(resent.Actions))
	}
	if resent.Arrived > 0 {
		fmt.Fprintf(&b, "\n%d of them arrived before: the target gets the same request a second time.", resent.Arrived)
	}
	if resent.Unknown > 0 {
		fmt.Fprintf(&b, "\nLeft out: %s of actions that are not configured any more.", counted(resent.Unknown, "delivery", "deliveries"))
	}
	return b.String()
}

// countsText lists what is counted by name.
func countsText(counts map[string]int) string {
	words := make([]string, 0, len(counts))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", printable(name), counts[name]))
	}
	return strings.Join(words, ", ")
}

// mostDifferences is how many differences are printed; --json has more of them.
const mostDifferences = 100

// writeDifference prints what deciding again changes.
func writeDifference(w io.Writer, decided replay.Decided, decider string, width int) error {
	if decided.Events == 0 {
		_, err := fmt.Fprintln(w, "No event fits.")
		return err
	}
	change := "none changes"
	switch {
	case decided.Changed == 1:
		change = "1 changes"
	case decided.Changed > 1:
		change = fmt.Sprintf("%d change", decided.Changed)
	}
	fmt.Fprintf(w, "Decided by %s: %s looked at, %s.\n", decider, counted(decided.Events, "event", "events"), change)
	if len(decided.Fires) > 0 {
		fmt.Fprintf(w, "Would newly fire: %s\n", countsText(decided.Fires))
	}
	if len(decided.Stops) > 0 {
		fmt.Fprintf(w, "Would not fire any more: %s\n", countsText(decided.Stops))
	}
	if err := writeGroups(w, decided.Groups, width); err != nil {
		return err
	}
	if len(decided.Differences) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable("RECEIVED", "EVENT", "SUBJECT", "BEFORE", "AFTER", "FIRES", "STOPS", "REASON", "ID").
		cutting("EVENT", "SUBJECT", "FIRES", "STOPS", "REASON")
	shown := decided.Differences[:min(len(decided.Differences), mostDifferences)]
	for _, d := range shown {
		reason, received, id := d.Reason, moment(d.Received), d.ID
		if d.Rule != "" {
			reason += " (" + d.Rule + ")"
		}
		if width > 0 {
			received, id = shortMoment(d.Received, time.Now()), id[:min(len(id), shortID)]
		}
		table.add(received, d.Event, d.Subject, string(d.Before), string(d.After), strings.Join(d.Fires, ", "), strings.Join(d.Stops, ", "), reason, id)
	}
	if err := table.write(w, width); err != nil {
		return err
	}
	if left := decided.Changed - len(shown); left > 0 {
		fmt.Fprintf(w, "and %d more that change\n", left)
	}
	return nil
}

// mostGroups is how many groups are printed; --json has more of them.
const mostGroups = 50

// writeGroups prints what fires and what stops, by action, event and rule.
func writeGroups(w io.Writer, groups []replay.Group, width int) error {
	if len(groups) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable("CHANGE", "TIMES", "ACTION", "EVENT", "RULE").cutting("ACTION", "EVENT", "RULE")
	shown := groups[:min(len(groups), mostGroups)]
	for _, g := range shown {
		change, times := "fires", g.Fires
		if g.Stops > 0 {
			change, times = "stops", g.Stops
		}
		table.add(change, strconv.Itoa(times), g.Action, g.Source+":"+g.Event, g.Rule)
	}
	if err := table.write(w, width); err != nil {
		return err
	}
	if left := len(groups) - len(shown); left > 0 {
		fmt.Fprintf(w, "and %d more combinations\n", left)
	}
	return nil
}

// writeSent prints what became of a test event.
func writeSent(w io.Writer, sent sentEvent) error {
	var b strings.Builder
	if sent.Events == nil {
		for _, id := range sent.IDs {
			fmt.Fprintln(&b, id)
		}
	}
	for _, event := range sent.Events {
		fmt.Fprintf(&b, "Event      %s from %s (test)\n", printable(event.Event), printable(event.Source))
		fmt.Fprintf(&b, "Id         %s\n", event.ID)
		fmt.Fprintf(&b, "Verdict    %s: %s", verdictDecision(event), printable(event.Verdict.Reason))
		if event.Verdict.Rule != "" {
			fmt.Fprintf(&b, " (%s)", printable(event.Verdict.Rule))
		}
		b.WriteByte('\n')
		for _, delivery := range event.Deliveries {
			fmt.Fprintf(&b, "Delivery   %s %s%s\n", printable(delivery.Action), delivery.State, attemptText(delivery))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func verdictDecision(event queue.Summary) string {
	if event.DuplicateOf != "" {
		return "duplicate"
	}
	return string(event.Verdict.Decision)
}

// attemptText says what the last attempt came to.
func attemptText(delivery queue.DeliveryState) string {
	switch {
	case delivery.Attempts == 0 && delivery.Paused != nil:
		return ", not tried yet: " + printable(pausedText(*delivery.Paused))
	case delivery.Attempts == 0 && delivery.State == queue.Pending:
		return ", not tried yet"
	case delivery.Attempts == 0 && delivery.Error != "":
		return ": " + printable(delivery.Error)
	case delivery.Error != "":
		return fmt.Sprintf(" after %s: %s", counted(delivery.Attempts, "attempt", "attempts"), printable(delivery.Error))
	case delivery.Status > 0:
		return fmt.Sprintf(", answered %d", delivery.Status)
	}
	return ""
}

// writeCheck prints what a check found.
func writeCheck(w io.Writer, result checkResult) error {
	var b strings.Builder
	if result.Configuration != "" {
		fmt.Fprintf(&b, "Checked      configuration %s\n", printable(result.Configuration))
	}
	if result.Relay != "" {
		fmt.Fprintf(&b, "Checked      relay at %s: database, and the running rules against the stored events\n", result.Relay)
	}
	for _, what := range result.NotChecked {
		fmt.Fprintf(&b, "Not checked  %s\n", printable(what))
	}
	for _, fault := range result.Faults {
		fmt.Fprintf(&b, "FAULT        %s\n", strings.ReplaceAll(strings.TrimPrefix(indent(fault), "  "), "\n  ", "\n             "))
	}
	for _, warning := range result.Warnings {
		fmt.Fprintf(&b, "Warning      %s\n", printable(warning))
	}
	for _, note := range result.Notes {
		fmt.Fprintf(&b, "Note         %s\n", printable(note))
	}
	if len(result.Faults)+len(result.Warnings) == 0 && len(result.Configuration)+len(result.Relay) > 0 {
		text := "Nothing is wrong.\n"
		if len(result.NotChecked) > 0 {
			text = "Nothing else was found.\n"
		}
		b.WriteString(text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
