package postgres

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

func opened(t *testing.T, store Store) *DB {
	t.Helper()
	engine, err := store.Open(true, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine.(*DB)
}

func TestUsage(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "2"}})
	db := opened(t, Store{DSN: server.DSN(), Node: "a"})
	used := db.Usage()
	if used.Server == nil || used.Server.Host != server.Address() || used.Server.Database != "postgres" || used.Server.Schema != "event_relay" ||
		!strings.HasPrefix(used.Server.Version, "PostgreSQL 1") || used.Server.Standbys != "" || used.Server.Oldest != nil ||
		!strings.HasPrefix(used.Server.Backup, "pg_dump ") || used.Bytes < 1<<16 || used.Free != -1 || used.Dir != "" {
		t.Errorf("it uses %+v of %+v", used, used.Server)
	}
	if again := db.Usage(); again.Server != used.Server {
		t.Error("the server is asked each time")
	}

	// What a transaction keeps from being cleared away counts since it began.
	ctx := context.Background()
	reader, err := pgx.Connect(ctx, server.DSN()+"&application_name=dump")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(ctx)
	if _, err := reader.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"); err != nil {
		t.Fatal(err)
	}
	at := placeOf(&db.connConfig().Config, db.options.Schema)
	seen := func(longerThan time.Duration) queue.Server {
		t.Helper()
		found := queue.Usage{Server: new(queue.Server)}
		conn, err := db.pool.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		if err := readUsage(ctx, conn.Conn(), at, longerThan, &found); err != nil {
			t.Fatal(err)
		}
		return *found.Server
	}
	// A statement of the node itself can be older for a moment.
	oldestIs := func(by string) {
		t.Helper()
		processtest.WaitFor(t, "the oldest transaction to be "+by, func() bool {
			oldest := seen(0).Oldest
			return oldest != nil && strings.Contains(oldest.By, by) && time.Since(oldest.Since).Abs() < time.Hour
		})
	}
	oldestIs("dump, user postgres, from 127.0.0.1")
	if oldest := seen(time.Hour).Oldest; oldest != nil {
		t.Errorf("open for an hour is %+v", oldest)
	}
	if _, err := reader.Exec(ctx, "COMMIT; BEGIN; CREATE TABLE left_open (x int); PREPARE TRANSACTION 'forgotten'"); err != nil {
		t.Fatal(err)
	}
	oldestIs("prepared transaction forgotten, user postgres")
	server.Exec(t, "ROLLBACK PREPARED 'forgotten'")

	// Without a server it is known where it should be.
	server.Stop()
	db.usage.read = time.Time{}
	if used := db.Usage(); used.Server.Host != server.Address() || used.Server.Version != "" || used.Bytes != 0 || used.Server.Backup == "" {
		t.Errorf("without a server it uses %+v of %+v", used, used.Server)
	}
	server.Start(t)
}

// TestUsageNamesStandbys shows what an answer of 200 is worth.
func TestUsageNamesStandbys(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	standby := primary.Standby(t, true)
	db := opened(t, Store{DSN: pgtest.DSNs(standby, primary), Node: "a"})
	if server := db.Usage().Server; !strings.HasPrefix(server.Standbys, "standby_") || server.Host != primary.Address() {
		t.Errorf("the server is %+v; it writes to %s", server, primary.Address())
	}
}

// TestAdjustTakesANewPassword changes the password while the queue is open: only
// new connections need the new one.
func TestAdjustTakesANewPassword(t *testing.T) {
	server := pgtest.Shared(t)
	dsn := server.Role(t, "old")
	db := opened(t, Store{DSN: dsn, Node: "a"})
	parsed, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	user := parsed.User.Username()
	server.Exec(t, "ALTER ROLE "+user+" PASSWORD 'new'")
	db.pool.Reset()
	if err := db.pool.Ping(context.Background()); err == nil {
		t.Fatal("the old password still counts, so that this shows nothing")
	}
	parsed.User = url.UserPassword(user, "new")
	changed := Store{DSN: parsed.String(), Node: "a"}
	if later := db.Adjust(changed); len(later) > 0 {
		t.Errorf("a restart is needed for %v", later)
	}
	if err := db.pool.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	changed.Node, changed.Lease, changed.Connections, changed.ReceiveOnly = "b", time.Hour, 20, true
	if later := strings.Join(db.Adjust(changed), " "); later != "node lease connections" || !db.receiveOnly.Load() {
		t.Errorf("a restart is needed for %s", later)
	}
	if later := db.Adjust(Store{DSN: "nonsense"}); len(later) > 0 || db.pool.Ping(context.Background()) != nil {
		t.Error("a DSN that cannot be read is taken over")
	}
}
