package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// writeActivity prints a list of events as a table, and remarks on it to report.
func writeActivity(w, report io.Writer, list api.ActivityPage, filter url.Values, width int) error {
	if len(list.Events) == 0 && !list.Early {
		text := "No events."
		if len(filter) > 0 {
			text = "No event fits the filters."
		}
		// A search for what became of events is no sign that none arrive.
		if !slices.ContainsFunc([]string{"state", "verdict", "text", "action"}, filter.Has) {
			text += " Is the sender's URL right, and its credential? Rejected requests are not events: see " + names.Command("rejections.")
		}
		fmt.Fprintln(report, text)
		return nil
	}
	table := activityTable(list.Events, width)
	if err := table.write(w, width); err != nil {
		return err
	}
	switch {
	case list.Early:
		fmt.Fprintf(report, "The search was ended because it took long; it looked back to %s. Go on with --until %q.\n",
			moment(list.Reached), list.Reached.In(zone()).Format("2006-01-02 15:04:05"))
	case list.Next != "":
		fmt.Fprintln(report, "There are more: use --number or --until.")
	}
	return nil
}

// activityTable returns the table of events, measured for a width.
func activityTable(events []queue.Summary, width int) *table {
	headers := []string{"RECEIVED", "SOURCE", "EVENT", "SUBJECT", "VERDICT", "DELIVERIES", "ID", "REASON"}
	if narrow(width) {
		headers = []string{"RECEIVED", "SOURCE", "EVENT", "VERDICT", "DELIVERIES", "ID"}
	}
	table := newTable(headers...).cutting("SOURCE", "EVENT", "SUBJECT", "DELIVERIES", "REASON")
	for _, event := range events {
		cells, below := activityRow(event, width)
		table.add(cells...)
		table.addBelow(below)
	}
	table.measure(width)
	return table
}

// narrow reports whether a terminal is too narrow for subject and reason beside the
// other columns. They stand below them then.
func narrow(width int) bool { return width > 0 && width < 110 }

// shortID is how much of an id is shown where space is short: its time, which
// differs from event to event.
const shortID = len("0199f3c2-7d11-7cc3")

// activityRow returns the cells of an event for a width, 0 for any, and what stands on
// a line of its own below them. Short cells fit more columns on a terminal.
func activityRow(event queue.Summary, width int) (cells []string, below string) {
	received, id := moment(event.Received), event.ID
	if width > 0 {
		received, id = shortMoment(event.Received, time.Now()), id[:min(len(id), shortID)]
	}
	subject, verdict, deliveries, reason := event.Subject, verdictWord(event), deliveriesWord(event.Deliveries), reasonText(event)
	if !narrow(width) {
		return []string{received, event.Source, event.Event, subject, verdict, deliveries, id, reason}, ""
	}
	if subject != "" && reason != "" {
		subject += " – "
	}
	return []string{received, event.Source, event.Event, verdict, deliveries, id}, subject + reason
}

// reasonText is why the verdict is what it is, with the place of the rule. What was
// absent is added where it may be why nothing was done, unless the reason names it.
func reasonText(event queue.Summary) string {
	if event.DuplicateOf != "" {
		return "repeats " + event.DuplicateOf
	}
	verdict := event.Verdict
	text := verdict.Reason
	if verdict.Decision != rules.Act {
		absent := slices.DeleteFunc(slices.Clone(verdict.Absent), func(name string) bool {
			return strings.Contains(text, name+isAbsent)
		})
		if len(absent) > 0 {
			text += "; absent: " + strings.Join(absent, ", ")
		}
	}
	if place := verdict.Place(); place != "" {
		text += " (" + place + ")"
	}
	return text
}

func verdictWord(event queue.Summary) string {
	word := string(event.Verdict.Decision)
	if event.DuplicateOf != "" {
		word = "duplicate"
	}
	if event.Test {
		word += " (test)"
	}
	return word
}

func deliveriesWord(deliveries []queue.DeliveryState) string {
	words := make([]string, len(deliveries))
	for i, delivery := range deliveries {
		words[i] = delivery.Action + " " + string(delivery.Standing())
		if delivery.Paused != nil {
			words[i] += " (" + heldText(*delivery.Paused) + ")"
		}
		if delivery.Down != "" {
			words[i] += " (target down)"
		}
	}
	return strings.Join(words, ", ")
}

