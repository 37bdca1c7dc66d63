package command

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

func writeStatus(w io.Writer, status inspect.Status) error {
	var b strings.Builder
	line := func(label, format string, arguments ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", label, printable(fmt.Sprintf(format, arguments...)))
	}
	line("Relay", "%s, running since %s", cmp.Or(status.Version, "built without a revision"), clock(status.Started))
	if !status.Loaded.IsZero() { // not known while the queue is not open
		line("Configuration", "loaded %s", clock(status.Loaded))
	}
	for _, node := range status.Nodes {
		label := "Node"
		if node.Vanished {
			label = "VANISHED"
		}
		line(label, "%s", nodeText(node))
	}
	if status.ReceiveOnly {
		line("Delivers", "nothing: this node only receives (deliver off)")
	}
	if status.Off {
		line("SWITCHED OFF", "everything, by the configuration (active off)")
	}
	for _, s := range status.Switches {
		line("SWITCHED OFF", "%s", sinceText(s))
	}
	if len(status.Inactive) > 0 {
		line("Inactive", "%s by the configuration (active off): %s", counted(len(status.Inactive), "rule is off", "rules are off"), strings.Join(status.Inactive, ", "))
	}
	for _, trouble := range status.Troubles {
		label := "TROUBLE"
		if trouble.Refusing {
			label = "REFUSING"
		}
		line(label, "%s", troubleText(trouble))
	}
	for _, warning := range status.Warnings {
		line("WARNING", "%s", warning)
	}
	for n, refused := range status.Refused {
		if n == mostRefused {
			line("REFUSED", "and %s; %s lists them", counted(len(status.Refused)-n, "other line", "other lines"), names.Command("rejections"))
			break
		}
		label := "REFUSED"
		if refused.Request != "" {
			label = "NO MOUNT"
		}
		line(label, "%s", refusedText(refused))
	}
	for _, down := range status.Down {
		line("TARGET DOWN", "%s since %s (%s): %s", down.Target, clock(down.Since), down.Action, down.Error)
	}
	for _, failed := range status.Failed {
		line("FAILED", "%s", failedText(failed))
	}
	for _, quiet := range status.Quiet {
		last := "no event ever"
		if !quiet.Last.IsZero() {
			last = "last event " + clock(quiet.Last)
		}
		line("QUIET", "%s, %s", quiet.Source, last)
	}
	for _, waiting := range status.Backlog {
		line("Waiting", "%s", waitingText(waiting, len(status.Nodes) > 1))
	}
	switch {
	case unavailable(status):
		line("Waiting", "not known")
	case len(status.Backlog) == 0:
		line("Waiting", "nothing")
	}
	if !unavailable(status) {
		line("Last hour", "%s", hourText(status.LastHour))
	}
	if status.Probes > 0 {
		line("Probes", "%s in the last hour, as scanners send them; %s lists them", counted(status.Probes, "request", "requests"), names.Command("rejections"))
	}
	for _, text := range queueTexts(status.Queue) {
		line("Queue", "%s", text)
	}
	line("History", "kept for %s, up to %s", ageText(time.Duration(status.RetentionSeconds)*time.Second), sizeText(status.RetentionBytes))
	if status.Timezone != "" { // a relay of an earlier version does not tell it
		line("Time zone", "%s", timezoneText(status))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// failedText says what failed for good, and how to see it. Names of actions need no quotes in a shell.
func failedText(failed inspect.FailedLine) string {
	how := "at least "
	if !failed.More {
		how = ""
	}
	return fmt.Sprintf("%s%s of %s, the last %s: %s",
		how, counted(failed.Count, "delivery", "deliveries"), failed.Action, clock(failed.Last), names.Command("activity --state failed --action "+failed.Action))
}

// queueTexts say where the queue is, what it takes, and what an answer of 200 is worth
// there.
func queueTexts(usage queue.Usage) []string {
	server := usage.Server
	if server == nil {
		free := "unknown"
		if usage.Free >= 0 {
			free = sizeText(usage.Free)
		}
		return []string{fmt.Sprintf("%s: %s used, %s free", usage.Dir, sizeText(usage.Bytes), free)}
	}
	place := fmt.Sprintf("%s, database %s, schema %s", server.Host, server.Database, server.Schema)
	if server.Version == "" { // it cannot be reached
		return []string{place}
	}
	texts := []string{fmt.Sprintf("%s, %s: %s used", place, server.Version, sizeText(usage.Bytes))}
	if server.Standbys == "" {
		texts = append(texts, "an event that is answered 200 is on this server alone: there is no synchronous standby")
	} else {
		texts = append(texts, "an event that is answered 200 is on a synchronous standby too: "+server.Standbys)
	}
	if oldest := server.Oldest; oldest != nil {
		texts = append(texts, fmt.Sprintf("a transaction has been open since %s (%s): until it ends, what is done cannot be cleared away, and the queue gets slower", clock(oldest.Since), oldest.By))
	}
	return texts
}

// mostRefused is how many lines of status are about rejected requests.
const mostRefused = 5

// refusedText says which requests were rejected lately, and why.
func refusedText(refused relay.Rejection) string {
	what := counted(refused.Recent, "request", "requests")
	if refused.Request != "" {
		what = refused.Request
		if refused.Recent > 1 {
			what += fmt.Sprintf(" (%d times)", refused.Recent)
		}
	}
	when := clock(refused.Last)
	if refused.Recent > 1 {
		when = "since " + clock(refused.RecentSince) + ", last " + when
	}
	return fmt.Sprintf("%s from %s (%d), %s: %s", what, refused.Address, refused.Status, when, refused.Reason)
}

// timezoneText names the relay's time zone.
func timezoneText(status inspect.Status) string {
	text := fmt.Sprintf("%s, where it is %s", status.Timezone, time.Now().In(zone()).Format("15:04 MST"))
	if status.TimezoneDoubt != "" {
		text += ": " + status.TimezoneDoubt
	}
	return text
}

// nodeText says what a node is and runs.
func nodeText(node relay.Node) string {
	text := node.Name
	if node.Self {
		text += " (this one)"
	}
	switch {
	case node.Closed:
		return text + ", ended " + clock(node.Seen)
	case node.Vanished:
		return text + ", last sign of life " + clock(node.Seen)
	}
	text += ", " + cmp.Or(node.Version, "built without a revision") + ", configuration " + cmp.Or(node.Configuration, "not known")
	if node.Differs {
		text += " (another than this node's)"
	}
	if !node.Delivers {
		text += ", only receives"
	}
	if node.Ahead != 0 {
		text += ", its clock is " + relay.AheadOf(time.Duration(node.Ahead)*time.Second, "that of the database")
	}
	return text + ", running since " + clock(node.Started) + ", last sign of life " + clock(node.Seen)
}

// troubleText says what is wrong with the queue.
func troubleText(trouble queue.Trouble) string {
	text := "since " + clock(trouble.Since) + ": " + trouble.Message
	if trouble.Refusing {
		text = "events, with status 503, " + text
	}
	return text
}

// unavailable reports whether the queue cannot be read, so that what waits is not
// known.
func unavailable(status inspect.Status) bool {
	return slices.ContainsFunc(status.Troubles, func(t queue.Trouble) bool { return t.Kind == queue.TroubleUnavailable })
}

// waitingText says what waits for an action, and why it may. Where several nodes share the
// queue, one that is not running may have the action.
func waitingText(waiting inspect.BacklogLine, shared bool) string {
	text := fmt.Sprintf("%s for %s, the oldest since %s", counted(waiting.Count, "delivery", "deliveries"), waiting.Action, clock(waiting.Oldest))
	switch {
	case waiting.Unknown && shared:
		text += "; no node that runs has this action: start one that has it, move them to another, or cancel them"
	case waiting.Unknown:
		text += "; there is no such action any more: move them to another, or cancel them"
	}
	if len(waiting.Carriers) > 0 {
		text += "; the configuration of this node does not have it, they are carried out by " + strings.Join(waiting.Carriers, ", ")
	}
	switch {
	case waiting.Held != nil && waiting.Held.Kind != queue.SwitchAction:
		text += "; " + heldText(*waiting.Held)
	case waiting.Paused || waiting.Held != nil:
		text += "; it is paused"
	}
	return text
}

// hourOrder is the order of the manual.
var hourOrder = []string{"action", "ignored", "rule_error", "disabled", "duplicate", "delivered", "failed", "expired", "cancelled", "mended"}

// hourText lists what there was of verdicts and states.
func hourText(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(hourPlace(a), hourPlace(b)), cmp.Compare(a, b))
	})
	var words []string
	for _, name := range names {
		if counts[name] > 0 {
			words = append(words, fmt.Sprintf("%s %d", name, counts[name]))
		}
	}
	if len(words) == 0 {
		return "nothing came"
	}
	return strings.Join(words, ", ")
}

