package command

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Shows at a glance how the relay is: what is switched off, waits, is down or quiet",
		Long: `
Shows what is switched off and until when, what waits for each action, which
targets are down, which sources are quiet, what the last hour brought,
and how full the disk is. It warns of requests that Caddy would answer with an
empty 200 although nothing takes them, and of secrets that were left out. If
several nodes share the queue, it lists them and warns if they run different
versions or configurations, or if one vanished in the last day. Targets,
sources and refused requests are those of the node that is asked.

It names the requests of the last hour that were refused or that no mount took,
if they most likely came from senders: they carried a credential, came from an
address in an allow, or nearly led to a mount; or they came to the path of a
mount more than twice without a credential. Others are counted as probes.

The exit status serves in monitoring:
  0  everything is on, the queue is well, no target is down, no source is quiet,
     no sender was refused, nothing failed for good
  1  error: the relay cannot be asked
  2  something is off, down or quiet, or waits for an action that is gone; or
     the queue is in trouble; or senders were refused in the last hour; or a
     delivery failed for good in the last day and is not mended; or there is a
     warning: the configuration may lose events, or nodes differ`,
		Example: "  caddy event-relay status",
		Args:    cobra.NoArgs,
		RunE:    running(runStatus),
	}
}

func runStatus(i *invocation) (int, error) {
	client, err := newAdminClient(i.Flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	var status inspect.Status
	raw, err := client.get(i.context, "status", nil, &status)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if i.Bool("json") {
		_, err = i.out.Write(raw)
	} else {
		err = writeStatus(i.out, status)
	}
	if err == nil && needsAttention(status) {
		return exitAttention, nil
	}
	return exitStatus(err), err
}

// needsAttention reports whether an administrator should look.
func needsAttention(status inspect.Status) bool {
	for _, waiting := range status.Backlog {
		if waiting.Unknown {
			return true
		}
	}
	return status.Off || len(status.Switches)+len(status.Troubles)+len(status.Down)+len(status.Quiet)+len(status.Failed)+len(status.Warnings)+len(status.Refused) > 0
}
