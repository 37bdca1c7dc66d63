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

// queueKey identifies a queue, whatever its settings and however its directory
// is written. The directory need not exist yet: what does is resolved, so that
// the key stays the same once the rest has been made.
func queueKey(directory string) string {
	rest := ""
	for existing := directory; ; existing = filepath.Dir(existing) {
		if resolved, err := filepath.EvalSymlinks(existing); err == nil {
			return "sqlite:" + filepath.Join(resolved, rest)
		}
		if existing == filepath.Dir(existing) {
			return "sqlite:" + directory
		}
		rest = filepath.Join(filepath.Base(existing), rest)
	}
}
