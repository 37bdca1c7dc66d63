package postgres

import (
	"fmt"
	"strconv"
	"strings"
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

// Key implements queue.Store: the hosts, the database and the schema, however the DSN
// writes them.
func (s Store) Key() string {
	schema := s.Schema
	if schema == "" {
		schema = DefaultSchema
	}
	config, err := parseDSN(s.DSN)
	if err != nil {
		return "postgres:?/" + schema // Open says what is wrong
	}
	c := config.ConnConfig
	hosts := []string{address(c.Host, c.Port)}
	for _, other := range c.Fallbacks {
		// The same host may follow once more, without TLS.
		if a := address(other.Host, other.Port); a != hosts[len(hosts)-1] {
			hosts = append(hosts, a)
		}
	}
	return fmt.Sprintf("postgres:%s/%s/%s", strings.Join(hosts, ","), c.Database, schema)
}

func address(host string, port uint16) string { return host + ":" + strconv.Itoa(int(port)) }

// Open implements queue.Store.
func (s Store) Open(must bool, logger *zap.Logger) (queue.Engine, error) {
	db, err := Open(Options{
		DSN: s.DSN, Schema: s.Schema, Node: s.Node, Lease: s.Lease, Connections: s.Connections, ReceiveOnly: s.ReceiveOnly,
		KeepTrying: !must, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	return db, nil
}
