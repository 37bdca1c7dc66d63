package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/console"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "event-relay",
		Usage: "<command>",
		Short: "Shows what the event relay received and did",
		Long: `
Most commands talk to a running Caddy over its admin API.

  caddy event-relay activity --since 2h --verdict ignored
  caddy event-relay show 0199f3c2
  caddy event-relay setup pbx

The admin API's address is found as by 'caddy reload': --address, else the
configuration given by --config, else localhost:2019.`,
		CobraFunc: func(root *cobra.Command) {
			root.PersistentFlags().String("address", "", "Address of the admin API")
			root.PersistentFlags().StringP("config", "c", "", "Configuration file to find the admin API's address in")
			root.PersistentFlags().StringP("adapter", "a", "", "Name of the adapter of --config")
			root.PersistentFlags().Bool("json", false, "Print data as JSON")
			root.AddCommand(activityCommand(), showCommand(), rejectionsCommand(), setupCommand(),
				explainCommand(), importPostmanCommand(), exportActionsCommand())
		},
	})
}

func activityCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "activity",
		Short: "Lists events, newest first, with what was decided and what became of it",
		Example: `  caddy event-relay activity
  caddy event-relay activity --since 3d --state failed
  caddy event-relay activity --event project_created --json`,
		Args: cobra.NoArgs,
		RunE: caddycmd.WrapCommandFuncForCobra(runActivity),
	}
	flags := command.Flags()
	flags.String("since", "", "Only events received since then: an age (2h, 3d) or a time (RFC 3339)")
	flags.String("until", "", "Only events received before then")
	flags.String("source", "", "Only events of this source")
	flags.String("event", "", "Only events of this name")
	flags.String("verdict", "", "Only events with this verdict: action, ignored, rule_error, disabled")
	flags.String("action", "", "Only events with a delivery of this action")
	flags.String("state", "", "Only events with a delivery in this state: pending, delivered, failed, expired, cancelled")
	flags.String("tenant", "", "Only events of the tenant with this code")
	flags.String("text", "", "Only events in which this text stands somewhere")
	flags.IntP("number", "n", 20, "How many events to list")
	return command
}

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show <id>",
		Short:   "Shows one event: its request, the verdict and why, deliveries and attempts",
		Long:    "Shows one event by its id or the id of one of its deliveries. A beginning of at least 8 characters will do.",
		Example: "  caddy event-relay show 0199f3c2-7d11-7cc3-98c4-dc0c0c07398f",
		Args:    cobra.ExactArgs(1),
		RunE:    caddycmd.WrapCommandFuncForCobra(runShow),
	}
}

func rejectionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rejections",
		Short: "Lists who was turned away and why, and when each credential was last used",
		Long: "Lists requests that were turned away since Caddy was started, like ones together, and when each credential was last used. " +
			"Nothing of a rejected request is stored.",
		Example: "  caddy event-relay rejections",
		Args:    cobra.NoArgs,
		RunE:    caddycmd.WrapCommandFuncForCobra(runRejections),
	}
}

func runRejections(flags caddycmd.Flags) (int, error) {
	var answer console.Rejections
	raw, err := ask(flags, "/event_relay/rejections", &answer)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if flags.Bool("json") {
		return printRaw(raw)
	}
	writeRejections(os.Stdout, answer)
	return caddy.ExitCodeSuccess, nil
}

func runActivity(flags caddycmd.Flags) (int, error) {
	wanted := flags.Int("number")
	if wanted < 1 {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("reading --number: %d is not a number of events; use 1 or more", wanted)
	}
	query := url.Values{}
	for _, field := range console.FilterFields {
		if value := flags.String(field); value != "" {
			query.Set(field, value)
		}
	}
	// The relay ends a search that takes long and says where to go on.
	list := console.ActivityPage{Events: []queue.Summary{}}
	for {
		query.Set("n", strconv.Itoa(min(wanted-len(list.Events), console.MostPerPage)))
		var page console.ActivityPage
		if _, err := ask(flags, "/event_relay/activity?"+query.Encode(), &page); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		list.Events = append(list.Events, page.Events...)
		list.Next = page.Next
		if page.Next == "" || len(list.Events) >= wanted {
			break
		}
		query.Set("after", page.Next)
	}
	if flags.Bool("json") {
		raw, err := json.Marshal(list)
		if err != nil {
			return caddy.ExitCodeFailedQuit, err
		}
		return printRaw(append(raw, '\n'))
	}
	writeActivity(os.Stdout, list)
	return caddy.ExitCodeSuccess, nil
}

func runShow(flags caddycmd.Flags) (int, error) {
	var detail relay.Detail
	raw, err := ask(flags, "/event_relay/events/"+url.PathEscape(flags.Arg(0)), &detail)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if flags.Bool("json") {
		return printRaw(raw)
	}
	writeDetail(os.Stdout, detail)
	return caddy.ExitCodeSuccess, nil
}

// ask reads one resource of the admin API into result, and returns it as it
// came too.
func ask(flags caddycmd.Flags, uri string, result any) ([]byte, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), nil, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin API: %w", err)
	}
	response, err := caddycmd.AdminAPIRequest(address, http.MethodGet, uri, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the relay at %s: %w", address, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the relay's answer: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(result); err != nil {
		return nil, fmt.Errorf("reading the relay's answer: %w", err)
	}
	return raw, nil
}

func printRaw(raw []byte) (int, error) {
	if _, err := os.Stdout.Write(raw); err != nil {
		return caddy.ExitCodeFailedQuit, err
	}
	return caddy.ExitCodeSuccess, nil
}
