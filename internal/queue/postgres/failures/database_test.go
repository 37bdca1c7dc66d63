//go:build unix

package failures

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

func open(t *testing.T, dsn, schema string) queue.Engine {
	t.Helper()
	engine, err := postgres.Store{DSN: dsn, Schema: schema, Node: t.Name(), Lease: lease}.Open(false, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return engine
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// answered is what calls of Put were answered, by the event.
type answered struct {
	mu               sync.Mutex
	yes, no, unknown map[string]bool
}

func newAnswered() *answered {
	return &answered{yes: make(map[string]bool), no: make(map[string]bool), unknown: make(map[string]bool)}
}

// put puts one event.
func (a *answered) put(t *testing.T, engine queue.Engine, key string) error {
	e := entry("x", key)
	_, err := engine.Put(within(t, patience), []queue.Entry{e})
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.yes[e.Event.ID] = true
	case errors.Is(err, queue.ErrUnavailable) || errors.Is(err, queue.ErrFull) || errors.Is(err, queue.ErrClosed):
		a.no[e.Event.ID] = true
	default:
		a.unknown[e.Event.ID] = true
	}
	return err
}

// putMany puts n events by several callers.
func (a *answered) putMany(t *testing.T, engine queue.Engine, callers, n int) {
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			for i := range n / callers {
				_ = a.put(t, engine, fmt.Sprint("key ", i%5))
			}
		})
	}
	done.Wait()
}

// stored waits until an event is stored.
func (a *answered) stored(t *testing.T, engine queue.Engine) {
	t.Helper()
	eventually(t, "an event is stored", func() bool { return a.put(t, engine, "") == nil })
	eventually(t, "there is no trouble", func() bool { return len(engine.Troubles()) == 0 })
}

// refused waits until an event is refused, and the trouble is told.
func (a *answered) refused(t *testing.T, engine queue.Engine) {
	t.Helper()
	eventually(t, "an event is refused", func() bool {
		err := a.put(t, engine, "")
		if err != nil && !errors.Is(err, queue.ErrUnavailable) {
			t.Fatalf("Put gave %v, want ErrUnavailable", err)
		}
		return err != nil
	})
	eventually(t, "the trouble is told", func() bool {
		return slices.ContainsFunc(engine.Troubles(), func(trouble queue.Trouble) bool { return trouble.Refusing && trouble.Message != "" })
	})
}

// agrees checks that what was answered is so: what was stored is there once, and what
// was not is not. All that is there can be delivered.
func (a *answered) agrees(t *testing.T, engine queue.Engine) {
	t.Helper()
	stored := make(map[string]int)
	total := 0
	for after := queue.Cursor(""); ; {
		page, err := engine.Page(within(t, patience), queue.Filter{}, queue.OldestFirst, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Events {
			stored[s.ID]++
			total++
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for id, times := range stored {
		if times > 1 || a.no[id] {
			t.Errorf("event %s is there %d times; refused: %v", id, times, a.no[id])
		}
	}
	for id := range a.yes {
		if stored[id] == 0 {
			t.Errorf("event %s was acknowledged and is not there", id)
		}
	}
	t.Logf("%d acknowledged, %d refused, %d unknown; %d stored", len(a.yes), len(a.no), len(a.unknown), total)
	for left := total; left > 0; {
		leases, err := engine.Take(within(t, patience), "x", 20)
		if err != nil {
			t.Fatalf("taking with %d to come: %v", left, err)
		}
		for _, lease := range leases {
			if err := engine.Settle(lease.Token, queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: time.Now(), Status: 200}}); err != nil {
				t.Errorf("Settle: %v", err)
			}
			left--
		}
	}
}

// What was asked for may be carried out although the answer is lost. Then the engine
// looks whether it was, or says that it does not know.
func TestConnectionsAreLostInTheMidstOfCommits(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	p := newProxy(t, pgtest.Shared(t).Address())
	engine := open(t, p.dsn(), schema)
	<-engine.Ready()
	a := newAnswered()
	p.loses.Store(30)
	a.putMany(t, engine, 8, 800)
	p.loses.Store(0)
	if len(a.yes) < 200 {
		t.Errorf("%d of 800 were acknowledged", len(a.yes))
	}
	a.stored(t, engine)
	if err := engine.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	a.agrees(t, open(t, dsn, schema))
}

func TestReadOnlyStandbyIsPromoted(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	a, before := newAnswered(), open(t, primary.DSN(), "relay")
	a.putMany(t, before, 1, 10)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby(t, true)
	engine := open(t, standby.DSN(), "relay")
	a.refused(t, engine)
	primary.Stop()
	standby.Promote(t)
	select {
	case <-engine.Ready():
	case <-time.After(patience):
		t.Fatalf("it is not ready; its troubles: %+v", engine.Troubles())
	}
	a.stored(t, engine)
	a.agrees(t, engine)
}

func TestDatabaseIsReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{})
	a, engine := newAnswered(), open(t, server.DSN(), "relay")
	a.putMany(t, engine, 2, 20)
	server.Set(t, "default_transaction_read_only", "on")
	a.refused(t, engine)
	server.Set(t, "default_transaction_read_only", "off")
	a.stored(t, engine)
	a.agrees(t, engine)
}

