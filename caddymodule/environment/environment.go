// Package environment is what a configuration takes from where Caddy runs: the values
// of Caddy's placeholders, and its data directory.
package environment

import (
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

// LookUp returns a text with the values of Caddy's placeholders in their places. A
// placeholder that is unknown or empty is an error. It is a resolve.Lookup.
func LookUp(text string) (string, error) {
	return caddy.NewReplacer().ReplaceOrErr(text, true, true)
}

// Queue returns where the queue of a relay is. It opens nothing.
func Queue(settings *config.Relay) (queue.Store, error) {
	directory, err := QueueDirectory(settings)
	if err != nil {
		return nil, err
	}
	return sqlite.Store{Dir: directory}, nil
}

// QueueDirectory returns the absolute directory of the queue of a relay. It is
// absolute so that one directory has one name, from wherever Caddy was started.
func QueueDirectory(settings *config.Relay) (string, error) {
	directory := filepath.Join(caddy.AppDataDir(), "event_relay")
	if settings.Queue != nil && settings.Queue.Directory != "" {
		resolved, err := LookUp(settings.Queue.Directory)
		if err != nil {
			return "", fmt.Errorf("reading the queue's directory %q: %w", settings.Queue.Directory, err)
		}
		directory = resolved
	}
	absolute, err := filepath.Abs(directory)
	if err != nil {
		return "", fmt.Errorf("finding the queue's directory %q: %w", directory, err)
	}
	return absolute, nil
}
