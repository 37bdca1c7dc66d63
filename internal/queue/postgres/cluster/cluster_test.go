package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

const tables = `
CREATE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE AS $$SELECT (extract(epoch FROM statement_timestamp())*1000000)::bigint$$;
CREATE SEQUENCE session_ids AS integer;
CREATE TABLE nodes (id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL UNIQUE);
CREATE TABLE sessions (
	id integer PRIMARY KEY, name text NOT NULL, started bigint NOT NULL, seen bigint NOT NULL, until bigint NOT NULL, epoch bigint NOT NULL,
	version text NOT NULL, configuration text NOT NULL, delivers boolean NOT NULL, watching boolean NOT NULL DEFAULT false, closed boolean NOT NULL DEFAULT false, backend integer, connected timestamptz
);
CREATE TABLE control (epoch bigint NOT NULL, switched bigint NOT NULL);
INSERT INTO control VALUES (0, 0);
CREATE TABLE changed (action text PRIMARY KEY, epoch bigint NOT NULL);
CREATE TABLE claims (name text PRIMARY KEY, holder text NOT NULL, until bigint NOT NULL);
CREATE TABLE lanes (action text PRIMARY KEY, session integer NOT NULL, until bigint NOT NULL);
CREATE TABLE switches (kind text, name text);
CREATE TABLE actions (id integer, name text);
INSERT INTO actions VALUES (1, 'x');
CREATE TABLE waiting (action integer, leased_until bigint, owner integer);
`

// patience is how long something may take that must happen.
const patience = 30 * time.Second

// shared is what the nodes of a test share.
type shared struct {
	*testing.T
	dsn, schema string
	pool        *pgxpool.Pool
}

func share(t *testing.T) *shared {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	s := &shared{T: t, dsn: dsn, schema: schema}
	s.pool = s.newPool()
	if _, err := s.pool.Exec(t.Context(), "CREATE SCHEMA "+schema+";"+tables); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shared) newPool() *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(s.dsn)
	if err != nil {
		s.Fatal(err)
	}
	config.MaxConns = 3
	config.ConnConfig.RuntimeParams["search_path"] = s.schema
	pool, err := pgxpool.NewWithConfig(s.Context(), config)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(pool.Close)
	return pool
}

func (s *shared) exec(sql string, values ...any) {
	s.Helper()
	if _, err := s.pool.Exec(context.Background(), sql, values...); err != nil {
		s.Fatalf("%s: %v", sql, err)
	}
}

// heard is what a node told its engine.
type heard struct {
	mu           sync.Mutex
	changed, due []string
	told         []queue.Changes
}

func (h *heard) hooks() Hooks {
	return Hooks{
		Changed: func(actions []string) { h.mu.Lock(); h.changed = append(h.changed, actions...); h.mu.Unlock() },
		Due:     func(actions []string) { h.mu.Lock(); h.due = append(h.due, actions...); h.mu.Unlock() },
		Told:    func(c queue.Changes) { h.mu.Lock(); h.told = append(h.told, c); h.mu.Unlock() },
	}
}

// has reports whether f holds for what was heard.
func (h *heard) has(f func(h *heard) bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return f(h)
}

type node struct {
	*Node
	heard
	cut atomic.Bool // it cannot connect
}

