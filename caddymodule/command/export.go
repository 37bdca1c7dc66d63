package command

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
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
	settings, err := file.settings()
	if err != nil {
		return err
	}
	text, err := exportActions(settings, flags.Args())
	if err != nil {
		return fmt.Errorf("exporting the actions of %s: %w", file.name, err)
	}
	if output := flags.String("output"); output != "" {
		return writeNew(output, text)
	}
	_, err = io.WriteString(out, text)
	return err
}

// exportActions writes actions as Caddyfile text, all if none is named.
func exportActions(settings *config.Relay, wanted []string) (string, error) {
	known := make([]string, len(settings.Actions))
	var chosen []config.Action
	for i, action := range settings.Actions {
		known[i] = action.Name
		if len(wanted) == 0 || slices.Contains(wanted, action.Name) {
			chosen = append(chosen, action)
		}
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return "", names.Unknown("action", name, known, "")
		}
	}
	text, err := printer.Actions(usedParameters(settings.Parameters, chosen), chosen)
	if err != nil {
		return "", err
	}
	if text != "" && !strings.HasPrefix(text, "\n") {
		text = "\n" + text
	}
	return "# Actions, to be imported into the event_relay block.\n" + text, nil
}

var (
	tagsInText = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	wordInTag  = regexp.MustCompile(`[A-Za-z][A-Za-z0-9_]*`)
)

// usedParameters returns the parameters that actions use, and those that these
// hold, in the order of the configuration. One too many does no harm, so that a
// word in a tag is enough to count.
func usedParameters(all []config.Parameter, actions []config.Action) (parameters []config.Parameter) {
	used := map[string]bool{}
	var note func(text string)
	words := func(expression string) {
		for _, word := range wordInTag.FindAllString(expression, -1) {
			i := slices.IndexFunc(all, func(p config.Parameter) bool { return p.Name == word })
			if i < 0 || used[word] {
				continue
			}
			used[word] = true
			note(all[i].Value)
			for _, value := range all[i].Tenants {
				note(value)
			}
		}
	}
	note = func(text string) {
		for _, tag := range tagsInText.FindAllString(text, -1) {
			words(tag)
		}
	}
	for i := range actions {
		words(actions[i].OrderBy)
		for _, text := range actions[i].Templates() {
			note(text)
		}
	}
	for _, p := range all {
		if used[p.Name] {
			parameters = append(parameters, p)
		}
	}
	return parameters
}
