package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// Turned is a switch after it was turned. If that turned it on, Meanwhile says what
// gathered while it was off.
type Turned struct {
	queue.Switch
	Meanwhile *Meanwhile `json:"meanwhile,omitempty"`
}

// Meanwhile is what gathered while something was switched off.
type Meanwhile struct {
	// Events counts the events that were left alone, with the verdict disabled, but for
	// tests.
	// More says that there are more than were counted.
	Events int  `json:"events"`
	More   bool `json:"more,omitempty"`
	// Decide is the command line that decides them, empty if there are none.
	Decide string `json:"decide,omitempty"`
	// Filter chooses them, with the keys of the API.
	Filter map[string]string `json:"filter,omitempty"`
	// Deliveries counts those that waited and go out now.
	Deliveries int `json:"deliveries"`
	// Expires says that some of them are of actions with expires: those that are too
	// old end as expired.
	Expires bool `json:"expires,omitempty"`
}

// Counting what came meanwhile ends at so many events, or after a time: the switch is
// turned already, and its caller waits for the answer.
const (
	mostMeanwhile = 20_000
	countFor      = 3 * time.Second
)

// Turn turns a switch as Runtime.Turn does, and says what gathered while it was off.
// That it cannot be counted is no error: the switch is turned.
func Turn(ctx context.Context, runtime *relay.Runtime, s queue.Switch, during time.Duration) (Turned, error) {
	before := slices.Clone(runtime.Switches())
	// What waits is read before the switch is turned: after that it goes out, and what is
	// fast would be missing. For the switch of an event no delivery waits.
	var waiting []queue.Backlog
	var uncounted error
	if !s.Off && s.Kind != queue.SwitchEvent {
		waiting, uncounted = runtime.Store().Backlog(ctx)
	}
	now, err := runtime.Turn(ctx, s, during)
	turned := Turned{Switch: now}
	if err != nil || now.Off {
		return turned, err
	}
	was := slices.IndexFunc(before, func(b queue.Switch) bool { return b.Kind == now.Kind && b.Name == now.Name })
	if was < 0 {
		return turned, nil
	}
	if uncounted == nil {
		turned.Meanwhile, uncounted = meanwhile(ctx, runtime, before[was], waiting)
	}
	if uncounted != nil {
		runtime.Logger().Warn("counting what gathered while something was switched off: " + uncounted.Error())
		turned.Meanwhile = nil
	}
	return turned, nil
}

// meanwhile counts what gathered while a switch was off: the deliveries that waited for
// it, of all that were waiting when it was turned on, and the events.
func meanwhile(ctx context.Context, runtime *relay.Runtime, was queue.Switch, waiting []queue.Backlog) (*Meanwhile, error) {
	m := &Meanwhile{}
	for _, line := range waiting {
		if (was.Kind == queue.SwitchAll || line.Action == was.Name) && relay.HeldBy(runtime, line.Action) == nil {
			m.Deliveries += line.Count
			m.Expires = m.Expires || expires(runtime, line.Action)
		}
	}
	if was.Kind == queue.SwitchAction {
		return m, nil
	}
	since := was.Since.UTC().Truncate(time.Second)
	filter := queue.Filter{Since: since, Decision: rules.Disabled}
	m.Filter = map[string]string{"since": since.Format(time.RFC3339), "verdict": string(rules.Disabled)}
	command := names.Command(fmt.Sprintf("decide --since %s --verdict %s", m.Filter["since"], rules.Disabled))
	if was.Kind == queue.SwitchEvent {
		filter.Source, filter.Event, _ = strings.Cut(was.Name, ":")
		m.Filter["source"], m.Filter["event"] = filter.Source, filter.Event
		command += " --source " + quoted(filter.Source) + " --event " + quoted(filter.Event)
	}
	for after, end := queue.Cursor(""), time.Now().Add(countFor); ; {
		page, err := runtime.Store().Page(ctx, filter, queue.NewestFirst, after, 1000)
		if err != nil {
			return nil, err
		}
		for i := range page.Events {
			if !page.Events[i].Test {
				m.Events++
			}
		}
		if after = page.Next; after == "" {
			break
		}
		if m.Events >= mostMeanwhile || time.Now().After(end) {
			m.More = true
			break
		}
	}
	if m.Events > 0 || m.More {
		m.Decide = command
	} else {
		m.Filter = nil
	}
	return m, nil
}

// expires reports whether deliveries of an action can expire.
func expires(runtime *relay.Runtime, action string) bool {
	generation := runtime.Generation()
	if generation == nil {
		return false
	}
	configured := generation.Action(action)
	return configured != nil && configured.Action().Expires > 0
}

// quoted returns a word as a shell takes it.
func quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:/", r))
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
