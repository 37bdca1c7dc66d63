package command

import (
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/api"
)

func rejectionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rejections",
		Short: "Lists refused requests with the reason, and when each credential was last used",
		Long: `
Lists the requests that were refused, grouped, and when each credential was last
used. Only the origin of a refused request is kept. Requests that no mount took,
because their path or host name is wrong, are among them, with the beginning of
their path and without their query. The list is bounded, and outlives a restart,
but for the last minute before a crash.

It warns of secrets that are empty and were left out, and of files of secrets
that have changed since they were read.`,
		Example: "  caddy event-relay rejections",
		Args:    cobra.NoArgs,
		RunE:    talking(runRejections),
	}
}

func runRejections(i *invocation, client *adminClient) error {
	var list api.Rejections
	raw, err := client.get(i.context, "rejections", nil, &list)
	if err != nil {
		return err
	}
	if i.Bool("json") {
		_, err = i.out.Write(raw)
		return err
	}
	i.noteZone()
	return writeRejections(i.out, list, terminalWidth(i.out))
}
