package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

func sendCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "send <source> <event> [name=value...]",
		Short: "Sends a test event through the real rules and actions",
		Long: `
Makes an event of a source and lets the running relay deal with it like any
other: it is decided, stored and carried out. It is marked as a test, in the
activity and to the targets (header X-Event-Test: 1). Targets that ignore this
header carry the request out.

Values are sent like the query of a request; --body gives the body. To see what
would be done without doing it, use explain.

The ids of the stored events are printed. With --wait, the command waits until
their deliveries have ended, and prints how. The exit status:
  0  the event is stored; with --wait, all its deliveries were delivered
  1  error
  2  with --wait: nothing was sent, a delivery ended otherwise, or time ran out`,
		Example: `  caddy event-relay send pbx incoming_call caller_id=02079460123 extension=100 --wait 10s
  caddy event-relay send icfm project_created --body project.json
  echo '{"project_id": 7}' | caddy event-relay send icfm project_created --body -`,
		Args: cobra.MinimumNArgs(2),
		RunE: running(runSend),
	}
	flags := command.Flags()
	flags.String("body", "", "File with the body, or - for standard input")
	flags.String("content-type", "", "What the body is; by default it is found out")
	flags.Duration("wait", 0, "How long to wait for the deliveries to end")
	return command
}

// sentEvent is a test event as the command prints it.
type sentEvent struct {
	IDs    []string        `json:"ids"`
	Events []queue.Summary `json:"events,omitempty"`
}

func runSend(i *invocation) (int, error) {
	test, err := i.testEvent()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	client, err := newAdminClient(i.Flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	wait, err := i.GetDuration("wait")
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	var sent replay.Sent
	if err := client.post(i.context, "send", test, &sent); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	result := sentEvent{IDs: sent.IDs}
	if wait > 0 {
		limited, cancel := context.WithTimeout(i.context, wait)
		defer cancel()
		if result.Events, err = client.outcome(i.context, limited, test.Source, sent.IDs); err != nil {
			return caddy.ExitCodeFailedStartup, fmt.Errorf("waiting for %s: %w", strings.Join(sent.IDs, ", "), err)
		}
	}
	if i.Bool("json") {
		err = writeJSON(i.out, result)
	} else {
		err = writeSent(i.out, result)
	}
	if err == nil && wait > 0 && !allDelivered(result.Events) {
		return exitAttention, nil
	}
	return exitStatus(err), err
}

func (i *invocation) testEvent() (replay.TestEvent, error) {
	test := replay.TestEvent{Source: i.Arg(0), Event: i.Arg(1), ContentType: i.String("content-type")}
	for _, argument := range i.Args()[2:] {
		name, value, found := strings.Cut(argument, "=")
		if !found || name == "" {
			return test, fmt.Errorf("reading the values: %q is not as in caller_id=02079460123", argument)
		}
		if _, twice := test.Values[name]; twice {
			return test, fmt.Errorf("reading the values: %s is given twice", name)
		}
		if test.Values == nil {
			test.Values = map[string]string{}
		}
		test.Values[name] = value
	}
	file := i.String("body")
	if file == "" {
		if test.ContentType != "" {
			return test, errors.New("--content-type says what a body is; give one with --body")
		}
		return test, nil
	}
	body, err := readBody(file, i.in)
	if err != nil {
		return test, fmt.Errorf("reading the body: %w", err)
	}
	if !utf8.Valid(body) {
		return test, fmt.Errorf("reading the body: %s is not text in UTF-8; post it to the relay's own URL, as its sender would", file)
	}
	test.Body = string(body)
	return test, nil
}

func readBody(file string, in io.Reader) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(file)
}

// outcome waits until the deliveries of events have ended or the limited context
// has, and returns the events as they are then.
func (c *adminClient) outcome(ctx, limited context.Context, source string, ids []string) ([]queue.Summary, error) {
	for {
		// First the stream and then the events, so that nothing that becomes of them
		// is missed.
		stream, err := c.live(limited, url.Values{"source": {source}})
		for err == nil {
			var events []queue.Summary
			if events, err = c.summaries(limited, ids); err == nil {
				if allEnded(events) {
					stream.close()
					return events, nil
				}
				_, err = stream.next()
			}
		}
		if stream != nil {
			stream.close()
		}
		// A stream ends with a reload, too.
		select {
		case <-limited.Done():
			return c.summaries(ctx, ids)
		case <-time.After(followAgain):
		}
	}
}

// summaries returns what is known of events now.
func (c *adminClient) summaries(ctx context.Context, ids []string) ([]queue.Summary, error) {
	events := make([]queue.Summary, len(ids))
	for n, id := range ids {
		var detail inspect.Detail
		if _, err := c.get(ctx, "events/"+url.PathEscape(id), nil, &detail); err != nil {
			return nil, err
		}
		events[n] = detail.Summary
		// The detail has deliveries of its own, which hide those of the summary.
		events[n].Deliveries = nil
		for _, delivery := range detail.Deliveries {
			events[n].Deliveries = append(events[n].Deliveries, delivery.DeliveryState)
		}
	}
	return events, nil
}

func allEnded(events []queue.Summary) bool {
	for _, event := range events {
		for _, delivery := range event.Deliveries {
			if delivery.State == queue.Pending {
				return false
			}
		}
	}
	return true
}

// allDelivered reports whether each event led to deliveries that all ended well.
func allDelivered(events []queue.Summary) bool {
	for _, event := range events {
		if len(event.Deliveries) == 0 {
			return false
		}
		for _, delivery := range event.Deliveries {
			if delivery.State != queue.Delivered {
				return false
			}
		}
	}
	return true
}
