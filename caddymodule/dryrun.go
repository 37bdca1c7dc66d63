package caddymodule

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// maskedKey stands in place of a secret that must be base64.
const maskedKey = "whsec_Kioq"

// compileForDryRuns compiles the JSON of an app, such as a snapshot, to find out
// what it would do. It reads no secret from the environment and no file, and
// logs nothing: the person who asks may not be allowed to see secrets, and an old
// configuration names files that are gone. Secrets are *** in it.
func compileForDryRuns(text json.RawMessage) (*relay.Generation, error) {
	generation, err := compileWithout(text, secret.Masked)
	if err == nil {
		return generation, nil
	}
	// What is not known may have to be a number, such as a port. If that does not
	// help, it was not the reason.
	if other, failed := compileWithout(text, maskedNumber); failed == nil {
		return other, nil
	}
	return nil, err
}

// maskedNumber stands in place of a secret that must be a number. It is shown as
// *** all the same.
const maskedNumber = "9999"

// compileWithout compiles the JSON of an app with a text in place of each secret.
func compileWithout(text json.RawMessage, unknown string) (*relay.Generation, error) {
	app := new(App)
	if err := caddy.StrictUnmarshalJSON(text, app); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	app.logger = zap.NewNop()
	app.dry = newDryRun(app)
	app.dry.unknown = unknown
	configuration, err := app.configuration()
	if err != nil {
		return nil, err
	}
	return relay.Compile(configuration)
}

// dryRun is what there is to know for the dry run of a configuration.
type dryRun struct {
	// unknown stands in place of what is not known.
	unknown string

	// beginURLs are the parameters with which the URL of an action begins. Where
	// such a value is not known, it still has to be a URL.
	beginURLs map[string]bool
}

// leadingTag finds the parameter that a URL begins with.
var leadingTag = regexp.MustCompile(`^\s*\{\{\s*([\pL_][\pL\pN_]*)\s*\}\}`)

func newDryRun(app *App) *dryRun {
	d := &dryRun{beginURLs: make(map[string]bool)}
	parameters := make(map[string]*config.Parameter, len(app.Parameters))
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

// value returns what stands for the value of a parameter, and whether that is not
// known.
func (d *dryRun) value(parameter, value string) (standIn string, unknown bool) {
	switch {
	case strings.HasPrefix(value, secret.Masked) && d.beginURLs[parameter]:
		return "http://" + value, value == secret.Masked
	case value == secret.Masked:
		return d.unknown, true
	}
	return value, false
}