// writeDetail prints all that is known of one event.
func writeDetail(w io.Writer, detail inspect.Detail) {
	fmt.Fprintf(w, "Event      %s from %s\n", printable(detail.Event), printable(detail.Source))
	if detail.Subject != "" {
		fmt.Fprintf(w, "Subject    %s\n", printable(detail.Subject))
	}
	fmt.Fprintf(w, "Id         %s\n", detail.ID)
	by := ""
	if detail.Node != "" {
		by = " by node " + printable(detail.Node)
	}
	fmt.Fprintf(w, "Received   %s%s\n", zonedMoment(detail.Received), by)
	if detail.Test {
		fmt.Fprintln(w, "Test       sent by an administrator")
	}
	if detail.DuplicateOf != "" {
		fmt.Fprintf(w, "Repeats    %s\n", detail.DuplicateOf)
	}
	writeVerdict(w, detail)
	writeRequest(w, detail)
	for _, delivery := range detail.Deliveries {
		writeDelivery(w, delivery)
	}
}

func writeVerdict(w io.Writer, detail inspect.Detail) {
	verdict := detail.Verdict
	fmt.Fprintf(w, "Verdict    %s", verdict.Decision)
	if verdict.Reason != "" {
		fmt.Fprintf(w, ": %s", printable(verdict.Reason))
	}
	if place := verdict.Place(); place != "" {
		fmt.Fprintf(w, " (%s)", printable(place))
	}
	fmt.Fprintln(w)
	if !verdict.Decided.IsZero() {
		fmt.Fprintf(w, "           decided again %s\n", moment(verdict.Decided))
	}
	for _, call := range verdict.Actions {
		fmt.Fprintf(w, "           do %s (%s)\n", call.Action, call.Rule)
	}
	if len(verdict.Absent) > 0 {
		fmt.Fprintf(w, "Absent     %s\n", printable(strings.Join(verdict.Absent, ", ")))
	}
	for _, message := range verdict.Errors {
		fmt.Fprintf(w, "Rule error %s\n", printable(message))
	}
	if detail.ParseError != "" {
		fmt.Fprintf(w, "Body error %s\n", printable(detail.ParseError))
	}
	for _, note := range detail.Notes {
		fmt.Fprintf(w, "Note       %s\n", printable(note))
	}
}

func writeRequest(w io.Writer, detail inspect.Detail) {
	request := detail.Request
	fmt.Fprintf(w, "\nRequest    %s %s", printable(request.Method), printable(request.Path))
	if request.IP != "" { // what the relay made up itself comes from nowhere
		fmt.Fprintf(w, " from %s", printable(request.IP))
	}
	fmt.Fprintln(w)
	writeValues(w, "?", request.Query)
	writeValues(w, "", request.Headers)
	if request.Body != "" {
		fmt.Fprintf(w, "\n%s\n", indent(indentedJSON(request.Body)))
	}
	if len(request.Binary) > 0 {
		fmt.Fprintf(w, "\n  (%d bytes that are not text; --json shows them in base64)\n", len(request.Binary))
	}
	writeTags(w, detail.Values)
}

// writeTags prints the values of an event as templates call them.
func writeTags(w io.Writer, values []inspect.Value) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintln(w, "\nValues     as tags for templates; conditions name them without {{ }}")
	longest := 0
	for _, value := range values {
		longest = max(longest, min(columnsOf(printable(value.Path)), widestTag))
	}
	for _, value := range values {
		path := printable(value.Path)
		fmt.Fprintf(w, "  {{%s}}%s = %s\n", path, strings.Repeat(" ", max(0, longest-columnsOf(path))), printable(value.Value))
	}
}

// widestTag is up to which width values stand below each other.
const widestTag = 40

func writeValues(w io.Writer, prefix string, values map[string][]string) {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range values[name] {
			fmt.Fprintf(w, "  %s%s: %s\n", prefix, printable(name), printable(value))
		}
	}
}

