package caddymodule

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

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
	app.dry = newDryRun(app)
	configuration, err := app.configuration()
	if err != nil {
		return nil, err
	}
	return relay.Compile(configuration)
}

// dryRun is what there is to know for the dry run of a configuration.
type dryRun struct {
	// beginURLs are the parameters with which the URL of an action begins. Where
	// such a value is not known, it still has to be a URL.
	beginURLs map[string]bool
}

// leadingTag finds the parameter that a URL begins with.
var leadingTag = regexp.MustCompile(`^\s*\{\{\s*([\pL_][\pL\pN_]*)\s*\}\}`)

func newDryRun(app *App) *dryRun {
	d := &dryRun{beginURLs: make(map[string]bool)}
	parameters := make(map[string]*Parameter, len(app.Parameters))
	for i := range app.Parameters {
		parameters[app.Parameters[i].Name] = &app.Parameters[i]
	}
	var found []string
	note := func(text string) {
		if leading := leadingTag.FindStringSubmatch(text); leading != nil && !d.beginURLs[leading[1]] {
			d.beginURLs[leading[1]] = true
			found = append(found, leading[1])
		}
	}
	for i := range app.Actions {
		note(app.Actions[i].URL)
	}
	// A parameter may itself begin with another.
	for len(found) > 0 {
		parameter := parameters[found[0]]
		found = found[1:]
		if parameter == nil {
			continue
		}
		note(parameter.Value)
		for _, value := range parameter.Tenants {
			note(value)
		}
	}
	return d
}

// value returns what stands for the value of a parameter that may be masked.
func (d *dryRun) value(parameter, value string) string {
	if strings.HasPrefix(value, masked) && d.beginURLs[parameter] {
		return "http://" + value
	}
	return value
}
