package relay

import (
	"context"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// exist tells the queue what a generation has, so that its uses are counted. It is
// called before the generation decides anything, or its first events would not count.
// What fails is tried again each minute. The caller holds the mutex.
func (r *Runtime) exist(generation *Generation) error {
	ctx, cancel := context.WithTimeout(r.life, noteWithin)
	defer cancel()
	err := r.engine.Exist(ctx, things(generation))
	r.existing = err == nil
	return err
}

const notExisting = "noting which rules, actions and events there are; new ones are not counted until it succeeds"

// begin calls exist before a generation is the newest.
func (r *Runtime) begin(generation *Generation) {
	if err := r.exist(generation); err != nil {
		r.logger.Error(notExisting, zap.Error(err))
	}
}

// existAgain tells the queue what the newest generation has, if that failed.
func (r *Runtime) existAgain(context.Context) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if generation := r.newest.Load(); generation != nil && !r.existing {
		return r.exist(generation)
	}
	return nil
}

// things are the events, rules and actions of a generation.
func things(g *Generation) []queue.Thing {
	var all []queue.Thing
	places := map[string]string{}
	for _, source := range g.Configuration.Sources {
		places[source.Name] = source.Place
	}
	for _, event := range g.Ruleset.ByEvent() {
		all = append(all, queue.Thing{Kind: queue.EventThing, Name: event.Source + ":" + event.Event, Place: places[event.Source]})
	}
	for _, rule := range g.Ruleset.Rules() {
		all = append(all, queue.Thing{Kind: queue.RuleThing, Name: rules.ID(rule), Place: rule.Place})
	}
	for _, action := range g.Configuration.Actions {
		all = append(all, queue.Thing{Kind: queue.ActionThing, Name: action.Name, Place: action.Place})
	}
	return all
}
