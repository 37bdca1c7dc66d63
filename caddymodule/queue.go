package caddymodule

import (
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
)

// queueDirectory returns the absolute directory of the queue. It is absolute so
// that one directory has one name, from wherever Caddy was started.
func (a *App) queueDirectory() (string, error) {
	directory := filepath.Join(caddy.AppDataDir(), "event_relay")
	if a.Queue != nil && a.Queue.Directory != "" {
		resolved, err := caddy.NewReplacer().ReplaceOrErr(a.Queue.Directory, true, true)
		if err != nil {
			return "", fmt.Errorf("reading the queue's directory %q: %w", a.Queue.Directory, err)
		}
		directory = resolved
	}
	absolute, err := filepath.Abs(directory)
	if err != nil {
		return "", fmt.Errorf("finding the queue's directory %q: %w", directory, err)
	}
	return absolute, nil
}
