package command

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

func pauseCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "pause <action>",
		Short: "Lets the deliveries of an action wait",
		Long: `
Lets the deliveries of an action wait until it is resumed, and sends them then.
It holds over reloads and restarts, and shows in status, in actions
and in the console.`,
		Example: `  caddy event-relay pause create_project_folder --for 2h --reason "SAN is being serviced"
  caddy event-relay resume create_project_folder`,
		Args: cobra.ExactArgs(1),
		RunE: talking(func(i *invocation, client *adminClient) error { return turn(i, client, queue.SwitchAction, true) }),
	}
	addSwitchFlags(command)
	return command
}

func resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "resume <action>",
		Short:   "Sends what waits for a paused action",
		Example: "  caddy event-relay resume create_project_folder",
		Args:    cobra.ExactArgs(1),
		RunE:    talking(func(i *invocation, client *adminClient) error { return turn(i, client, queue.SwitchAction, false) }),
	}
}

func disableCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "disable [<event>]",
		Short: "Stops acting on an event, or on all events",
		Long: `
Stops acting on events of that name until they are enabled again, or on all
events if none is named. Events are still taken and stored, with the verdict
"disabled": decide carries out later what should be done about them. With a
name, what waits already is still sent; pause keeps it waiting. Without one, the
deliveries of all actions wait until enable.

An event that several sources have is named as source:event. It holds over
reloads and restarts, and shows in status, in events and in the console.`,
		Example: `  caddy event-relay disable incoming_call --for 24h --reason "CRM is moving"
  caddy event-relay disable icfm:project_created
  caddy event-relay disable --for 30m --reason "maintenance"
  caddy event-relay enable`,
		Args: cobra.MaximumNArgs(1),
		RunE: talking(func(i *invocation, client *adminClient) error { return turnEvent(i, client, true) }),
	}
	addSwitchFlags(command)
	return command
}

func enableCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "enable [<event>]",
		Short: "Acts on an event again, or on all",
		Long: `
Ends what disable began: for the event that is named, else for all events.
Events that were disabled by name stay disabled then. Events that came meanwhile
are not acted on: the command says how many there are, and how to decide them.`,
		Example: `  caddy event-relay enable incoming_call
  caddy event-relay enable
  caddy event-relay decide --verdict disabled --since 24h --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: talking(func(i *invocation, client *adminClient) error { return turnEvent(i, client, false) }),
	}
}

func addSwitchFlags(command *cobra.Command) {
	command.Flags().String("for", "", "How long, such as 30m, 24h or 7d; by default until it is turned on by hand")
	command.Flags().String("reason", "", "Why, for those who see it")
}

func turnEvent(i *invocation, client *adminClient, off bool) error {
	if i.NArg() == 0 {
		return turn(i, client, queue.SwitchAll, off)
	}
	return turn(i, client, queue.SwitchEvent, off)
}

// switchRequest asks for a switch to be turned.
type switchRequest struct {
	Kind   queue.SwitchKind `json:"kind"`
	Name   string           `json:"name,omitempty"`
	Off    bool             `json:"off"`
	For    string           `json:"for,omitempty"`
	Reason string           `json:"reason,omitempty"`
}

// turn turns a switch, and says what holds now.
func turn(i *invocation, client *adminClient, kind queue.SwitchKind, off bool) error {
	request := switchRequest{Kind: kind, Name: i.Arg(0), Off: off}
	if off {
		request.For, request.Reason = i.String("for"), i.String("reason")
		if request.For != "" {
			if during, err := caddy.ParseDuration(request.For); err != nil || during <= 0 {
				return fmt.Errorf("reading --for: %q is not a length of time such as 30m, 24h or 7d", request.For)
			}
		}
	}
	var turned inspect.Turned
	if err := client.post(i.context, "switch", request, &turned); err != nil {
		return err
	}
	if i.Bool("json") {
		return writeJSON(i.out, turned)
	}
	fmt.Fprintln(i.out, switchText(turned.Switch))
	if turned.Meanwhile != nil {
		fmt.Fprint(i.out, meanwhileText(turned.Kind, *turned.Meanwhile))
	}
	var status inspect.Status
	if _, err := client.get(i.context, "status", nil, &status); err != nil {
		// The switch is turned all the same.
		fmt.Fprintf(i.report, "What else is switched off cannot be said: %v\n", err)
		return nil
	}
	return writeSwitches(i.out, turned.Switch, status)
}
