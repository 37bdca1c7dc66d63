package inspect

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// ActionListed is a configured action. Secrets are masked.
type ActionListed struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Place       string `json:"place,omitempty"`
	Method      string `json:"method"`
	URL         string `json:"url"`
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
	off := switchesOf(runtime.Switches())
	actions := make([]ActionListed, len(generation.Actions))
	for i, prepared := range generation.Actions {
		action := prepared.Action()
		listed := ActionListed{
			Name: action.Name, Description: action.Description, Place: action.Place,
			Method: action.Method, URL: shownURL(generation, action.URL), Targets: prepared.Targets(),
			UsedBy: rulesDoing(generation, action.Name), Settings: settingsOf(generation, action),
			Backlog: waiting[action.Name], Switch: off[switchKey{queue.SwitchAction, action.Name}],
		}
		if i := slices.IndexFunc(down, func(d relay.TargetDown) bool { return slices.ContainsFunc(listed.Targets, d.Is) }); i >= 0 {
			listed.Down = &down[i]
		}
		actions[i] = listed
	}
	return actions, nil
}

// userInURL is user and password in a URL.
var userInURL = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#]*@`)

// shownURL returns the template of a URL without what proves anything.
func shownURL(g *relay.Generation, url string) string {
	return g.Mask(userInURL.ReplaceAllString(url, "${1}***@"))
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
func settingsOf(g *relay.Generation, action forward.Action) [][2]string {
	settings := [][2]string{
		{"timeout", durationText(action.Timeout)},
		{"success", strings.Join(action.Success, " ")},
		{"retry_for", durationText(action.RetryFor)},
		{"retry_interval", durationText(action.RetryFirst) + " " + durationText(action.RetryCap)},
		{"concurrency", strconv.Itoa(action.Concurrency)},
		{"rate", "no bound"},
		{"expires", "never"},
		{"order_by", "in any order"},
		{"sign", "not signed"},
	}
	set := func(name, value string) {
		i := slices.IndexFunc(settings, func(s [2]string) bool { return s[0] == name })
		settings[i][1] = value
	}
	if action.RetryFor < 0 {
		set("retry_for", "off")
	}
	if rate := action.Rate; rate.Count > 0 {
		per := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[rate.Per]
		if per == "" {
			per = durationText(rate.Per)
		}
		set("rate", fmt.Sprintf("%d/%s", rate.Count, per))
	}
	if action.Expires > 0 {
		set("expires", durationText(action.Expires))
	}
	if action.OrderBy != "" {
		set("order_by", g.Mask(action.OrderBy))
	}
	if len(action.Sign) > 0 {
		set("sign", strings.TrimSpace(strings.Repeat("*** ", len(action.Sign))))
	}
	if tls := action.TLS; tls != nil {
		if len(tls.CAFiles) > 0 {
			settings = append(settings, [2]string{"tls_trust_pool", "file " + strings.Join(tls.CAFiles, " ")})
		}
		if tls.ClientCertificateFile != "" {
			settings = append(settings, [2]string{"tls_client_auth", tls.ClientCertificateFile + " " + tls.ClientKeyFile})
		}
		if tls.ServerName != "" {
			settings = append(settings, [2]string{"tls_server_name", tls.ServerName})
		}
		if len(tls.Pins) > 0 {
			settings = append(settings, [2]string{"tls_pin", strings.Join(tls.Pins, " ")})
		}
		if tls.ProtocolMin != "" || tls.ProtocolMax != "" {
			settings = append(settings, [2]string{"tls_protocols", strings.TrimSpace(tls.ProtocolMin + " " + tls.ProtocolMax)})
		}
		if tls.InsecureSkipVerify {
			settings = append(settings, [2]string{"tls_insecure_skip_verify", "on"})
		}
	}
	return settings
}

// durationText writes a duration as people do: 24h and not 24h0m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
