package caddymodule

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// maskedKey stands in place of a secret that must be base64.
const maskedKey = "whsec_Kioq"

// compileForDryRuns compiles the JSON of an app, such as a snapshot, to find out
// what it would do. It reads no secret from the environment and no file, and
// logs nothing: whoever asks need not be who may see them, and a configuration
// of last year names what is gone. Secrets are *** in it.
func compileForDryRuns(text json.RawMessage) (*relay.Generation, error) {
	app := new(App)
	if err := caddy.StrictUnmarshalJSON(text, app); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	app.logger = zap.NewNop()
	app.dry = true
	configuration, err := app.configuration()
	if err != nil {
		return nil, err
	}
	return relay.Compile(configuration)
}

// leadingTag finds the parameter that a URL begins with.
var leadingTag = regexp.MustCompile(`^\s*\{\{\s*([\pL_][\pL\pN_]*)\s*\}\}`)

// beginsURL reports whether the URL of an action begins with a parameter, or
// with one that does.
func (a *App) beginsURL(parameter string) bool {
	var begins []string
	seen := make(map[string]bool)
	note := func(text string) {
		if found := leadingTag.FindStringSubmatch(text); found != nil && !seen[found[1]] {
			seen[found[1]] = true
			begins = append(begins, found[1])
		}
	}
	for i := range a.Actions {
		note(a.Actions[i].URL)
	}
	for len(begins) > 0 {
		name := begins[0]
		begins = begins[1:]
		for _, p := range a.Parameters {
			if p.Name == name {
				note(p.Value)
				for _, value := range p.Tenants {
					note(value)
				}
			}
		}
	}
	return seen[parameter]
}
