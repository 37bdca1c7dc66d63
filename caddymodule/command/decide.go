package command

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

func decideCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "decide (<id>... | filters)",
		Short: "Decides stored events again, and lists what changes",
		Long: `
Decides stored events again: by the running configuration, or by the one that
--config names. It says since when the running one is loaded: a reload that
failed leaves the old one. The difference is listed: which actions would fire
now and did not, and which would not fire any more, for which events and by
which rules.

Unless it is a dry run, it then asks. With yes, the events get their new
verdicts, and the actions that fire now are carried out. Requests of actions
that would not fire any more are not taken back. Actions are carried out by the
running configuration: load a mended configuration before you decide by it
without --dry-run.

With --only the difference is what the named actions fire and stop, and nothing
else is listed or done: events without such a difference keep their verdict.

With --config, the admin API's address is taken from that file too, unless
--address gives it. Its secrets are not read, so none of its conditions may
depend on one.

The exit status:
  0  with --dry-run, nothing changes; otherwise it is done
  1  error; what was decided before it stays decided
  2  with --dry-run, something changes
  3  no event fits`,
		Example: `  caddy event-relay decide --since tuesday --event project_created --dry-run
  caddy event-relay decide --since 7d --config Caddyfile.new --dry-run
  caddy event-relay decide --since 7d --only create_ticket --only send_mail
  caddy event-relay decide --since 2h --verdict rule_error
  caddy event-relay decide 0199f3c2-7d11-7cc3 --yes`,
		RunE: running(runDecide),
	}
	addFilter(command)
	flags := command.Flags()
	flags.StringP("config", "c", "", "Configuration file to decide by, in place of the running configuration")
	flags.StringP("adapter", "a", "", "Name of the adapter of --config")
	flags.StringArray("only", nil, "Only what this action fires or stops; may be given several times")
	flags.Bool("dry-run", false, "Only list the difference")
	flags.BoolP("yes", "y", false, "Do not ask")
	return command
}

func runDecide(i *invocation) (int, error) {
	client, err := newAdminClient(i.Flags)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	chosen, err := i.selection(client)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	only, err := i.GetStringArray("only")
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	request := againRequest{selection: chosen, DryRun: true, Only: only}
	var decider string
	if file := i.String("config"); file != "" {
		decider = file
		read, err := readConfiguration(i.Flags)
		if err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		if request.Configuration, err = read.relay(); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
	} else if decider, err = client.runningConfiguration(i.context); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	var difference replay.Decided
	if err := i.again(client, "decide", "Deciding", request, &difference); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	dry := i.Bool("dry-run")
	if !dry || !i.Bool("json") {
		// With --json the difference goes to standard error, so that it is seen before
		// the question.
		out := i.out
		if i.Bool("json") {
			out = i.report
		}
		if err := writeDifference(out, difference, decider, terminalWidth(out)); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
	}
	result, status := difference, caddy.ExitCodeSuccess
	switch {
	case difference.Events == 0:
		status = exitNothing
	case dry && difference.Changed > 0:
		status = exitAttention
	case !dry && difference.Changed > 0:
		result = replay.Decided{}
		if err := i.confirm("Give these events their new verdicts, and carry out what fires now?"); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		request.DryRun = false
		if err := i.again(client, "decide", "Deciding", request, &result); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		fmt.Fprintf(i.report, "Decided: %s changed; %s being carried out.\n",
			counted(result.Changed, "event", "events"), counted(total(result.Fires), "action is", "actions are"))
	}
	if i.Bool("json") {
		if err := writeJSON(i.out, result); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
	}
	return status, nil
}

// runningConfiguration says which configuration decides, by when it was loaded: the old
// one runs on if a reload fails.
func (c *adminClient) runningConfiguration(ctx context.Context) (string, error) {
	var status inspect.Status
	if _, err := c.get(ctx, "status", nil, &status); err != nil {
		return "", err
	}
	if status.Loaded.IsZero() { // not known while the queue is not open
		return "the running configuration", nil
	}
	return "the configuration that runs since " + second(status.Loaded), nil
}

func total(counts map[string]int) (sum int) {
	for _, count := range counts {
		sum += count
	}
	return sum
}
