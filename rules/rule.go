package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Ruleset is the rules of one configuration, found by event. It is safe for
// concurrent use.
type Ruleset struct {
	// byEvent holds the rules for each event that a source declares, in order,
	// and for UnknownName where a rule names it.
	byEvent map[eventKey]*eventRules

	// language, sources and written, the rules as configured, are for Explain,
	// ByEvent and events that no source declares.
	language *language.Language
	sources  []Source
	written  []config.Rule
}

type eventKey struct{ source, event string }

// eventRules are the rules for one event.
type eventRules struct {
	rules []*compiledRule
	// inactive says that inactive rules were left out.
	inactive bool
}

// compiledRule is an active rule that can be carried out.
type compiledRule struct {
	place, description string
	// ids is the rule's ID alone, for verdicts to share.
	ids          []string
	when         []*language.Expression
	actions      []ActionCall
	ignore       bool
	ignoreReason string
}

// New checks and compiles rules against the names of the language, the events
// that the sources declare and the names of the actions. Everything that is
// wrong is reported together, each with the place of its rule.
//
// The events of a rule are written name, glob_*, source:name or source:glob_*.
// They compare by names.Normal. A name without a source must be declared by one
// source only; a glob without a source matches the declared events of all sources
// that are not Own, so that * is everything that comes from outside. UnknownName,
// with or without a source, is for events whose name could not be told; no glob
// matches it. Rules that are switched off are checked and then left out.
func New(l *language.Language, sources []Source, rules []config.Rule, actions []string) (*Ruleset, error) {
	b := newRulesetBuilder(l, sources, actions)
	written := slices.Clone(rules)
	for i := range written {
		if written[i].Place == "" {
			written[i].Place = fmt.Sprintf("rule %d", i+1)
		}
		b.add(written[i])
	}
	if err := b.errs.Err(); err != nil {
		return nil, err
	}
	return &Ruleset{byEvent: b.byEvent, language: l, sources: sources, written: written}, nil
}

type rulesetBuilder struct {
	language   *language.Language
	configured []Source
	actions    []string
	byEvent    map[eventKey]*eventRules
	errs       config.Findings
	// sources and events are what exists, each once, in the order of the
	// configuration; declaring are the sources of each event's normal name, the
	// relay's own only if there is no other.
	sources, events []string
	declaring       map[string][]string
	// declared are the events of each source by normal name, as declared.
	declared map[string]map[string]string
}

func newRulesetBuilder(l *language.Language, sources []Source, actions []string) *rulesetBuilder {
	b := &rulesetBuilder{
		language:   l,
		configured: sources,
		actions:    actions,
		byEvent:    map[eventKey]*eventRules{},
		declaring:  map[string][]string{},
		declared:   map[string]map[string]string{},
	}
	for _, source := range ownLast(sources) {
		b.sources = append(b.sources, source.Name)
		b.declared[source.Name] = map[string]string{}
		for _, event := range source.Events {
			name := names.Normal(event.Name)
			if _, twice := b.declared[source.Name][name]; twice {
				continue
			}
			b.declared[source.Name][name] = event.Name
			if b.declaring[name] == nil {
				b.events = append(b.events, event.Name)
			}
			if !source.Own || b.declaring[name] == nil {
				b.declaring[name] = append(b.declaring[name], source.Name)
			}
			rules := new(eventRules)
			b.byEvent[eventKey{source.Name, event.Name}] = rules
			b.byEvent[eventKey{source.Name, name}] = rules
		}
	}
	return b
}

// FindEvent returns the one event that a name means, name or source:name as rules
// have it, as its source declares it.
func FindEvent(sources []Source, name string) (source, event string, err error) {
	if strings.Contains(name, "*") {
		return "", "", fmt.Errorf("%s may mean many events; name one", name)
	}
	keys, err := newRulesetBuilder(nil, sources, nil).find(name)
	switch {
	case err != nil:
		return "", "", err
	case len(keys) == 0:
		return "", "", errors.New("there is no source, so there is no event")
	case len(keys) > 1:
		return "", "", fmt.Errorf("every source has events called %s; write one of: %s:%s", name, strings.Join(sourcesOf(keys), ":"+name+", "), name)
	}
	return keys[0].source, keys[0].event, nil
}

func sourcesOf(keys []eventKey) []string {
	sources := make([]string, len(keys))
	for i, key := range keys {
		sources[i] = key.source
	}
	return sources
}

