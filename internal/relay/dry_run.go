package relay

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// DryRun compiles another configuration in JSON, such as a snapshot, to find out what
// it would do in place of this one. It reads no secret and no file, and logs nothing;
// secrets are *** in it.
func (g *Generation) DryRun(text json.RawMessage) (*Generation, error) {
	settings, err := config.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var first error
	for _, standIn := range resolve.StandIns {
		resolved, err := resolve.DryRun(settings, standIn)
		if err == nil {
			configuration := configurationOf(&resolved)
			configuration.Version = g.Configuration.Version
			var dry *Generation
			if dry, err = Compile(configuration); err == nil {
				return dry, nil
			}
		}
		// If another stand-in does not help either, it was not the reason.
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// At returns the generation for dry runs at another time: requests are received then,
// and now() is then.
func (g *Generation) At(at time.Time) (*Generation, error) {
	configuration := g.Configuration
	configuration.At = at
	return Compile(configuration)
}
