package command

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

func cancelCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "cancel (<delivery> | --action <name>)",
		Short: "Ends deliveries that are not to be carried out any more",
		Long: `
Ends one unfinished delivery, by its id (see show), or all of an action, also of
one that is not configured any more. One that is being sent at this moment may
still arrive. A cancelled delivery can be sent again with resend.

The exit status is 3 if there was nothing to cancel.`,
		Example: `  caddy event-relay cancel 0199f3c2-7d11-7cc3-98c4-dc0c0c07398f
  caddy event-relay cancel --action old_crm`,
		Args: cobra.MaximumNArgs(1),
		RunE: running(runCancel),
	}
	command.Flags().String("action", "", "Cancel all unfinished deliveries of this action")
	command.Flags().BoolP("yes", "y", false, "Do not ask")
	return command
}

func runCancel(i *invocation) (int, error) {
	action := i.String("action")
	if (i.NArg() == 0) == (action == "") {
		return caddy.ExitCodeFailedStartup, errors.New("cancelling needs either the id of a delivery or --action NAME")
	}
	client, err := newAdminClient(i.Flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	request := map[string]string{"action": action}
	if action == "" {
		delivery, err := client.delivery(i, i.Arg(0))
		if err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		request = map[string]string{"delivery": delivery}
	} else {
		waiting, err := client.waitingFor(i, action)
		if err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		if waiting == 0 {
			fmt.Fprintf(i.report, "Nothing waits for %s.\n", printable(action))
			return exitNothing, nil
		}
		if err := i.confirm(fmt.Sprintf("%s of %s. Cancel them?", counted(waiting, "unfinished delivery", "unfinished deliveries"), printable(action))); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
	}
	return i.change(client, "cancel", request, "cancelled")
}

// delivery returns the full id of an unfinished delivery, of which a beginning
// is given.
func (c *adminClient) delivery(i *invocation, id string) (string, error) {
	var detail inspect.Detail
	if _, err := c.get(i.context, "events/"+url.PathEscape(id), nil, &detail); err != nil {
		return "", err
	}
	var unfinished []string
	for _, delivery := range detail.Deliveries {
		if strings.HasPrefix(delivery.ID, strings.ToLower(id)) {
			return delivery.ID, nil
		}
		if delivery.State == queue.Pending {
			unfinished = append(unfinished, fmt.Sprintf("%s (%s)", delivery.ID, delivery.Action))
		}
	}
	if len(unfinished) == 0 {
		return "", fmt.Errorf("cancelling a delivery: %s is an event, and none of its deliveries is unfinished", id)
	}
	return "", fmt.Errorf("cancelling a delivery: %s is an event; its unfinished deliveries are %s", id, strings.Join(unfinished, ", "))
}

// waitingFor returns how many deliveries wait for an action.
func (c *adminClient) waitingFor(i *invocation, action string) (int, error) {
	var backlog []queue.Backlog
	if _, err := c.get(i.context, "backlog", nil, &backlog); err != nil {
		return 0, err
	}
	for _, waiting := range backlog {
		if waiting.Action == action {
			return waiting.Count, nil
		}
	}
	return 0, nil
}

func moveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "move <from> <to>",
		Short: "Hands what waits for one action to another",
		Long: `
Hands all unfinished deliveries of an action to another, such as after it was
renamed: without that they wait until an action of the old name is back. They
are rendered and sent as the other action says.

The exit status is 3 if nothing was waiting.`,
		Example: `  caddy event-relay status
  caddy event-relay move old_crm crm`,
		Args: cobra.ExactArgs(2),
		RunE: running(func(i *invocation) (int, error) {
			client, err := newAdminClient(i.Flags)
			if err != nil {
				return caddy.ExitCodeFailedStartup, err
			}
			return i.change(client, "move", map[string]string{"from": i.Arg(0), "to": i.Arg(1)}, "moved to "+i.Arg(1))
		}),
	}
}

// change makes a change of deliveries and says of how many.
func (i *invocation) change(client *adminClient, path string, request any, done string) (int, error) {
	var changed api.Changed
	if err := client.post(i.context, path, request, &changed); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	var err error
	if i.Bool("json") {
		err = writeJSON(i.out, changed)
	} else {
		_, err = fmt.Fprintf(i.out, "%s %s.\n", counted(changed.Deliveries, "delivery", "deliveries"), printable(done))
	}
	if err == nil && changed.Deliveries == 0 {
		return exitNothing, nil
	}
	return exitStatus(err), err
}
