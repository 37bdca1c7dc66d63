package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// A rehearsal looks at no more events than these, the newest, and ends when this time
// is over: a person waits for it, and it takes one of the machine's processors.
const (
	rehearsalEvents = 500_000
	rehearsalTime   = 2 * time.Minute
)

// rehearsals holds a token for the rehearsal that runs. A second one would make both
// slower, and senders wait longer.
var rehearsals = make(chan struct{}, 1)

// patience is how long a rehearsal waits for one that is being cancelled.
const patience = 2 * time.Second

// ErrRehearsing means that another rehearsal runs.
var ErrRehearsing = errors.New("another rehearsal runs: wait until it ends, or cancel it")

// Rehearsal is a changed configuration that is to be tried on stored events.
type Rehearsal struct {
	// Settings are what was written. Their references are not followed.
	Settings config.Relay
	// Whole says that Settings are a whole configuration. Otherwise they are a part
	// that changes the running one: its parameters, sources and actions take the
	// place of those of the same name, or are added, and so are its rules.
	Whole bool
	// Replace is the rule of the running configuration in whose place the rules of a
	// part stand. Nil means that they stand behind all others.
	Replace *RuleAt
}

// RuleAt names a rule of a configuration. Both must be right, so that a configuration
// that was loaded meanwhile is noticed.
type RuleAt struct {
	// Number counts from 1.
	Number int    `json:"number"`
	Place  string `json:"place"`
}

// Running returns the running configuration as it is written, without secrets.
func Running(runtime *relay.Runtime) (config.Relay, error) {
	running := runtime.Generation()
	if running == nil {
		return config.Relay{}, relay.ErrNotInService
	}
	settings, err := config.Parse(running.Configuration.Snapshot)
	if err != nil {
		return settings, fmt.Errorf("reading the running configuration: %w", err)
	}
	return settings, nil
}

// Configuration returns the whole configuration that a rehearsal tries. The error for
// what does not fit the running one is *relay.WrongInput.
func (r *Rehearsal) Configuration(runtime *relay.Runtime) (config.Relay, error) {
	if r.Whole {
		return r.Settings, nil
	}
	settings, err := Running(runtime)
	if err != nil {
		return settings, err
	}
	part := r.Settings
	settings.Parameters = withOthers(settings.Parameters, part.Parameters, func(p config.Parameter) string { return p.Name })
	settings.Sources = withOthers(settings.Sources, part.Sources, func(s config.Source) string { return s.Name })
	settings.Actions = withOthers(settings.Actions, part.Actions, func(a config.Action) string { return a.Name })
	at, replaced := len(settings.Rules), 0
	if r.Replace != nil {
		at, replaced = r.Replace.Number-1, 1
		if at < 0 || at >= len(settings.Rules) || settings.Rules[at].Place != r.Replace.Place {
			return settings, relay.Wrong("replace", "rehearsing: rule %d is not at %s any more, because another configuration was loaded: choose the rule once more", r.Replace.Number, r.Replace.Place)
		}
	}
	settings.Rules = slices.Replace(settings.Rules, at, at+replaced, part.Rules...)
	part.Parameters, part.Sources, part.Actions, part.Rules, part.Place = nil, nil, nil, nil, ""
	if text, err := json.Marshal(part); err != nil || string(text) != "{}" {
		return settings, relay.Wrong("text", "rehearsing: a part of a configuration has rules, actions, parameters and sources; put anything else, with the whole, into event_relay { … }")
	}
	return settings, nil
}

// withOthers returns a list in which others take the places of those with their name,
// or are added.
func withOthers[T any](all, others []T, name func(T) string) []T {
	for _, other := range others {
		if at := slices.IndexFunc(all, func(one T) bool { return name(one) == name(other) }); at >= 0 {
			all[at] = other
		} else {
			all = append(all, other)
		}
	}
	return all
}

// Check returns all that is wrong with the configuration that a rehearsal tries.
func (r *Rehearsal) Check(runtime *relay.Runtime) error {
	configuration, err := r.encoded(runtime)
	if err == nil {
		_, err = decider(runtime, configuration)
	}
	return err
}

func (r *Rehearsal) encoded(runtime *relay.Runtime) (json.RawMessage, error) {
	settings, err := r.Configuration(runtime)
	if err != nil {
		return nil, err
	}
	return json.Marshal(settings)
}

// Rehearse decides stored events by a changed configuration, and stores and sends
// nothing: it is Decide with Dry, and finds the same difference. It reads no secret.
// It looks at a bounded number of events, for a bounded time, and says in the result
// if there were more. One runs at a time: the error of a second one is ErrRehearsing.
func Rehearse(ctx context.Context, runtime *relay.Runtime, selection Selection, rehearsal Rehearsal, progress func(Progress)) (Decided, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case rehearsals <- struct{}{}:
		defer func() { <-rehearsals }()
	case <-ctx.Done():
		return newDecided(), fmt.Errorf("rehearsing: %w", ctx.Err())
	case <-timer.C:
		return newDecided(), fmt.Errorf("rehearsing: %w", ErrRehearsing)
	}
	configuration, err := rehearsal.encoded(runtime)
	if err != nil {
		return newDecided(), err
	}
	return Decide(ctx, runtime, selection, DecideOptions{
		Configuration: configuration, Dry: true, most: rehearsalEvents, within: rehearsalTime,
	}, progress)
}