func writeDelivery(w io.Writer, delivery inspect.DeliveryDetail) {
	fmt.Fprintf(w, "\nDelivery   %s %s\n", delivery.Action, delivery.Standing())
	fmt.Fprintf(w, "Id         %s\n", delivery.ID)
	if delivery.Of != "" {
		fmt.Fprintf(w, "Repeats    %s\n", delivery.Of)
	}
	if delivery.MendedBy != "" {
		fmt.Fprintf(w, "Mended     it had ended as %s; it was sent again as %s and arrived\n", delivery.State, delivery.MendedBy)
	}
	if delivery.Paused != nil {
		fmt.Fprintf(w, "Waits      %s\n", printable(pausedText(*delivery.Paused)))
	}
	switch {
	case delivery.Behind != "":
		fmt.Fprintf(w, "Waits      for the delivery %s of the same order_by, which must end first\n", delivery.Behind)
	case delivery.Down != "":
		// What is due is not attempted then, and a time would promise that it is.
		fmt.Fprintf(w, "Waits      for the target %s, which is down and is tested with one delivery at a time\n", printable(delivery.Down))
	case delivery.State == queue.Pending && delivery.Paused == nil && !delivery.Due.IsZero():
		fmt.Fprintf(w, "Next       %s\n", moment(delivery.Due))
	}
	for i, attempt := range delivery.History {
		outcome := attempt.Error
		if outcome == "" {
			outcome = fmt.Sprintf("answered %d", attempt.Status)
		}
		fmt.Fprintf(w, "Attempt %-2d %s, %.1f ms: %s\n", i+1, moment(attempt.Began), attempt.Millis, printable(outcome))
		if len(attempt.Empty) > 0 {
			fmt.Fprintf(w, "           empty: %s\n", printable(strings.Join(attempt.Empty, ", ")))
		}
		if attempt.Request != "" {
			fmt.Fprintf(w, "%s\n", indent(attempt.Request))
		}
		if attempt.Response != "" {
			fmt.Fprintf(w, "  answer:\n%s\n", indent(attempt.Response))
		}
	}
	// Only what no attempt has said.
	last := ""
	if len(delivery.History) > 0 {
		last = delivery.History[len(delivery.History)-1].Error
	}
	if delivery.State == queue.Expired && delivery.Error != last {
		fmt.Fprintf(w, "Expired    %s: %s\n", moment(delivery.Ended), printable(strings.TrimPrefix(delivery.Error, last+"; ")))
	}
}

// rejectionText says why a request was rejected, and which it was as far as that is
// kept.
func rejectionText(entry relay.Rejection) string {
	if entry.Request == "" {
		return entry.Reason
	}
	return entry.Request + ": " + entry.Reason
}

// writeRejections prints the refused requests, and when each credential was used.
func writeRejections(w io.Writer, list api.Rejections, width int) error {
	if len(list.Rejections) == 0 {
		fmt.Fprintln(w, "No request was refused, and none came that no mount took.")
	} else {
		table := newTable("LAST", "COUNT", "ADDRESS", "STATUS", "REASON")
		for _, entry := range list.Rejections {
			table.add(moment(entry.Last), strconv.Itoa(entry.Count), entry.Address, strconv.Itoa(entry.Status), rejectionText(entry))
		}
		// The reason is last and is not cut, because an administrator needs all of it.
		if err := table.write(w, width); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	table := newTable("SOURCE", "AUTH", "VALUE", "LAST USED")
	for _, use := range list.Credentials {
		last := "not yet"
		if !use.Last.IsZero() {
			last = moment(use.Last)
		}
		table.add(use.Source, fmt.Sprintf("%s (line %d)", use.Kind, use.Credential), strconv.Itoa(use.Value), last)
	}
	if err := table.write(w, width); err != nil {
		return err
	}
	for _, warning := range list.Secrets {
		fmt.Fprintf(w, "\nWarning: %s\n", printable(warning))
	}
	return nil
}

// indentedJSON returns a body that is JSON with its members on lines of their own,
// numbers as they were sent, and any other as it is.
func indentedJSON(body string) string {
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(body), "", "  "); err != nil {
		return body
	}
	return out.String()
}

func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	for i, line := range lines {
		lines[i] = "  " + printable(strings.TrimRight(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// printable replaces what could steer a terminal: an event's text comes from
// outside.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}
