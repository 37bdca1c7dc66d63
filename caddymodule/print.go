package caddymodule

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/caddy-event-relay/event-relay/internal/console"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// writeActivity prints a page of events as a table that fits a terminal.
func writeActivity(w io.Writer, page console.ActivityPage) {
	if len(page.Events) == 0 {
		fmt.Fprintln(w, "No events. Is the sender's URL right, and its credential? Rejected requests are not events.")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RECEIVED\tSOURCE\tEVENT\tVERDICT\tDELIVERIES\tID")
	for _, event := range page.Events {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n",
			moment(event.Received), printable(event.Source), printable(event.Event),
			verdictWord(event), deliveriesWord(event.Deliveries), event.ID)
	}
	table.Flush()
	if page.Next != "" {
		fmt.Fprintln(w, "There are more: use --number or --until.")
	}
}

func verdictWord(event queue.Summary) string {
	switch {
	case event.DuplicateOf != "":
		return "duplicate"
	case event.Verdict.Decision == "":
		return "-"
	}
	return string(event.Verdict.Decision)
}

func deliveriesWord(deliveries []queue.DeliveryState) string {
	if len(deliveries) == 0 {
		return "-"
	}
	words := make([]string, len(deliveries))
	for i, delivery := range deliveries {
		words[i] = delivery.Action + " " + string(delivery.State)
	}
	return strings.Join(words, ", ")
}

// writeDetail prints all that is known of one event.
func writeDetail(w io.Writer, detail relay.Detail) {
	fmt.Fprintf(w, "Event      %s from %s\n", printable(detail.Event), printable(detail.Source))
	fmt.Fprintf(w, "Id         %s\n", detail.ID)
	fmt.Fprintf(w, "Received   %s\n", moment(detail.Received))
	if detail.DuplicateOf != "" {
		fmt.Fprintf(w, "Repeats    %s\n", detail.DuplicateOf)
	}
	writeVerdict(w, detail)
	writeRequest(w, detail)
	for _, delivery := range detail.Deliveries {
		writeDelivery(w, delivery)
	}
}

func writeVerdict(w io.Writer, detail relay.Detail) {
	verdict := detail.Verdict
	fmt.Fprintf(w, "Verdict    %s", verdict.Decision)
	if verdict.Reason != "" {
		fmt.Fprintf(w, ": %s", printable(verdict.Reason))
	}
	if verdict.Rule != "" {
		fmt.Fprintf(w, " (%s)", verdict.Rule)
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
}

func writeRequest(w io.Writer, detail relay.Detail) {
	request := detail.Request
	fmt.Fprintf(w, "\nRequest    %s %s from %s\n", printable(request.Method), printable(request.Path), request.IP)
	writeValues(w, "?", request.Query)
	writeValues(w, "", request.Headers)
	if request.Body != "" {
		fmt.Fprintf(w, "\n%s\n", indent(request.Body))
	}
	if len(request.Binary) > 0 {
		fmt.Fprintf(w, "\n  (%d bytes that are not text; --json shows them in base64)\n", len(request.Binary))
	}
	names := make([]string, 0, len(detail.Parameters)+len(detail.Fields))
	values := make(map[string]any)
	for _, group := range []map[string]any{detail.Parameters, detail.Fields} {
		for name, value := range group {
			if value == nil || value == "" {
				continue
			}
			names = append(names, name)
			values[name] = value
		}
	}
	sort.Strings(names)
	if len(names) > 0 {
		fmt.Fprintln(w)
	}
	for _, name := range names {
		fmt.Fprintf(w, "  %-20s %s\n", name, printable(fmt.Sprint(values[name])))
	}
}

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

func writeDelivery(w io.Writer, delivery relay.DeliveryDetail) {
	fmt.Fprintf(w, "\nDelivery   %s %s\n", delivery.Action, delivery.State)
	fmt.Fprintf(w, "Id         %s\n", delivery.ID)
	if delivery.State == queue.Pending && !delivery.Due.IsZero() {
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
}

// writeRejections prints who was turned away, and which credentials are in use.
func writeRejections(w io.Writer, answer console.Rejections) {
	if len(answer.Rejections) == 0 {
		fmt.Fprintln(w, "No request was turned away since Caddy was started.")
	} else {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "LAST\tCOUNT\tADDRESS\tSTATUS\tREASON")
		for _, entry := range answer.Rejections {
			fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%s\n", moment(entry.Last), entry.Count, entry.Address, entry.Status, printable(entry.Reason))
		}
		table.Flush()
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SOURCE\tAUTH\tVALUE\tLAST USED")
	for _, use := range answer.Credentials {
		last := "never since the start"
		if !use.Last.IsZero() {
			last = moment(use.Last)
		}
		fmt.Fprintf(table, "%s\t%s (line %d)\t%d\t%s\n", use.Source, use.Kind, use.Credential, use.Value, last)
	}
	table.Flush()
}

func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

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
