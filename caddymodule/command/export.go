package command

import (
	"fmt"
	"io"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func exportActionsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "export-actions [NAME...]",
		Short: "Writes actions of a configuration as Caddyfile text that can be imported elsewhere",
		Long: `
Writes all actions of a configuration, or those that are named, with the
parameters that they use, as text to be imported into the event_relay block of
another Caddyfile. Secrets stay what they are in the configuration: {env.NAME}
is written as {env.NAME}. The configuration is read and not loaded, so that the
environment and the files that it names need not be there.`,
		Example: `  caddy event-relay export-actions --config Caddyfile --output actions.caddy
  caddy event-relay export-actions screen_pop create_ticket`,
		RunE: func(command *cobra.Command, arguments []string) error {
			// The exit status says it; cobra would add a line that says that it does.
			command.SilenceErrors = true
			return caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
				err := runExportActions(flags, command.OutOrStdout())
				return exitStatus(err), err
			})(command, arguments)
		},
	}
	flags := command.Flags()
	flags.StringP("config", "c", "", "Configuration file to take the actions from")
	flags.StringP("adapter", "a", "", "Name of the adapter of --config")
	flags.StringP("output", "o", "", "File to write to, which must not exist")
	return command
}

func runExportActions(flags caddycmd.Flags, out io.Writer) error {
	file, err := readConfiguration(flags)
	if err != nil {
		return err
	}
	app, err := file.app()
	if err != nil {
		return err
	}
	text, err := app.ExportActions(flags.Args())
	if err != nil {
		return fmt.Errorf("exporting the actions of %s: %w", file.name, err)
	}
	if output := flags.String("output"); output != "" {
		return writeNew(output, text)
	}
	_, err = io.WriteString(out, text)
	return err
}
