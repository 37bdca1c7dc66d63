package relay

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
	Settings [][2]string    `json:"settings"`
	Backlog  *queue.Backlog `json:"backlog,omitempty"`
	Switch   *queue.Switch  `json:"switch,omitempty"`
	Down     *TargetDown    `json:"down,omitempty"`
}

// Actions returns the configured actions, in the order of the configuration.
func (r *Runtime) Actions(ctx context.Context) ([]ActionListed, error) {
	generation := r.newest.Load()
	if generation == nil {
		return nil, ErrNotInService
	}
	backlog, err := r.engine.Backlog(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the backlog of the actions: %w", err)
	}
	waiting := make(map[string]*queue.Backlog, len(backlog))
	for i := range backlog {
		waiting[backlog[i].Action] = &backlog[i]
	}
	down := map[string]*TargetDown{}
	for _, target := range r.watch.down(generation) {
		down[withPort(target.Target)] = &target
	}
	off := switchesOf(r.Switches())
	actions := make([]ActionListed, len(generation.Actions))
	for i, prepared := range generation.Actions {
		action := prepared.Action()
		listed := ActionListed{
			Name: action.Name, Description: action.Description, Place: action.Place,
			Method: action.Method, URL: generation.shownURL(action.URL), Targets: prepared.Targets(),
			UsedBy: generation.rulesDoing(action.Name), Settings: generation.settingsOf(action),
			Backlog: waiting[action.Name], Switch: off[switchKey{queue.SwitchAction, action.Name}],
		}
		for _, target := range listed.Targets {
			if listed.Down == nil {
				listed.Down = down[withPort(target)]
			}
		}
		actions[i] = listed
	}
	return actions, nil
}

// userInURL is user and password in a URL.
var userInURL = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#]*@`)

// shownURL returns the template of a URL without what proves anything.
func (g *Generation) shownURL(url string) string {
	return g.Mask(userInURL.ReplaceAllString(url, "${1}***@"))
}

// rulesDoing returns the places of the rules that name an action.
func (g *Generation) rulesDoing(action string) []string {
	places := []string{}
	for _, rule := range g.Ruleset.Rules() {
		if slices.Contains(rule.Do, action) {
			places = append(places, rule.Place)
		}
	}
	return places
}

// settingsOf returns the delivery settings of an action.
func (g *Generation) settingsOf(action forward.Action) [][2]string {
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
