package postgres

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

func TestSeveralNodesStartAtOnce(t *testing.T) {
	dsn, schema := pgtest.Schema(t)
	var done sync.WaitGroup
	for _, node := range []string{"a", "b", "c", "d"} {
		done.Go(func() {
			engine, err := Store{DSN: dsn, Schema: schema, Node: node}.Open(true, zaptest.NewLogger(t))
			if err != nil {
				t.Errorf("node %s: %v", node, err)
				return
			}
			if err := engine.Close(); err != nil {
				t.Errorf("closing node %s: %v", node, err)
			}
		})
	}
	done.Wait()
}

func TestMisconfigured(t *testing.T) {
	for name, c := range map[string]struct{ dsn, wants string }{
		"nothing":      {"", "is empty"},
		"no DSN":       {"nonsense", "cannot be read"},
		"a bad port":   {"postgres://relay:secretword@host:port/db", "cannot be read"},
		"a bad pair":   {"host=x password=secretword sslmode=nonsense", "cannot be read"},
		"a bare slash": {"postgres://relay:secret/word@host/db", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Store{DSN: c.dsn}.Open(false, zaptest.NewLogger(t))
			if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), c.wants) || strings.Contains(err.Error(), "secret") {
				t.Errorf("it gave %v, want one that says that the DSN %s", err, c.wants)
			}
		})
	}
}

func TestKey(t *testing.T) {
	t.Setenv("PGHOST", "")
	t.Setenv("PGPORT", "")
	for _, c := range []struct {
		store Store
		want  string
	}{
		{Store{DSN: "postgres://relay:secret@db1,db2:5433/relay?sslmode=prefer"}, "postgres:db1:5432,db2:5433/relay/event_relay"},
		{Store{DSN: "host=db1 user=relay password=secret dbname=relay", Schema: "other"}, "postgres:db1:5432/relay/other"},
		{Store{DSN: "nonsense secret"}, "postgres:?/event_relay"},
	} {
		if got := c.store.Key(); got != c.want {
			t.Errorf("the key is %s, want %s", got, c.want)
		}
	}
}