func (b *rulesetBuilder) add(rule config.Rule) {
	fail := func(err error) { b.errs.Add(rule.Place, err) }

	var keys []eventKey
	if len(rule.Events) == 0 {
		fail(errors.New("the rule names no event"))
	}
	for _, name := range rule.Events {
		named, err := b.find(name)
		if err != nil {
			fail(err)
		}
		keys = append(keys, named...)
	}

	compiled := &compiledRule{
		place:        rule.Place,
		description:  rule.Description,
		ids:          []string{ID(rule)},
		ignore:       rule.Ignore,
		ignoreReason: rule.Reason,
	}
	for _, condition := range rule.When {
		x, err := b.language.CompileCondition(condition)
		if err != nil {
			fail(err)
			continue
		}
		compiled.when = append(compiled.when, x)
	}

	switch {
	case rule.Ignore && len(rule.Do) > 0:
		fail(errors.New("the rule has both do and ignore; write two rules"))
	case !rule.Ignore && len(rule.Do) == 0:
		fail(errors.New("the rule has neither do nor ignore; add: do ACTION"))
	}
	for _, action := range rule.Do {
		if !slices.Contains(b.actions, action) {
			fail(names.Unknown("action", action, b.actions, "to define it, add: action "+action+" { … }"))
		}
		if call := (ActionCall{Action: action, Rule: rule.Place}); !slices.Contains(compiled.actions, call) {
			compiled.actions = append(compiled.actions, call)
		}
	}

	for _, key := range keys {
		rules := b.byEvent[key]
		if rules == nil {
			rules = new(eventRules)
			b.byEvent[key] = rules
		}
		switch {
		case rule.Disabled:
			rules.inactive = true
		case len(rules.rules) == 0 || rules.rules[len(rules.rules)-1] != compiled:
			rules.rules = append(rules.rules, compiled)
		}
	}
}

// find returns the events that one name in a rule means.
func (b *rulesetBuilder) find(name string) ([]eventKey, error) {
	source, own, qualified := strings.Cut(name, ":")
	if qualified && !slices.Contains(b.sources, source) {
		// An event may have a colon in its own name.
		if len(b.matching("", names.Normal(name))) == 0 {
			return nil, names.Unknown("source", source, b.sources, "")
		}
		qualified = false
	}
	if !qualified {
		source, own = "", name
	}
	normal := names.Normal(own)
	switch {
	case normal == event.UnknownName:
		return b.unknownEvents(source), nil
	case strings.Contains(normal, "*"):
		return b.glob(source, normal)
	case qualified:
		declared, ok := b.declared[source][normal]
		if !ok {
			return nil, b.unknownEvent(own, source)
		}
		return []eventKey{{source, declared}}, nil
	}
	switch sources := b.declaring[normal]; len(sources) {
	case 0:
		return nil, b.unknownEvent(own, "")
	case 1:
		return []eventKey{{sources[0], b.declared[sources[0]][normal]}}, nil
	default:
		return nil, fmt.Errorf("event %s is declared by several sources; write one of: %s:%s",
			own, strings.Join(sources, ":"+own+", "), own)
	}
}

// unknownEvents are the events without a name, of one source or of all.
func (b *rulesetBuilder) unknownEvents(source string) (keys []eventKey) {
	for _, s := range b.configured {
		if source == "" && !s.Own || source == s.Name {
			keys = append(keys, eventKey{s.Name, event.UnknownName})
		}
	}
	return keys
}

// ownLast returns the sources, the relay's own after the others.
func ownLast(sources []Source) []Source {
	sources = slices.Clone(sources)
	slices.SortStableFunc(sources, func(a, b Source) int {
		switch {
		case a.Own == b.Own:
			return 0
		case a.Own:
			return 1
		}
		return -1
	})
	return sources
}

// glob finds the events that a name with * matches. A glob that matches nothing
// is an error: it was meant to match something.
func (b *rulesetBuilder) glob(source, glob string) ([]eventKey, error) {
	keys := b.matching(source, glob)
	if len(keys) == 0 {
		return nil, fmt.Errorf("no event matches %s. What exists: %s", glob, strings.Join(b.eventsOf(source), ", "))
	}
	return keys, nil
}

// matching lists the declared events whose normal name matches: those of one
// source, or when it is empty those of all but the relay's own.
func (b *rulesetBuilder) matching(source, glob string) (keys []eventKey) {
	for _, s := range b.configured {
		if source == "" && s.Own || source != "" && source != s.Name {
			continue
		}
		for _, event := range s.Events {
			if globMatches(glob, names.Normal(event.Name)) {
				keys = append(keys, eventKey{s.Name, event.Name})
			}
		}
	}
	return keys
}

// globMatches reports whether a name matches a glob, in which * stands for any
// text and everything else for itself.
func globMatches(glob, name string) bool {
	parts := strings.Split(glob, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return glob == name
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = after
	}
	return true
}

// eventsOf lists the declared events of one source, or of all when it is empty.
func (b *rulesetBuilder) eventsOf(source string) []string {
	if source == "" {
		return b.events
	}
	var names []string
	for _, s := range b.configured {
		if s.Name == source {
			for _, event := range s.Events {
				names = append(names, event.Name)
			}
		}
	}
	return names
}

func (b *rulesetBuilder) unknownEvent(event, source string) error {
	remedy := "to use an event that the preset lacks, add: event " + event
	if slices.ContainsFunc(b.configured, func(s Source) bool { return s.Name == source && s.Own }) {
		remedy = ""
	}
	err := names.Unknown("event", event, b.eventsOf(source), remedy)
	if source != "" {
		return fmt.Errorf("source %s: %w", source, err)
	}
	return err
}
