package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// ActionListed is a configured action. Secrets are masked.
type ActionListed struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Place       string `json:"place,omitempty"`
	// Method and URL are MAIL and the server of an action that sends a mail.
	Method string `json:"method"`
	URL    string `json:"url"`
	// Targets are the scheme, host and port that it can call.
	Targets []string `json:"targets"`
	// UsedBy are the places of the rules that name it. An action without one is
	// unused.
	UsedBy []string `json:"used_by"`
	// Settings are its delivery settings as the Caddyfile has them, in the
	// order of the manual, defaults too.
	Settings [][2]string       `json:"settings"`
	Backlog  *queue.Backlog    `json:"backlog,omitempty"`
	Switch   *queue.Switch     `json:"switch,omitempty"`
	Down     *relay.TargetDown `json:"down,omitempty"`
	// Used is how many deliveries of it were made, and Ended how they ended, nil if
	// that is not known.
	Used  *Used  `json:"used,omitempty"`
	Ended *Ended `json:"ended,omitempty"`
}

// Actions returns the configured actions, in the order of the configuration.
func Actions(ctx context.Context, runtime *relay.Runtime) ([]ActionListed, error) {
	generation := runtime.Generation()
	if generation == nil {
		return nil, relay.ErrNotInService
	}
	backlog, err := runtime.Store().Backlog(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the backlog of the actions: %w", err)
	}
	waiting := make(map[string]*queue.Backlog, len(backlog))
	for i := range backlog {
		waiting[backlog[i].Action] = &backlog[i]
	}
	down := runtime.State().Down
	uses := usesNow(ctx, runtime)
	off := switchesOf(runtime.Switches())
	actions := make([]ActionListed, len(generation.Actions))
	for i, prepared := range generation.Actions {
		action := prepared.Action()
		listed := ActionListed{
			Name: action.Name, Description: action.Description, Place: action.Place,
			Targets: prepared.Targets(),
			UsedBy:  rulesDoing(generation, action.Name), Settings: settingsOf(generation, action),
			Backlog: waiting[action.Name], Switch: off[switchKey{queue.SwitchAction, action.Name}],
			Used: uses.of(queue.ActionThing, action.Name), Ended: uses.ended(action.Name),
		}
		listed.Method, listed.URL = action.Call()
		listed.URL = shownURL(generation, listed.URL)
		if i := slices.IndexFunc(down, func(d relay.TargetDown) bool { return slices.ContainsFunc(listed.Targets, d.Is) }); i >= 0 {
			listed.Down = &down[i]
		}
		actions[i] = listed
	}
	return actions, nil
}

// WrittenAction is an action as a Caddyfile says it: query, headers and body with
// their templates. Secrets are masked.
type WrittenAction struct {
	Action    string `json:"action"`
	Caddyfile string `json:"caddyfile"`
	// Lacking says what a Caddyfile cannot say of the action, empty if it says all.
	Lacking string `json:"lacking,omitempty"`
}

// Written returns an action as a Caddyfile says it. It wraps queue.ErrNotFound.
func Written(runtime *relay.Runtime, action string) (WrittenAction, error) {
	fail := func(err error) (WrittenAction, error) {
		return WrittenAction{}, fmt.Errorf("writing action %s as a Caddyfile says it: %w", action, err)
	}
	generation := runtime.Generation()
	if generation == nil {
		return WrittenAction{}, relay.ErrNotInService
	}
	if generation.Action(action) == nil {
		return fail(noAction(generation, action))
	}
	// The snapshot has no secrets.
	var settings config.Relay
	if err := json.Unmarshal(generation.Configuration.Snapshot, &settings); err != nil {
		return fail(err)
	}
	at := slices.IndexFunc(settings.Actions, func(a config.Action) bool { return a.Name == action })
	if at < 0 {
		return fail(queue.ErrNotFound)
	}
	text, err := printer.Actions(nil, settings.Actions[at:at+1])
	written := WrittenAction{Action: action, Caddyfile: strings.TrimSpace(text) + "\n"}
	if err != nil {
		written.Lacking = err.Error()
	}
	return written, nil
}

// noAction says that there is no action of a name, and which one is near.
func noAction(g *relay.Generation, action string) error {
	known := slices.Sorted(slices.Values(g.ActionNames()))
	return fmt.Errorf("there is no such action%s: %w", names.DidYouMean(names.Nearest(action, known)), queue.ErrNotFound)
}

// shownURL returns the template of a URL without what proves anything.
func shownURL(g *relay.Generation, url string) string {
	return g.Mask(secret.URL(url))
}

// rulesDoing returns the places of the rules that name an action.
func rulesDoing(g *relay.Generation, action string) []string {
	places := []string{}
	for _, rule := range g.Ruleset.Rules() {
		if slices.Contains(rule.Do, action) {
			places = append(places, rule.Place)
		}
	}
	return places
}

// settingsOf returns the delivery settings of an action.
func settingsOf(g *relay.Generation, action config.Action) [][2]string {
	var settings [][2]string
	if mail := action.Mail; mail != nil {
		settings = append(settings, [2]string{"starttls", string(mail.StartTLS)})
		if len(mail.Recipients) > 0 {
			settings = append(settings, [2]string{"recipients", strings.Join(mail.Recipients, " ")})
		}
	}
	for _, setting := range config.DeliverySettings {
		if setting.OfRequests && action.Mail != nil {
			continue
		}
		// What a Caddyfile cannot say is shown all the same.
		arguments, _ := setting.Arguments(&action)
		text := strings.Join(arguments, " ")
		switch {
		case arguments == nil && setting.Without == "":
			continue
		case arguments == nil:
			text = setting.Without
		case setting.Secret:
			text = strings.TrimSpace(strings.Repeat("*** ", len(arguments)))
		case len(arguments) == 0:
			text = "on"
		}
		settings = append(settings, [2]string{setting.Name, g.Mask(text)})
	}
	return settings
}
