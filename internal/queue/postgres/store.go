package postgres

import (
	"cmp"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Store is a schema in a database that holds a queue, or will. It implements
// queue.Store. Its fields mean what they mean in Options.
type Store struct {
	DSN         string
	Schema      string
	Node        string
	Lease       time.Duration
	Connections int
	ReceiveOnly bool
}

// Check returns what is wrong with the fields, as far as that can be told without
// connecting. The error wraps queue.ErrMisconfigured and holds nothing of the DSN.
func (s Store) Check() error {
	_, err := s.options().poolConfig()
	return err
}

func (s Store) options() Options {
	return Options{
		DSN: s.DSN, Schema: s.Schema, Node: s.Node, Lease: s.Lease, Connections: s.Connections, ReceiveOnly: s.ReceiveOnly,
	}.withDefaults()
}

// Key implements queue.Store: the hosts, the database and the schema, however the DSN
// writes them.
func (s Store) Key() string {
	config, err := parseDSN(s.DSN)
	if err != nil {
		return "postgres:?/" + cmp.Or(s.Schema, DefaultSchema) // Open says what is wrong
	}
	return placeOf(&config.ConnConfig.Config, s.Schema).key()
}

// String implements queue.Store.
func (s Store) String() string {
	config, err := parseDSN(s.DSN)
	if err != nil {
		return "postgres"
	}
	at := placeOf(&config.ConnConfig.Config, s.Schema)
	return fmt.Sprintf("postgres %s/%s, schema %s", at.written(), at.database, at.schema)
}

// Open implements queue.Store.
func (s Store) Open(must bool, logger *zap.Logger) (queue.Engine, error) {
	options := s.options()
	options.KeepTrying, options.Logger = !must, logger
	db, err := Open(options)
	if err != nil {
		return nil, err
	}
	return db, nil
}
