package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

// node is an engine of a cluster.
type node interface {
	queue.Engine
	queue.Cluster
}

// storage is what the nodes of a cluster share, all in this process: an SQLite queue,
// and in memory what that does not have. It keeps the promises of a cluster in the
// simplest way, so that the suite can be tested without one.
type storage struct {
	*sqlite.DB
	clock struct {
		sync.Mutex
		now time.Time
	}

	mu    sync.Mutex
	nodes []*member
	// broken makes a node what breaks a promise. Nil leaves them.
	broken func(number int, whole node) node
	given  map[queue.Engine]*member // by what the suite got

	received map[string]string  // the node of each event, by its id
	noted    map[int64]string   // the node of each note
	lanes    map[string]*member // who takes, of actions of one node
	turns    map[string]*member // who runs, in Exclusive
}

const fakeLease = time.Minute

func newStorage(t *testing.T, broken func(int, node) node) *storage {
	s := &storage{
		broken: broken, given: make(map[queue.Engine]*member),
		received: make(map[string]string), noted: make(map[int64]string), lanes: make(map[string]*member), turns: make(map[string]*member),
	}
	s.clock.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var err error
	if s.DB, err = sqlite.Open(sqlite.Options{Dir: t.TempDir(), MinFree: -1, Lease: fakeLease, Clock: s.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.DB.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *storage) Now() time.Time {
	s.clock.Lock()
	defer s.clock.Unlock()
	return s.clock.now
}

func (s *storage) Advance(d time.Duration) {
	s.clock.Lock()
	s.clock.now = s.clock.now.Add(d)
	s.clock.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.nodes {
		if !m.killed && !m.closed {
			m.seen = s.Now()
		}
	}
}

func (s *storage) Lease() time.Duration { return fakeLease }
func (s *storage) Soon() time.Duration  { return 30 * time.Millisecond }

func (s *storage) Open(t *testing.T) queue.Engine { return s.Another(t) }

func (s *storage) Another(t *testing.T) queue.Engine {
	s.mu.Lock()
	m := &member{storage: s, name: fmt.Sprint("node ", len(s.nodes)), started: s.Now(), seen: s.Now(), held: make(map[queue.Token]bool)}
	m.ctx, m.end = context.WithCancel(context.Background())
	s.nodes = append(s.nodes, m)
	number := len(s.nodes) - 1
	s.mu.Unlock()
	// That of the first is noted by the SQLite queue.
	if err := m.noteOf(queue.Note{Kind: queue.NoteStart}, number > 0); err != nil {
		t.Fatal(err)
	}
	var given node = m
	if s.broken != nil {
		given = s.broken(number, m)
	}
	s.given[given] = m
	return given
}

func (s *storage) Kill(engine queue.Engine) {
	m := s.given[engine]
	s.mu.Lock()
	m.killed = true
	s.mu.Unlock()
	m.end()
}

// member is one node.
type member struct {
	*storage
	name          string
	ctx           context.Context
	end           context.CancelFunc
	started, seen time.Time
	said          queue.Description
	closed        bool
	killed        bool
	one           []string
	held          map[queue.Token]bool
	obey          func(context.Context) error
}

// lives reports whether the others count on the node. The storage is locked.
func (m *member) lives() bool { return !m.closed && (!m.killed || m.Now().Sub(m.seen) < fakeLease) }

func (m *member) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	if m.ctx.Err() != nil {
		return nil, queue.ErrClosed
	}
	m.mu.Lock()
	for _, e := range entries {
		m.received[e.Event.ID] = m.name
	}
	m.mu.Unlock()
	return m.DB.Put(ctx, entries)
}

func (m *member) Take(ctx context.Context, action string, n int) ([]queue.Lease, error) {
	if m.ctx.Err() != nil {
		return nil, queue.ErrClosed
	}
	inside, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	for !m.mine(action) {
		select {
		case <-inside.Done():
			return nil, m.why(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	leases, err := m.DB.Take(inside, action, n)
	if err != nil {
		return nil, m.why(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, lease := range leases {
		m.held[lease.Token] = true
	}
	return leases, nil
}

// why says why a call has ended.
func (m *member) why(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return queue.ErrClosed
}

// mine reports whether the node may take deliveries of an action.
func (m *member) mine(action string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.one, action) {
		return true
	}
	if owner := m.lanes[action]; owner == nil || !owner.lives() {
		m.lanes[action] = m
	}
	return m.lanes[action] == m
}

func (m *member) Settle(token queue.Token, settlement queue.Settlement) error {
	if m.ctx.Err() != nil {
		return queue.ErrClosed
	}
	m.mu.Lock()
	delete(m.held, token)
	m.mu.Unlock()
	return m.DB.Settle(token, settlement)
}

func (m *member) Change(ctx context.Context, change queue.Change) (queue.Changed, error) {
	changed, err := m.DB.Change(ctx, change)
	if err != nil || change.Switch == nil {
		return changed, err
	}
	m.mu.Lock()
	others := slices.Clone(m.nodes)
	m.mu.Unlock()
	for _, other := range others {
		for other != m && !other.obeys(ctx) {
			select {
			case <-ctx.Done():
				return changed, ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
	}
	return changed, nil
}

func (m *member) OnSwitches(obey func(context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.obey = obey
}

// obeys has the node obey the switches. It is false if it has to be asked again.
func (m *member) obeys(ctx context.Context) bool {
	m.mu.Lock()
	lives, killed, obey := m.lives(), m.killed, m.obey
	m.mu.Unlock()
	if !lives || obey == nil {
		return true
	}
	return !killed && obey(ctx) == nil
}

func (m *member) Watch(ctx context.Context) <-chan queue.Changes {
	inside, cancel := context.WithCancel(ctx)
	context.AfterFunc(m.ctx, cancel)
	return m.DB.Watch(inside)
}

func (m *member) Exclusive(ctx context.Context, name string, f func(context.Context) error) error {
	for !m.begin(name) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.turns[name] == m {
			delete(m.turns, name)
		}
	}()
	return f(ctx)
}

func (m *member) begin(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if owner := m.turns[name]; owner != nil && owner.lives() {
		return false
	}
	m.turns[name] = m
	return true
}

func (m *member) Close() error {
	m.mu.Lock()
	closed, killed := m.closed, m.killed
	m.closed = m.closed || !killed
	held := m.held
	m.held = make(map[queue.Token]bool)
	m.mu.Unlock()
	if closed || killed {
		return nil
	}
	m.end()
	for token := range held {
		if err := m.DB.Settle(token, queue.Settlement{State: queue.Pending}); err != nil && !errors.Is(err, queue.ErrLeaseLost) {
			return err
		}
	}
	return m.noteOf(queue.Note{Kind: queue.NoteStop}, true)
}

func (m *member) Note(ctx context.Context, note queue.Note) error { return m.noteOf(note, true) }

// noteOf notes something, if it is not there yet, as the node's.
func (m *member) noteOf(note queue.Note, write bool) error {
	ctx := context.Background()
	m.mu.Lock()
	defer m.mu.Unlock()
	if write {
		note.At = m.Now()
		if err := m.DB.Note(ctx, note); err != nil {
			return err
		}
	}
	newest, err := m.DB.Notes(ctx, note.Kind, time.Time{}, time.Time{}, 1, false)
	if err == nil {
		m.noted[newest[0].ID] = m.name
	}
	return err
}

func (m *member) Notes(ctx context.Context, kind queue.NoteKind, since, until time.Time, n int, whole bool) ([]queue.Note, error) {
	notes, err := m.DB.Notes(ctx, kind, since, until, n, whole)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range notes {
		notes[i].Node = m.noted[notes[i].ID]
	}
	return notes, err
}

func (m *member) Page(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int) (queue.Page, error) {
	page, err := m.DB.Page(ctx, filter, order, after, n)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range page.Events {
		page.Events[i].Node = m.received[page.Events[i].ID]
	}
	return page, err
}

func (m *member) Find(ctx context.Context, id string) (queue.Detail, error) {
	detail, err := m.DB.Find(ctx, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	detail.Summary.Node = m.received[detail.Summary.ID]
	return detail, err
}

func (m *member) Node() string { return m.name }

func (m *member) Describe(said queue.Description) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = said
}

func (m *member) OneNode(actions []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.one = actions
}

// Ahead implements queue.Cluster: all have the clock of this machine.
func (*member) Ahead() time.Duration { return 0 }

func (m *member) Leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.nodes {
		if other.lives() {
			return other == m && !m.killed
		}
	}
	return false
}

func (m *member) Nodes(context.Context) (all []queue.Node, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.nodes {
		all = append(all, queue.Node{Name: other.name, Description: other.said, Started: other.started, Seen: other.seen, Lives: other.lives(), Closed: other.closed, Self: other == m})
	}
	return all, nil
}

func TestNodesOfFake(t *testing.T) {
	t.Parallel()
	RunNodes(t, func(t *testing.T) Cluster { return newStorage(t, nil) })
}