// hourPlace is where a word stands, after all others if it is not known.
func hourPlace(word string) int {
	if at := slices.Index(hourOrder, word); at >= 0 {
		return at
	}
	return len(hourOrder)
}

// switchName is what a switch is for.
func switchName(s queue.Switch) string {
	switch s.Kind {
	case queue.SwitchAction:
		return "action " + s.Name
	case queue.SwitchEvent:
		return "event " + s.Name
	}
	return "everything"
}

// sinceText says what is off, since and until when, and why.
func sinceText(s queue.Switch) string {
	text := switchName(s) + " since " + clock(s.Since)
	if s.Until.IsZero() {
		text += " until it is turned on by hand"
	} else {
		text += " until " + clock(s.Until)
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}

// switchText says what turning a switch came to.
func switchText(s queue.Switch) string {
	name := printable(switchName(s))
	switch {
	case !s.Off && s.Kind == queue.SwitchAction:
		return name + " is resumed."
	case !s.Off:
		return name + " is enabled."
	}
	until := ", until it is turned on by hand"
	if !s.Until.IsZero() {
		until = " until " + clock(s.Until)
	}
	if s.Kind == queue.SwitchAction {
		return name + " is paused" + until + "; its deliveries wait."
	}
	return name + " is disabled" + until + "; events are stored, and nothing is done about them."
}

// meanwhileText says what gathered while something was switched off.
func meanwhileText(kind queue.SwitchKind, m inspect.Meanwhile) string {
	var b strings.Builder
	if kind != queue.SwitchEvent {
		switch m.Deliveries {
		case 0:
			b.WriteString("No delivery goes out because of it.\n")
		case 1:
			b.WriteString("1 delivery that waited goes out now.\n")
		default:
			fmt.Fprintf(&b, "%d deliveries that waited go out now.\n", m.Deliveries)
		}
		if m.Expires {
			b.WriteString("What is older than its expires ends as expired instead.\n")
		}
	}
	if m.Decide != "" {
		least := ""
		if m.More {
			least = "At least "
		}
		fmt.Fprintf(&b, "%s%s came meanwhile and had nothing done. To see what they would lead to, and to do it:\n  %s --dry-run\n  %s\n",
			least, counted(m.Events, "event", "events"), printable(m.Decide), printable(m.Decide))
	} else if kind != queue.SwitchAction {
		b.WriteString("No event came meanwhile.\n")
	}
	return b.String()
}

// heldText says in the fewest words which switch keeps deliveries waiting.
func heldText(s queue.Switch) string {
	if s.Kind == queue.SwitchAction {
		return "paused"
	}
	return "everything is switched off"
}

// pausedText says which switch keeps a delivery waiting.
func pausedText(s queue.Switch) string {
	text := heldText(s)
	if s.Kind == queue.SwitchAction {
		text = "action " + s.Name + " is " + text
	}
	if !s.Since.IsZero() {
		text += " since " + clock(s.Since)
	}
	if !s.Until.IsZero() {
		text += " until " + clock(s.Until)
	}
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	return text
}

// writeSwitches says what is switched off besides the switch that was turned,
// and what an enabled event may still wait for.
func writeSwitches(w io.Writer, turned queue.Switch, status inspect.Status) error {
	var b strings.Builder
	if status.Off {
		b.WriteString("Everything is switched off by the configuration (active off).\n")
	}
	for _, s := range status.Switches {
		if s.Kind != turned.Kind || s.Name != turned.Name {
			fmt.Fprintf(&b, "Switched off: %s\n", printable(sinceText(s)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sizeText is a number of bytes for people.
func sizeText(bytes int64) string {
	const step = 1024
	if bytes < step {
		return fmt.Sprintf("%d B", bytes)
	}
	size, unit := float64(bytes), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for size >= step && unit < len(units)-1 {
		size /= step
		unit++
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// ageText is a length of time for people.
func ageText(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