// join makes a node. change, if not nil, changes its options.
func (s *shared) join(name string, change func(*Options)) *node {
	s.Helper()
	n := &node{}
	o := Options{Name: name, Schema: s.schema, Lease: 2 * time.Second, Pool: s.newPool(), Logger: zap.NewNop(), Hooks: n.hooks()}
	o.Connect = func(ctx context.Context) (*pgx.Conn, error) {
		if n.cut.Load() {
			return nil, errors.New("cut off")
		}
		return pgx.ConnectConfig(ctx, o.Pool.Config().ConnConfig)
	}
	if change != nil {
		change(&o)
	}
	n.Node = New(o)
	s.Cleanup(n.Stop)
	if err := n.Join(s.Context()); err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *shared) eventually(what string, holds func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// pause pauses an action, or not, as a command on a node does.
func (s *shared) pause(on *node, action string, paused bool) error {
	s.Helper()
	var epoch Epoch
	err := pgx.BeginFunc(s.Context(), s.pool, func(tx pgx.Tx) (err error) {
		if paused {
			_, err = tx.Exec(s.Context(), "INSERT INTO switches VALUES ('action', $1)", action)
		} else {
			_, err = tx.Exec(s.Context(), "DELETE FROM switches WHERE kind = 'action' AND name = $1", action)
		}
		if err == nil {
			epoch, err = on.Raise(s.Context(), tx, true, action)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	return on.Obeyed(ctx, epoch)
}

func (s *shared) names(n *node) (names []string) {
	s.Helper()
	nodes, err := n.Nodes(s.Context(), s.pool)
	if err != nil {
		s.Fatal(err)
	}
	for _, one := range nodes {
		name := one.Name
		if one.Self {
			name += " self"
		}
		if one.Lives {
			name += " lives"
		}
		names = append(names, name)
	}
	return names
}

func (s *shared) equal(what string, got, want []string) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestNodesAreListedWhileTheyLiveAndForAWeek(t *testing.T) {
	s := share(t)
	a, b := s.join("b", nil), s.join("a", nil)
	s.equal("nodes", s.names(a), []string{"a lives", "b self lives"})
	s.equal("nodes", s.names(b), []string{"a self lives", "b lives"})

	b.Describe(queue.Description{Version: "v2", Configuration: "d1", Delivers: true})
	s.eventually("the description of a is known on b", func() bool {
		nodes, err := a.Nodes(t.Context(), s.pool)
		return err == nil && nodes[0].Description == queue.Description{Version: "v2", Configuration: "d1", Delivers: true}
	})
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.equal("nodes after the close of one", s.names(a), []string{"a", "b self lives"})
	s.exec("UPDATE sessions SET seen = seen - 6*24*3600*1000000::bigint WHERE name = 'a'")
	s.equal("nodes after six days", s.names(a), []string{"a", "b self lives"})
	s.exec("UPDATE sessions SET seen = seen - 24*3600*1000000::bigint WHERE name = 'a'")
	s.equal("nodes after a week", s.names(a), []string{"b self lives"})
	s.join("c", nil)
	var left int
	if err := s.pool.QueryRow(t.Context(), "SELECT count(*) FROM sessions").Scan(&left); err != nil || left != 2 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}

func TestNodeThatVanishesIsDeadAfterItsLease(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	a.Stop()
	s.eventually("a is dead", func() bool { return slices.Equal(s.names(b), []string{"a", "b self lives"}) })
	if !a.over(a.alive.Load()) {
		t.Error("it still believes that it lives")
	}
}

// A sign of life that the server carries out after the node has closed does not make it
// seem alive.
func TestSignOfLifeThatComesAfterCloseIsNone(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := a.sign(t.Context(), conn.Conn(), time.Now()); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("the sign gave %v", err)
	}
	s.equal("nodes", s.names(b), []string{"a", "b self lives"})
}

func TestNameOfALivingNodeGetsANumber(t *testing.T) {
	s := share(t)
	first := s.join("web", nil)
	s.connected(first)
	second, third := s.join("web", nil), s.join("web", nil)
	s.equal("names", []string{first.Name(), second.Name(), third.Name()}, []string{"web", "web-2", "web-3"})
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.equal("names", []string{s.join("web", nil).Name()}, []string{"web-2"})
}

// connected waits until a node has its connection.
func (s *shared) connected(n *node) {
	s.Helper()
	s.eventually(n.Name()+" is connected", func() bool {
		var is bool
		err := s.pool.QueryRow(s.Context(), "SELECT backend IS NOT NULL FROM sessions WHERE id = $1", n.session).Scan(&is)
		return err == nil && is
	})
}

// A process that was killed has the same name when it is started again, though its
// lease is not over.
func TestNameOfAKilledNodeIsFree(t *testing.T) {
	s := share(t)
	long := func(o *Options) { o.Lease = time.Hour }
	killed := s.join("web", long)
	s.connected(killed)
	killed.Stop()
	s.eventually("its connection is gone", func() bool {
		var there bool
		err := s.pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = (SELECT backend FROM sessions WHERE id = $1))", killed.session).Scan(&there)
		return err == nil && !there
	})
	again := s.join("web", long)
	s.equal("name", []string{again.Name()}, []string{"web"})
	s.equal("nodes", s.names(again), []string{"web self lives"})
}

// A node that lost its connection, and its name to another meanwhile, takes another.
func TestNodeThatLostItsNameTakesAnother(t *testing.T) {
	s := share(t)
	first := s.join("web", nil)
	s.connected(first)
	first.cut.Store(true)
	s.exec("SELECT pg_terminate_backend((SELECT backend FROM sessions WHERE id = $1))", first.session)
	s.eventually("its name is free", func() bool { return s.join("web", nil).Name() == "web" })
	first.cut.Store(false)
	s.eventually("it has another", func() bool { return first.Name() != "web" })
}

func TestNodeTakenForDeadComesBack(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	s.exec("DELETE FROM sessions WHERE name = 'a'")
	s.eventually("a is back", func() bool { return slices.Equal(s.names(b), []string{"a lives", "b self lives"}) })
	if err := s.pause(b, "x", true); err != nil {
		t.Fatal(err)
	}
	if a.Lends("x", a.Mark()) {
		t.Error("it lends what was paused")
	}
}

func TestWhatOneNodeChangesIsToldWhereItIsWatched(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	if a.Watched() {
		t.Error("it counts as watched though no node watches")
	}
	a.Tell(func(func(string)) { t.Error("asked though no node watches") })
	b.Watch(true)
	missed := func(h *heard) bool {
		return slices.ContainsFunc(h.told, func(c queue.Changes) bool { return c.Missed })
	}
	s.eventually("b is told that it missed what was before", func() bool { return b.has(missed) })
	if !a.Watched() || b.Watched() {
		t.Error("not known to be watched")
	}
	told := func(id string) func(h *heard) bool {
		return func(h *heard) bool {
			return slices.ContainsFunc(h.told, func(c queue.Changes) bool { return slices.Contains(c.Events, id) })
		}
	}
	a.Tell(func(add func(string)) { add("1"); add("2"); add("1") })
	s.eventually("b is told", func() bool { return b.has(told("2")) })
	b.mu.Lock()
	b.told = nil
	b.mu.Unlock()

	// A burst is cut short, and is said to be.
	a.Tell(func(add func(string)) {
		for i := range 5 * eventsAtOnce {
			add("0199c1f0-0000-7000-8000-" + string(rune('a'+i%26)) + time.Duration(i).String())
		}
	})
	s.eventually("b is told that it missed some", func() bool { return b.has(missed) })
	if b.has(func(h *heard) bool {
		n := 0
		for _, c := range h.told {
			n += len(c.Events)
		}
		return n > eventsAtOnce
	}) {
		t.Error("more was told than at once")
	}
	a.Tell(func(add func(string)) { add("3") })
	s.eventually("b is told again", func() bool { return b.has(told("3")) })
	if a.has(func(h *heard) bool { return len(h.told) > 0 }) {
		t.Error("a node hears itself")
	}
	b.Watch(false)
	s.eventually("no node watches", func() bool { return !a.Watched() })

	// A node that loses the connection has missed something.
	b.mu.Lock()
	b.told = nil
	b.mu.Unlock()
	s.exec("SELECT pg_terminate_backend((SELECT backend FROM sessions WHERE id = $1))", b.session)
	s.eventually("b is told that it missed some", func() bool { return b.has(missed) })
}

func TestOthersAreToldWhatIsLeftForThem(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	s.eventually("a knows of b", a.Others)
	s.eventually("b is told", func() bool {
		a.Left("x")
		return b.has(func(h *heard) bool { return slices.Contains(h.due, "x") })
	})
	if a.has(func(h *heard) bool { return len(h.due) > 0 }) {
		t.Error("a node hears itself")
	}
}

func TestNodeGoesOnAfterTheDatabaseWasAway(t *testing.T) {
	s := share(t)
	a, b := s.join("a", nil), s.join("b", nil)
	for _, n := range []*node{a, b} {
		n.cut.Store(true)
		s.connected(n)
		s.exec("SELECT pg_terminate_backend((SELECT backend FROM sessions WHERE id = $1))", n.session)
	}
	s.eventually("they take themselves for dead", func() bool {
		return !a.Lends("x", a.Mark()) && !b.Lends("x", b.Mark()) && !a.Leads() && !b.Leads()
	})
	a.cut.Store(false)
	b.cut.Store(false)
	s.eventually("they lend again", func() bool { return a.Lends("x", a.Mark()) && b.Lends("x", b.Mark()) })
	if err := s.pause(a, "x", true); err != nil || b.Lends("x", b.Mark()) {
		t.Errorf("a change is not obeyed: %v", err)
	}
}

func TestChannelFitsPostgres(t *testing.T) {
	long := "event_relay_of_the_theatre_in_the_old_town_beside_the_river_staging"
	if channel("a") != "event_relay_a" || len(channel(long)) > 63 || channel(long) == channel(long+"2") {
		t.Errorf("channels %q and %q", channel(long), channel(long+"2"))
	}
}
