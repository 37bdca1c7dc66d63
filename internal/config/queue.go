package config

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Queue says where events and unfinished deliveries are kept.
type Queue struct {
	// The engine: `sqlite`, a database in a directory of this machine, or
	// `postgres`, a schema in a PostgreSQL database that several machines can share.
	// Default: `sqlite`.
	Engine string `json:"engine,omitempty"`

	// The directory of the database of `sqlite`. It is created if it does not exist,
	// and must not be on a network file system. It may be a placeholder such as
	// `{env.RELAY_DIR}`. Default: `event_relay` in Caddy's data directory.
	Directory string `json:"directory,omitempty"`

	// How `postgres` is reached: a URL such as
	// `postgres://USER:PASSWORD@HOST1,HOST2/DATABASE?target_session_attrs=read-write`,
	// or pairs such as `host=HOST user=USER dbname=DATABASE`, with whatever libpq
	// knows. It is a secret, and may be wholly `{env.NAME}` or `{file./path}`, which
	// is read when the configuration is loaded.
	DSN string `json:"dsn,omitempty"`

	// The schema of the database that holds the queue of `postgres`. It is created if
	// the user may. Machines with the same schema share one queue. Default:
	// `event_relay`.
	Schema string `json:"schema,omitempty"`

	// The name of this machine among those that share the queue of `postgres`. It may
	// hold placeholders. Default: `{system.hostname}`.
	Node string `json:"node,omitempty"`

	// How long after the last sign of life of a machine the others take over what it
	// was about to deliver from `postgres`, 5 seconds or more. Default: `30s`.
	Lease Duration `json:"lease,omitempty"`

	// How many connections this machine has to `postgres` at most, 4 or more.
	// Default: `8`.
	Connections int `json:"connections,omitempty"`

	// Whether this machine only receives events and leaves all deliveries to others
	// that share the queue of `postgres`. Default: `false`.
	ReceiveOnly bool `json:"receive_only,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. The Caddyfile adapter
	// sets it so that messages can name the place. Default: empty.
	Place string `json:"place,omitempty"`
}

// The engines that a queue can have.
const (
	QueueSQLite   = "sqlite"
	QueuePostgres = "postgres"
)

// QueueEngines are their names.
var QueueEngines = []string{QueueSQLite, QueuePostgres}

// ErrNoDSN says that a queue in a database server does not say which.
var ErrNoDSN = errors.New("queue postgres needs a DSN: how the database is reached, as in `queue postgres {env.RELAY_DB}`")

// Check finds what the parser of the Caddyfile refuses. What the values of a DSN, a
// schema or a number may be is left to the engine.
func (q *Queue) Check() error {
	given := []given{{"directory", q.Directory != ""}, {"dsn", q.DSN != ""}, {"schema", q.Schema != ""}, {"node", q.Node != ""},
		{"lease", q.Lease != 0}, {"connections", q.Connections != 0}, {"receive_only", q.ReceiveOnly}}
	switch engine := cmp.Or(q.Engine, QueueSQLite); engine {
	case QueueSQLite:
		return refuseOthers("queue sqlite", []string{"directory"}, given...)
	case QueuePostgres:
		if err := refuseOthers("queue postgres", []string{"dsn", "schema", "node", "lease", "connections", "receive_only"}, given...); err != nil {
			return err
		}
	default:
		return names.Unknown("queue kind", engine, QueueEngines, "")
	}
	if q.DSN == "" {
		return ErrNoDSN
	}
	if err := CheckValue(q.DSN); err != nil {
		return fmt.Errorf("reading the DSN of the queue: %w", err)
	}
	return errors.Join(checkSign("the lease of the queue", time.Duration(q.Lease)), checkSign("the connections of the queue", q.Connections))
}
