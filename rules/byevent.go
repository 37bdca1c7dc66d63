package rules

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// EventRules are the rules that name an event, by their place among the rules.
type EventRules struct {
	Source, Event string
	Rules         []int
}

// ByEvent returns for each event that a source declares the rules that name it,
// inactive ones too, in their order. Events whose names could not be told are
// among them where a rule names those.
func (s *Ruleset) ByEvent() []EventRules {
	names := newRulesetBuilder(s.language, s.sources, nil)
	var all []EventRules
	places := map[*eventRules]int{}
	at := func(key eventKey) *EventRules {
		rules := s.byEvent[key]
		place, known := places[rules]
		if !known {
			place = len(all)
			places[rules] = place
			all = append(all, EventRules{Source: key.source, Event: key.event})
		}
		return &all[place]
	}
	for _, source := range s.sources {
		for _, event := range source.Events {
			at(eventKey{source.Name, event.Name})
		}
	}
	for i := range s.written {
		for _, name := range s.written[i].Events {
			// The rules are compiled, so their names have been found before.
			keys, _ := names.find(name)
			for _, key := range keys {
				event := at(key)
				if !slices.Contains(event.Rules, i) {
					event.Rules = append(event.Rules, i)
				}
			}
		}
	}
	return all
}

// Rules returns the rules as they were configured. The result must not be
// changed.
func (s *Ruleset) Rules() []config.Rule { return s.written }
