package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Used is how often an event, a rule or an action was used, without tests and
// duplicates, over restarts and changes of the configuration.
type Used struct {
	// Count is how often: how many events came, for how many of them the rule held,
	// or how many deliveries of the action were made.
	Count int64 `json:"count"`
	// First and Last are when, zero if never.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Since is when a configuration with it was loaded first. What happened before
	// is not counted.
	Since time.Time `json:"since"`
}

// Ended counts the deliveries of an action that ended, without those of tests.
type Ended struct {
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"`
	Expired   int64 `json:"expired"`
}

// Idle says that a rule has never held, although it exists for so long that it
// should be looked at.
type Idle string

const (
	// IdleNotHeld means that events came which the rule names, and that it never held
	// for one.
	IdleNotHeld Idle = "not_held"
	// IdleNoEvent means that no event came which it names.
	IdleNoEvent Idle = "no_event"
)

// A rule is not marked while it is new: a fresh installation would be full of marks.
// Events that come and do not fit tell more than events which do not come.
const (
	idleNotHeldAfter = 24 * time.Hour
	idleNoEventAfter = 7 * 24 * time.Hour
)

// RuleListed is a rule.
type RuleListed struct {
	// ID identifies the rule by what it says; see rules.ID.
	ID          string   `json:"id"`
	Place       string   `json:"place"`
	Description string   `json:"description,omitempty"`
	Inactive    bool     `json:"inactive,omitempty"`
	Events      []string `json:"events"`
	When        []string `json:"when,omitempty"`
	Do          []string `json:"do,omitempty"`
	Ignore      bool     `json:"ignore,omitempty"`
	Reason      string   `json:"reason,omitempty"`
	// Used is how often it held, nil if that is not known. LastEvent is when the last
	// event came that it names, since it exists.
	Used      *Used     `json:"used,omitempty"`
	LastEvent time.Time `json:"last_event,omitzero"`
	Idle      Idle      `json:"idle,omitempty"`
}

// Rules returns the rules in the order of the configuration.
func Rules(ctx context.Context, runtime *relay.Runtime) ([]RuleListed, error) {
	generation := runtime.Generation()
	if generation == nil {
		return nil, relay.ErrNotInService
	}
	return listRules(generation, usesNow(ctx, runtime), relay.Now(runtime)), nil
}

// counted are the uses of all things, nil if they are not known.
type counted map[queue.Thing]*queue.Use

// usesNow reads the uses. Without them lists are shown all the same: they are most
// needed when something is wrong with the queue.
func usesNow(ctx context.Context, runtime *relay.Runtime) counted {
	list, err := runtime.Store().Uses(ctx)
	if err != nil {
		return nil
	}
	all := make(counted, len(list))
	for i := range list {
		all[queue.Thing{Kind: list[i].Kind, Name: list[i].Name}] = &list[i]
	}
	return all
}

// of returns the uses of a thing, nil if they are not known.
func (u counted) of(kind queue.ThingKind, name string) *Used {
	use := u[queue.Thing{Kind: kind, Name: name}]
	if use == nil {
		return nil
	}
	return &Used{Count: use.Count, First: use.First, Last: use.Last, Since: use.Since}
}

// ended returns how the deliveries of an action ended, nil if that is not known.
func (u counted) ended(action string) *Ended {
	use := u[queue.Thing{Kind: queue.ActionThing, Name: action}]
	if use == nil {
		return nil
	}
	return &Ended{use.Delivered, use.Failed, use.Expired}
}

func listRules(g *relay.Generation, uses counted, now time.Time) []RuleListed {
	written := g.Ruleset.Rules()
	list := make([]RuleListed, len(written))
	for i := range written {
		list[i] = listRule(&written[i], uses)
	}
	for _, event := range g.Ruleset.ByEvent() {
		came := uses.of(queue.EventThing, event.Source+":"+event.Event)
		for _, i := range event.Rules {
			if rule := &list[i]; came != nil && rule.Used != nil && came.Last.After(rule.Used.Since) && came.Last.After(rule.LastEvent) {
				rule.LastEvent = came.Last
			}
		}
	}
	for i := range list {
		list[i].Idle = list[i].idle(now)
	}
	return list
}

func listRule(rule *config.Rule, uses counted) RuleListed {
	listed := RuleListed{
		ID: rules.ID(*rule), Place: rule.Place, Description: rule.Description, Inactive: rule.Disabled,
		Events: rule.Events, When: rule.When, Do: rule.Do, Ignore: rule.Ignore, Reason: rule.Reason,
	}
	listed.Used = uses.of(queue.RuleThing, listed.ID)
	return listed
}

func (r *RuleListed) idle(now time.Time) Idle {
	switch {
	case r.Inactive || r.Used == nil || r.Used.Count > 0:
		return ""
	case !r.LastEvent.IsZero() && now.Sub(r.Used.Since) >= idleNotHeldAfter:
		return IdleNotHeld
	case r.LastEvent.IsZero() && now.Sub(r.Used.Since) >= idleNoEventAfter:
		return IdleNoEvent
	}
	return ""
}

// noteIdle names the rules that have never held since they exist.
func noteIdle(ctx context.Context, runtime *relay.Runtime, g *relay.Generation, now time.Time) (notes []string, err error) {
	byEvent := g.Ruleset.ByEvent()
	for i, rule := range listRules(g, usesNow(ctx, runtime), now) {
		if rule.Idle == "" {
			continue
		}
		since := rule.Used.Since.In(g.Configuration.Zone).Format(toTheMinute)
		if rule.Idle == IdleNoEvent {
			notes = append(notes, fmt.Sprintf("rule %s: it never held since it was loaded on %s, because no event of its came (%s); see that the sender posts such events, or remove the rule",
				rule.Place, since, strings.Join(rule.Events, ", ")))
			continue
		}
		note := fmt.Sprintf("rule %s: it never held since it was loaded on %s, and events of its came, the last on %s",
			rule.Place, since, rule.LastEvent.In(g.Configuration.Zone).Format(toTheMinute))
		id, err := newestOf(ctx, runtime, byEvent, i)
		if err != nil {
			return nil, err
		}
		if id != "" {
			note += "; to see which condition does not hold: " + names.Command("explain "+id)
		}
		notes = append(notes, note)
	}
	return notes, nil
}

const toTheMinute = "2006-01-02 15:04"

// newestOf returns the id of the newest stored event that a rule names, empty
// without one.
func newestOf(ctx context.Context, runtime *relay.Runtime, byEvent []rules.EventRules, rule int) (id string, err error) {
	var newest time.Time
	for _, event := range byEvent {
		if !slices.Contains(event.Rules, rule) {
			continue
		}
		page, err := runtime.Store().Page(ctx, queue.Filter{Source: event.Source, Event: event.Event}, queue.NewestFirst, "", 1)
		if err != nil {
			return "", fmt.Errorf("looking for the newest event of a rule: %w", err)
		}
		if len(page.Events) > 0 && page.Events[0].Received.After(newest) {
			id, newest = page.Events[0].ID, page.Events[0].Received
		}
	}
	return id, nil
}
