package postgres

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

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

// A database that is away holds up the start of what can do without it for a moment only,
// and that of what cannot for as long as it may take to come back.
func TestStartIsHeldUp(t *testing.T) {
	options := Options{DSN: "postgres://relay@127.0.0.1:1/relay?sslmode=disable", KeepTrying: true}
	options.limits.patience, options.limits.startPatience, options.limits.retry = time.Hour, time.Millisecond, time.Millisecond
	db, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	if troubles := db.Troubles(); len(troubles) != 1 || !troubles[0].Refusing {
		t.Errorf("its troubles are %+v", troubles)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	options.KeepTrying = false
	options.limits.patience, options.limits.startPatience = time.Millisecond, time.Hour
	if db, err := Open(options); err == nil {
		t.Errorf("without a database Open gave %v", db)
	}
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
