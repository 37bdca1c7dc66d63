package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/queuetest"
)

// harness runs the suite over a schema whose clock it sets: what the tables take for
// the time is a row of a table that only tests have.
type harness struct {
	options Options

	mu  sync.Mutex
	now time.Time
	db  *DB
}

const testClock = `CREATE TABLE test_clock (now bigint NOT NULL);
	INSERT INTO test_clock VALUES (%d);
	CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT now FROM test_clock'`

func newHarness(t *testing.T, l limits) *harness {
	dsn, schema := pgtest.Schema(t)
	h := &harness{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	l.clock, l.beat = h.Now, beatInTests
	h.options = Options{DSN: dsn, Schema: schema, Node: "test", Lease: time.Minute, Logger: zaptest.NewLogger(t), limits: l}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := migrate(ctx, conn, schema); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().Exec(ctx, "SET search_path = "+schema+";"+fmt.Sprintf(testClock, h.now.UnixMicro())).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *harness) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *harness) Lease() time.Duration { return h.options.Lease }

func (h *harness) Soon() time.Duration { return 100 * time.Millisecond }

func (h *harness) Advance(d time.Duration) {
	// A lease that was settled does not expire, however suddenly time passes.
	if err := h.db.flush(context.Background()); err != nil {
		panic(err)
	}
	h.db.still(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.now = h.now.Add(d)
		if _, err := h.db.pool.Exec(context.Background(), "UPDATE test_clock SET now = $1", h.now.UnixMicro()); err != nil {
			panic(err)
		}
	})
	h.db.lives()
}

// lives waits until a node has given a sign of life since time passed.
func (db *DB) lives() {
	for !db.isClosed() && !db.nodes.self.Lives() {
		time.Sleep(time.Millisecond)
	}
}

// still lets time pass while no taker looks through the table: in one statement there
// is one time. Then it wakes all takers.
func (db *DB) still(pass func()) {
	for {
		db.mu.Lock()
		looking := false
		for _, l := range db.lanes {
			looking = looking || l.fetching
		}
		if !looking {
			break
		}
		db.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	defer db.mu.Unlock()
	pass()
	for _, l := range db.lanes {
		l.tableFrom = time.Time{}
		l.signal()
	}
}

func (h *harness) Open(t *testing.T) queue.Engine {
	t.Helper()
	db, err := Open(h.options)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	h.db = db
	// After the test, and before its schema is removed.
	t.Cleanup(func() {
		if db.isClosed() {
			return
		}
		if found, err := db.Verify(context.Background()); err != nil || len(found) > 0 {
			t.Errorf("the tables do not fit: %v, %v", found, err)
		}
	})
	return db
}

func TestSuite(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Harness { return newHarness(t, limits{}) })
}

// With hardly any memory every delivery goes through the table.
func TestSuiteWithoutMemory(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		return newHarness(t, limits{ready: 1, readyBytes: 1, totalBytes: 1})
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]limits{"with memory": {}, "without memory": {ready: 1, readyBytes: 1, totalBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			queuetest.RunModel(t, func(t *testing.T) queuetest.Harness { return newHarness(t, l) })
		})
	}
}
