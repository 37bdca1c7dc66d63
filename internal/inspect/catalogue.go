package inspect

import (
	"context"
	"slices"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// SourceEvents is a source with the events that it is known to send.
type SourceEvents struct {
	Source string `json:"source"`
	Preset string `json:"preset,omitempty"`
	Place  string `json:"place,omitempty"`
	// URL is where its events come in, if that is known, and Try a command
	// line that posts one of them, with YOUR-SECRET for the credential.
	URL    string        `json:"url,omitempty"`
	Try    string        `json:"try,omitempty"`
	Events []EventListed `json:"events"`
}

// EventListed is one event of the catalogue.
type EventListed struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Active says that rules act on the event and nothing switches it off.
	Active bool          `json:"active"`
	Switch *queue.Switch `json:"switch,omitempty"`
	Rules  []RuleListed  `json:"rules,omitempty"`
	// Used is how often it came, nil if that is not known.
	Used *Used `json:"used,omitempty"`
}

// Catalogue returns the events of all sources, the relay's own too, with their
// rules and actions.
func Catalogue(ctx context.Context, runtime *relay.Runtime) []SourceEvents {
	generation := runtime.Generation()
	if generation == nil {
		return []SourceEvents{}
	}
	off := switchesOf(runtime.Switches())
	everything := generation.Configuration.Disabled || off[switchKey{kind: queue.SwitchAll}] != nil
	catalogue := make([]SourceEvents, 0, len(generation.Configuration.Sources)+1)
	for _, source := range generation.Configuration.Sources {
		catalogue = append(catalogue, SourceEvents{Source: source.Name, Preset: source.Preset, Place: source.Place, Events: []EventListed{}})
	}
	catalogue = append(catalogue, SourceEvents{Source: names.RelaySource, Events: []EventListed{}})
	uses := usesNow(ctx, runtime)
	rules := listRules(generation, uses, relay.Now(runtime))
	for _, named := range generation.Ruleset.ByEvent() {
		listed := EventListed{
			Name: named.Event, Description: description(generation, named.Source, named.Event),
			Switch: off[switchKey{queue.SwitchEvent, named.Source + ":" + named.Event}],
			Used:   uses.of(queue.EventThing, named.Source+":"+named.Event),
		}
		for _, i := range named.Rules {
			rule := &rules[i]
			listed.Rules = append(listed.Rules, *rule)
			listed.Active = listed.Active || !rule.Inactive && len(rule.Do) > 0 && listed.Switch == nil && !everything
		}
		i := slices.IndexFunc(catalogue, func(s SourceEvents) bool { return s.Source == named.Source })
		catalogue[i].Events = append(catalogue[i].Events, listed)
	}
	for i, source := range generation.Configuration.Sources {
		if url := generation.Configuration.Addresses[source.Name]; url != "" {
			catalogue[i].URL = url
			catalogue[i].Try = receive.Setup(source, url).Try(worthTrying(catalogue[i].Events))
		}
	}
	return catalogue
}

// worthTrying chooses the event for an example: rather one that leads to
// something.
func worthTrying(events []EventListed) string {
	for _, event := range events {
		if event.Active {
			return event.Name
		}
	}
	if len(events) > 0 {
		return events[0].Name
	}
	return "EVENT"
}

// description returns what the configuration or the vendor says about an event.
func description(g *relay.Generation, source, e string) string {
	for _, declared := range g.Declared {
		if declared.Name != source {
			continue
		}
		for _, known := range declared.Events {
			if known.Name == e {
				return known.Description
			}
		}
	}
	if e == event.UnknownName {
		return "Requests that do not say which event they are"
	}
	return ""
}

type switchKey struct {
	kind queue.SwitchKind
	name string
}

// switchesOf returns switches by what they are for.
func switchesOf(list []queue.Switch) map[switchKey]*queue.Switch {
	switches := make(map[switchKey]*queue.Switch, len(list))
	for i := range list {
		s := list[i]
		switches[switchKey{s.Kind, s.Name}] = &s
	}
	return switches
}
