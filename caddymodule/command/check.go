package command

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Checks a configuration file, and a running relay's database and rules",
		Long: `
Checks the configuration file that --config names, by default the Caddyfile in
the current directory, as 'caddy validate' does: nothing is started. Then, if a
Caddy is running, checks the database of its relay, and its rules and actions
against the events that are stored: fields that they use and no event ever had,
actions that nothing uses. It notes the rules that have never held, and says
what was not checked.

The exit status is 0 if there is no fault; warnings and notes are none. It is 1
if something is wrong, or if nothing could be checked.`,
		Example: `  caddy event-relay check --config Caddyfile --envfile event-relay.env
  caddy event-relay check --address localhost:2019 --json`,
		Args: cobra.NoArgs,
		RunE: running(runCheck),
	}
}

// checkResult is what a check found.
type checkResult struct {
	// Configuration is the file that was checked, Faults what is wrong.
	Configuration string   `json:"configuration,omitempty"`
	Relay         string   `json:"relay,omitempty"`
	Faults        []string `json:"faults"`
	Warnings      []string `json:"warnings"`
	Notes         []string `json:"notes"`
	NotChecked    []string `json:"not_checked"`
}

func runCheck(i *invocation) (int, error) {
	result := checkResult{Faults: []string{}, Warnings: []string{}, Notes: []string{}, NotChecked: []string{}}
	result.checkFile(i.Flags)
	result.checkRunning(i)
	var err error
	if i.Bool("json") {
		err = writeJSON(i.out, result)
	} else {
		err = writeCheck(i.out, result)
	}
	switch {
	case err != nil:
	case len(result.Faults) > 0:
		err = errors.New("something is wrong: " + counted(len(result.Faults), "fault", "faults"))
	case result.Configuration == "" && result.Relay == "":
		err = errors.New("nothing could be checked: name a configuration with --config, or start Caddy")
	}
	return exitStatus(err), err
}

// checkFile loads a configuration without starting it.
func (c *checkResult) checkFile(flags caddycmd.Flags) {
	file, err := readConfiguration(flags)
	switch {
	case errors.Is(err, errNoConfiguration):
		c.NotChecked = append(c.NotChecked, "a configuration file: there is no Caddyfile here; name one with --config")
		return
	case err != nil:
		c.Configuration = flags.String("config")
		c.Faults = append(c.Faults, err.Error())
		return
	}
	c.Configuration = file.name
	warnings, err := file.validate()
	if err != nil {
		c.Faults = append(c.Faults, err.Error())
	}
	c.Warnings = append(c.Warnings, warnings...)
}

// checkRunning lets a running relay check itself. That it cannot is a fault; that
// there is none is one only if the administrator says where it is.
func (c *checkResult) checkRunning(i *invocation) {
	client, err := newAdminClient(i.Flags)
	var checked inspect.Checked
	if err == nil {
		_, err = client.get(i.context, "check", nil, &checked)
	}
	if err != nil {
		var refused *refusal
		cannot := errors.As(err, &refused) && refused.status == http.StatusInternalServerError
		if cannot || i.String("address") != "" {
			c.Faults = append(c.Faults, err.Error())
		}
		reason := err.Error()
		if slices.ContainsFunc(c.Faults, func(fault string) bool { return strings.Contains(reason, fault) }) {
			reason = "the configuration, which says where its relay is, cannot be read"
		}
		c.NotChecked = append(c.NotChecked, "database, rules against stored events: "+reason)
		return
	}
	c.Relay = client.address
	for _, fault := range checked.Database {
		c.Faults = append(c.Faults, "database: "+fault)
	}
	for _, warning := range checked.Warnings {
		// The running relay may have loaded this very file, and then warns of the same.
		if !slices.Contains(c.Warnings, warning) {
			c.Warnings = append(c.Warnings, warning)
		}
	}
	c.Notes = append(c.Notes, checked.Notes...)
}
