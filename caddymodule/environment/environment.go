// Package environment is what a configuration takes from where Caddy runs: the values
// of Caddy's placeholders, and its data directory.
package environment

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// LookUp returns a text with the values of Caddy's placeholders in their places. A
// placeholder that is unknown or empty is an error. It is a resolve.Lookup.
func LookUp(text string) (string, error) {
	return caddy.NewReplacer().ReplaceOrErr(text, true, true)
}

// Queue returns where the queue of a relay is. It opens nothing. Its error holds
// nothing of a DSN.
func Queue(settings *config.Relay) (queue.Store, error) {
	if settings.Queue != nil && settings.Queue.Engine == config.QueuePostgres {
		store, err := postgresStore(settings.Queue)
		var wrong config.Findings
		wrong.Add(cmp.Or(settings.Queue.Place, settings.Place), err)
		return store, wrong.Err()
	}
	directory, err := QueueDirectory(settings)
	if err != nil {
		return nil, err
	}
	return sqlite.Store{Dir: directory}, nil
}

// postgresStore reads what a queue in PostgreSQL takes from the environment.
func postgresStore(q *config.Queue) (queue.Store, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	dsn := q.DSN
	if secret.IsReference(dsn) {
		var err error
		if dsn, err = LookUp(dsn); err != nil || strings.TrimSpace(dsn) == "" {
			return nil, fmt.Errorf("reading the DSN of the queue: %s is empty; %s", q.DSN, resolve.EmptyText(q.DSN))
		}
	}
	node, err := LookUp(cmp.Or(q.Node, defaultNode))
	if err != nil {
		return nil, fmt.Errorf("reading the node of the queue, %q: %w", q.Node, err)
	}
	store := postgres.Store{
		DSN: strings.TrimSpace(dsn), Schema: q.Schema, Node: node, Lease: time.Duration(q.Lease), Connections: q.Connections, ReceiveOnly: q.ReceiveOnly,
	}
	if err := store.Check(); err != nil {
		return nil, fmt.Errorf("reading the settings of the queue: %w", err)
	}
	return store, nil
}

// defaultNode is the name of a machine among those that share a queue.
const defaultNode = "{system.hostname}"

// QueueDirectory returns the absolute directory of the queue of a relay, which must be
// one of SQLite. It is absolute so that one directory has one name, from wherever Caddy was started.
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
