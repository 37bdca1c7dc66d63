package command

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/replay"
)

func tryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "try (<delivery> | <target>)",
		Short: "Attempts now what waits for its next attempt",
		Long: `
Makes a waiting delivery due at once, by its id (see show), or all deliveries of
an event that wait. Attempts count on. A target, as status names it, is tested
at once if it is down, with one delivery. If it answers, the others follow. All
that waits for the actions that call it is due at once then.

A delivery that is being attempted is left alone. One that waits for another of
the same order_by still does, and so does one of a paused action: the command
says so.

The exit status is 3 if no delivery was made due, and no target is tested.`,
		Example: `  caddy event-relay try 0199f3c2-7d11-7cc3-98c4-dc0c0c07398f
  caddy event-relay try http://192.168.1.20:8080`,
		Args: cobra.ExactArgs(1),
		RunE: running(runTry),
	}
}

func runTry(i *invocation) (int, error) {
	client, err := newAdminClient(i.Flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	field := "delivery"
	if strings.Contains(i.Arg(0), "://") {
		field = "target"
	}
	var tried replay.Tried
	if err := client.post(i.context, "try", map[string]string{field: i.Arg(0)}, &tried); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if i.Bool("json") {
		err = writeJSON(i.out, tried)
	} else {
		for _, text := range tried.Says {
			fmt.Fprintln(i.out, printable(text))
		}
	}
	if err == nil && tried.Deliveries == 0 && len(tried.Tested) == 0 {
		return exitNothing, nil
	}
	return exitStatus(err), err
}
