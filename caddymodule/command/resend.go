package command

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/replay"
)

func resendCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "resend (<id>... | filters)",
		Short: "Sends deliveries again, after saying how many",
		Long: `
Sends deliveries again that have ended, each as a new delivery with a key of its
own, rendered by the running configuration. An id is that of an event, whose
deliveries are all sent again, or that of one delivery. A filter without --state
chooses deliveries that failed, expired or were cancelled, but not those that
are mended: sent again before, and arrived. To leave out what expired, because
it is of no use any more, give --state failed.

It counts first, by action, and asks; with --yes it does neither. Resend
delivered requests only if the target can take the same request twice.

The exit status:
  0  sent again; with --dry-run, there is something to send
  1  error; what was sent before it stays sent
  3  nothing fits`,
		Example: `  caddy event-relay resend 0199f3c2-7d11-7cc3
  caddy event-relay resend --since 2h --action create_project_folder
  caddy event-relay resend --since yesterday --state failed --dry-run
  caddy event-relay resend --since 2h --text "connection refused" --yes`,
		RunE: running(runResend),
	}
	addFilter(command)
	command.Flags().Bool("dry-run", false, "Only count")
	command.Flags().BoolP("yes", "y", false, "Do not ask")
	return command
}

func runResend(i *invocation) (int, error) {
	client, err := newAdminClient(i.Flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	chosen, err := i.selection(client)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	var result replay.Resent
	dry := i.Bool("dry-run")
	if dry || !i.Bool("yes") {
		if err := i.again(client, "resend", "Counting", againRequest{selection: chosen, DryRun: true}, &result); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		fmt.Fprintln(i.report, resentText(result, "to send again"))
		if result.Deliveries > 0 && !dry {
			if err := i.confirm("Send them again?"); err != nil {
				return caddy.ExitCodeFailedStartup, err
			}
		}
		dry = dry || result.Deliveries == 0
	}
	if !dry {
		result = replay.Resent{}
		if err := i.again(client, "resend", "Sending again", againRequest{selection: chosen}, &result); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		doing := "are being sent again"
		if result.Deliveries == 1 {
			doing = "is being sent again"
		}
		fmt.Fprintln(i.report, resentText(result, doing))
	}
	status := caddy.ExitCodeSuccess
	if result.Deliveries == 0 {
		status = exitNothing
	}
	if i.Bool("json") {
		if err := writeJSON(i.out, result); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
	}
	return status, nil
}

// againRequest asks for events to be sent or decided again.
type againRequest struct {
	selection
	DryRun        bool            `json:"dry_run,omitempty"`
	Configuration json.RawMessage `json:"configuration,omitempty"`
	Only          []string        `json:"only,omitempty"`
}

// again makes a call that may take long, and shows how far it is.
func (i *invocation) again(client *adminClient, path, doing string, request againRequest, result any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	progress := i.progress()
	defer progress.end()
	return client.long(i.context, path, bytes.NewReader(body), progress.counting(doing), result)
}
