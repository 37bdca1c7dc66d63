// Package command is `caddy event-relay …`: the commands and their text. Most of
// them only call the admin API of a running relay.
package command

import (
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// New returns the command with all that are below it. version is the relay's, which
// may be empty: explain shows it in the requests.
func New(version string) caddycmd.Command {
	return caddycmd.Command{
		Name:  "event-relay",
		Usage: "<command>",
		Short: "Shows what the event relay received and did; sends again, pauses, checks",
		Long: `
A folder was not made? Look at the event, and then send it again:

  caddy event-relay activity --since 2h
  caddy event-relay show 0199f3c2-7d11
  caddy event-relay resend 0199f3c2-7d11

Most commands talk to a running Caddy over its admin API. Its address is found
as by 'caddy reload': --address, else the configuration given by --config, else
localhost:2019. Only setup, test, explain --request, export-actions, import-postman,
import, restore without --history, and the first part of check need no running Caddy.

If the configuration takes secrets from a file of environment variables, name it
with --envfile, as for 'caddy run'.

The exit status is 0 if it is done and 1 for an error. The help of a command
says what 2 and 3 mean.`,
		CobraFunc: func(root *cobra.Command) { addCommands(root, version) },
	}
}

func addCommands(root *cobra.Command, version string) {
	// Cobra would print the help of an unknown command and call that a success.
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(_ *cobra.Command, arguments []string) error {
		if len(arguments) == 0 {
			return root.Help()
		}
		known := []string{}
		for _, command := range root.Commands() {
			known = append(known, command.Name())
		}
		return fmt.Errorf("unknown command %q%s; see %s", arguments[0], names.DidYouMean(names.Nearest(arguments[0], known)), names.Command("--help"))
	}
	root.PersistentFlags().String("address", "", "Address of the admin API")
	root.PersistentFlags().StringP("config", "c", "", "Configuration file to find the admin API's address in")
	root.PersistentFlags().StringP("adapter", "a", "", "Name of the adapter of --config")
	root.PersistentFlags().StringSlice("envfile", nil, "Environment file(s) to load before the configuration is read")
	root.PersistentFlags().Bool("json", false, "Print data as JSON")
	root.PersistentPreRunE = func(command *cobra.Command, _ []string) error {
		files, err := command.Flags().GetStringSlice("envfile")
		if err != nil {
			return err
		}
		return loadEnvironmentFiles(files)
	}
	root.AddCommand(
		statusCommand(), activityCommand(), showCommand(), rejectionsCommand(), explainCommand(version),
		eventsCommand(), rulesCommand(), actionsCommand(), parametersCommand(),
		sendCommand(), resendCommand(), decideCommand(),
		pauseCommand(), resumeCommand(), disableCommand(), enableCommand(), tryCommand(), cancelCommand(), moveCommand(),
		testCommand(version), setupCommand(), importPostmanCommand(), exportActionsCommand(),
		backupCommand(), restoreCommand(), importCommand(), checkCommand())
	root.Long = names.InText(root.Long)
	for _, command := range root.Commands() {
		command.Long, command.Example = names.InText(command.Long), names.InText(command.Example)
		if accepts := command.Args; accepts != nil {
			// Cobra counts the arguments, and does not say which are wanted.
			command.Args = func(command *cobra.Command, arguments []string) error {
				if err := accepts(command, arguments); err != nil {
					return fmt.Errorf("%w; write: %s (see --help)", err, names.Command(command.Use))
				}
				return nil
			}
		}
	}
}