// A lock that something else holds makes a statement end after a time. That is no
// reason to lose or to repeat anything.
func TestTablesAreLockedForAWhile(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	a, engine := newAnswered(), open(t, dsn, schema)
	a.putMany(t, engine, 1, 10)
	locked := transaction(t, dsn, "LOCK TABLE "+schema+".events, "+schema+".waiting IN ACCESS EXCLUSIVE MODE")
	var putting sync.WaitGroup
	putting.Go(func() { a.putMany(t, engine, 4, 4) })
	// Until a statement has waited for longer than it may.
	waited, watcher := make(map[string]bool), connect(t, dsn)
	eventually(t, "a statement has waited, and ended while the table is locked", func() bool {
		waiting := make(map[string]bool)
		rows, err := watcher.Query(context.Background(), "SELECT pid || ' ' || query_start FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = $1", "event-relay "+t.Name())
		if err != nil {
			t.Fatal(err)
		}
		statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range statements {
			waiting[statement], waited[statement] = true, true
		}
		return len(waiting) < len(waited)
	})
	if err := locked.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	putting.Wait()
	a.stored(t, engine)
	a.putMany(t, engine, 4, 40)
	if len(a.yes) < 51 {
		t.Errorf("%d were acknowledged, want those after the lock", len(a.yes))
	}
	a.agrees(t, engine)
}

// Another session locks what the engine needs next, and waits for what it has: the server
// ends one of them, which is the engine's here.
func TestStatementsLoseDeadlocks(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	// The other session does not look for deadlocks.
	a, engine := newAnswered(), open(t, dsn+"&deadlock_timeout=2s", schema)
	other, watcher := connect(t, dsn+"&deadlock_timeout=1h"), connect(t, dsn)
	a.putMany(t, engine, 1, 10)
	deliver := func(n int) {
		for n > 0 {
			leases, err := engine.Take(within(t, patience), "x", n)
			if err != nil {
				t.Error(err)
				return
			}
			for _, lease := range leases {
				if err := engine.Settle(lease.Token, queue.Settlement{State: queue.Failed, Attempt: &queue.Attempt{Began: time.Now(), Status: 400}}); err != nil {
					t.Error(err)
				}
				n--
			}
		}
	}
	deliver(2) // so that the action and the node have counts
	asked := func(query string, values ...any) (n int) {
		if err := watcher.QueryRow(within(t, patience), query, values...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "the ends are counted", func() bool { return asked("SELECT coalesce(sum(failed), 0) FROM "+schema+".action_counts") == 2 })
	// All rows that settlements can count in, so that all can be locked: they change to
	// another every 20 seconds. The others are added to each second, which is not to wait.
	if _, err := watcher.Exec(within(t, patience), "INSERT INTO "+schema+".action_counts (action, node, part) SELECT DISTINCT action, node, p FROM "+schema+".action_counts, generate_series(0, 31) p ON CONFLICT DO NOTHING"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		first  string // what the engine waits for
		second string // what it has locked by then
		do     func()
	}{
		"storing events": {"LOCK TABLE " + schema + ".events IN SHARE MODE", `SELECT pg_advisory_xact_lock(classid::bigint << 32 | objid::bigint) FROM pg_locks
			WHERE locktype = 'advisory' AND granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))`, func() { a.putMany(t, engine, 4, 4) }},
		"settling": {"SELECT FROM " + schema + ".action_counts WHERE part % 2 = 1 FOR UPDATE", "LOCK TABLE " + schema + ".attempts IN SHARE MODE", func() { deliver(3) }},
	} {
		ended := asked("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
		var doing sync.WaitGroup
		err := pgx.BeginFunc(within(t, patience), other, func(tx pgx.Tx) error {
			if _, err := tx.Exec(within(t, patience), test.first); err != nil {
				return err
			}
			doing.Go(test.do)
			eventually(t, name+" waits", func() bool {
				return asked("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND $1::int = ANY (pg_blocking_pids(pid))", other.PgConn().PID()) > 0
			})
			_, err := tx.Exec(within(t, patience), test.second)
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		doing.Wait()
		eventually(t, name+" has lost a deadlock", func() bool {
			return asked("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") > ended
		})
	}
	a.stored(t, engine)
	if len(a.yes) != 15 {
		t.Errorf("%d were acknowledged, want all 15", len(a.yes))
	}
	deliver(10)
	eventually(t, "nothing waits", func() bool {
		backlog, err := engine.Backlog(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		return len(backlog) == 0
	})
	eventually(t, "all ends are counted", func() bool { return asked("SELECT coalesce(sum(failed), 0) FROM "+schema+".action_counts") == 15 })
	if n := asked("SELECT count(*) FROM " + schema + ".attempts"); n != 15 {
		t.Errorf("%d attempts are stored, want 15", n)
	}
}

// A transaction that is held open, such as that of a dump, keeps the database from
// removing what was deleted.
func TestTransactionIsHeldOpen(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	a, engine := newAnswered(), open(t, dsn, schema)
	a.putMany(t, engine, 1, 10)
	held := transaction(t, dsn, "SELECT count(*) FROM "+schema+".waiting")
	a.putMany(t, engine, 8, 1600)
	if len(a.yes) != 1610 {
		t.Errorf("%d of 1610 were acknowledged", len(a.yes))
	}
	a.agrees(t, engine)
	if err := held.Rollback(context.Background()); err != nil {
		t.Errorf("the transaction did not last: %v", err)
	}
}

// transaction begins a transaction that sees the database as it is now, and carries out
// a statement in it.
func transaction(t *testing.T, dsn, statement string) pgx.Tx {
	t.Helper()
	begun, err := connect(t, dsn).BeginTx(context.Background(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begun.Exec(context.Background(), statement); err != nil {
		t.Fatal(err)
	}
	return begun
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(within(t, patience), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close(context.Background()) })
	return connection
}
