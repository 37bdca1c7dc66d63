package command

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

func eventsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "events [SEARCH]",
		Short: "Lists the events of each source, and what rules do with them",
		Long: `
Lists the events that each source is known to send, and which actions rules
carry out for them. With SEARCH, only those that have it in the name, the
description, the source, an action or the place of a rule.

An event is "on" if a rule acts on it, "off" if it was switched off with
disable, and "-" if no rule asks for an action. --used leaves out the latter.
CAME and LAST are how many events came since a configuration with the event was
loaded first, and when the last one did, without tests and duplicates.`,
		Example: `  caddy event-relay events --used
  caddy event-relay events project
  caddy event-relay events --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: talking(runEvents),
	}
	command.Flags().Bool("used", false, "Only events that a rule names")
	return command
}

func runEvents(i *invocation, client *adminClient) error {
	var sources []inspect.SourceEvents
	if _, err := client.get(i.context, "catalogue", nil, &sources); err != nil {
		return err
	}
	found := 0
	for n := range sources {
		source := &sources[n]
		source.Events = slices.DeleteFunc(source.Events, func(e inspect.EventListed) bool {
			return i.Bool("used") && len(e.Rules) == 0 || !i.seeks(eventTexts(source.Source, e)...)
		})
		found += len(source.Events)
	}
	sources = slices.DeleteFunc(sources, func(s inspect.SourceEvents) bool { return len(s.Events) == 0 })
	if i.Bool("json") {
		return writeJSON(i.out, sources)
	}
	if found == 0 {
		return i.nothingFound("events")
	}
	return writeEvents(i.out, sources, terminalWidth(i.out))
}

// eventTexts is what an event is searched for in.
func eventTexts(source string, event inspect.EventListed) []string {
	texts := []string{source, event.Name, event.Description}
	for _, rule := range event.Rules {
		texts = append(texts, rule.Place, rule.Description, rule.Reason)
		texts = append(texts, rule.Do...)
	}
	return texts
}

func rulesCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "rules [SEARCH]",
		Short: "Lists the rules, and how often and when last each of them held",
		Long: `
Lists the rules in the order of the configuration. With SEARCH, only those that
have it in their place, description, events, conditions or actions.

HELD and LAST are for how many events the rule held, and for which last, since a
configuration with it was loaded first, without tests and duplicates. A rule
keeps its count when it moves to another line, and begins anew when its events,
conditions or actions change. NOTE marks rules that have never held: those that
exist for a day while events of theirs came, and those that exist for a week
without one. --idle lists only these.`,
		Example: `  caddy event-relay rules
  caddy event-relay rules --idle
  caddy event-relay rules project --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: talking(runRules),
	}
	command.Flags().Bool("idle", false, "Only rules that are marked because they have never held")
	return command
}

func runRules(i *invocation, client *adminClient) error {
	var rules []inspect.RuleListed
	if _, err := client.get(i.context, "rules", nil, &rules); err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, func(r inspect.RuleListed) bool {
		texts := slices.Concat([]string{r.Place, r.Description, r.Reason}, r.Events, r.When, r.Do)
		return i.Bool("idle") && r.Idle == "" || !i.seeks(texts...)
	})
	if i.Bool("json") {
		return writeJSON(i.out, rules)
	}
	if len(rules) == 0 {
		return i.nothingFound("rules")
	}
	return writeRules(i.out, rules, terminalWidth(i.out))
}

func actionsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "actions [SEARCH]",
		Short: "Lists the actions, what they call, which rules use them and what waits for them",
		Long: `
Lists the configured actions. With SEARCH, only those that have it in the name,
the description, the URL, or the place of the action or of a rule that uses it.
Secrets are neither shown nor searched.

DELIVERIES counts those that were made since a configuration with the action was
loaded first, without tests; FAILED those that failed or expired and were not
mended by sending them again.

With --example, the request of each action is shown as it would be sent for the
newest event that it was carried out for. Nothing is sent.`,
		Example: `  caddy event-relay actions
  caddy event-relay actions folder
  caddy event-relay actions screen_pop --example`,
		Args: cobra.MaximumNArgs(1),
		RunE: talking(runActions),
	}
	command.Flags().Bool("example", false, "Show the request of each action as it would be sent")
	return command
}

// actionWithExample is an action and what it would send.
type actionWithExample struct {
	inspect.ActionListed
	Example *inspect.ExampleRequest `json:"example,omitempty"`
}

func runActions(i *invocation, client *adminClient) error {
	var all []inspect.ActionListed
	if _, err := client.get(i.context, "actions", nil, &all); err != nil {
		return err
	}
	actions := []actionWithExample{}
	for _, action := range all {
		if !i.seeks(append([]string{action.Name, action.Description, action.Method, action.URL, action.Place}, action.UsedBy...)...) {
			continue
		}
		listed := actionWithExample{ActionListed: action}
		if i.Bool("example") {
			if _, err := client.get(i.context, "actions/"+url.PathEscape(action.Name)+"/example", nil, &listed.Example); err != nil {
				return err
			}
		}
		actions = append(actions, listed)
	}
	switch {
	case i.Bool("json"):
		return writeJSON(i.out, actions)
	case len(actions) == 0:
		return i.nothingFound("actions")
	case i.Bool("example"):
		return writeExamples(i.out, actions)
	}
	return writeActions(i.out, actions, terminalWidth(i.out))
}

func parametersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "parameters [SEARCH]",
		Short: "Lists the parameters that templates and rules can use, and where they are used",
		Long: `
Lists the system parameters, which every event has, and those of the
configuration. With SEARCH, only those that have it in the name, the
description, the value or the place of use. Secrets are shown as *** and never
searched.

A parameter is marked "undefined" if it has no value, or one that an import of a
Postman collection put in its place, and "unused" if nothing uses it.`,
		Example: `  caddy event-relay parameters
  caddy event-relay parameters studio`,
		Args: cobra.MaximumNArgs(1),
		RunE: talking(runParameters),
	}
}

func runParameters(i *invocation, client *adminClient) error {
	var parameters []inspect.ParameterListed
	if _, err := client.get(i.context, "parameters", nil, &parameters); err != nil {
		return err
	}
	parameters = slices.DeleteFunc(parameters, func(p inspect.ParameterListed) bool {
		texts := append([]string{p.Name, p.Description}, p.UsedBy...)
		if !p.Secret {
			texts = append(texts, p.Value)
			for tenant, value := range p.Tenants {
				texts = append(texts, tenant, value)
			}
		}
		return !i.seeks(texts...)
	})
	if i.Bool("json") {
		return writeJSON(i.out, parameters)
	}
	if len(parameters) == 0 {
		return i.nothingFound("parameters")
	}
	return writeParameters(i.out, parameters, terminalWidth(i.out))
}

// seeks reports whether one of the texts holds what the administrator searches
// for, if anything.
func (i *invocation) seeks(texts ...string) bool {
	sought := strings.ToLower(i.Arg(0))
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), sought) })
}

func (i *invocation) nothingFound(what string) error {
	text := fmt.Sprintf("There are no %s.\n", what)
	if i.Arg(0) != "" {
		text = fmt.Sprintf("No %s have %q.\n", what, i.Arg(0))
	}
	_, err := io.WriteString(i.report, text)
	return err
}
