package relaytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	queuesqlite "github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Nodes are several engines with one storage in this process, each a queue.Cluster.
// They keep the promises of one as far as the relay builds on them, on SQLite, so that
// what the relay does as a node is tested without a database server.
type Nodes struct {
	storage queue.Engine

	mutex sync.Mutex
	all   []*Node
	// received and noted say which node received an event and made a note.
	received map[string]string
	noted    map[int64]string
	// lanes are the nodes that take actions of which one node at a time takes.
	lanes map[string]*Node
	// changed is closed and made anew when a node ends.
	changed chan struct{}
	leader  string
	// clocks are by how much the clocks of nodes are ahead of that of the storage.
	clocks map[string]time.Duration
	// windows counts how often the windows of dedupe ended.
	windows int
}

// NewNodes opens the storage until the test ends.
func NewNodes(t testing.TB) *Nodes {
	t.Helper()
	storage, err := queuesqlite.Store{Dir: t.TempDir()}.Open(true, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := storage.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Nodes{storage: storage, received: map[string]string{}, noted: map[int64]string{}, lanes: map[string]*Node{}, clocks: map[string]time.Duration{}, changed: make(chan struct{})}
}

// Open opens a node until the test ends.
func (n *Nodes) Open(t testing.TB, name string) *relay.Runtime {
	t.Helper()
	return open(t, &Node{of: n, name: name})
}

// Lead makes a node the leader, and no other. Until it is called, none leads.
func (n *Nodes) Lead(name string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.leader = name
}

// EndWindows ends the windows of all dedupe keys.
func (n *Nodes) EndWindows() {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.windows++
}

// Vanish makes the others believe that a node gave no sign of life since a time.
func (n *Nodes) Vanish(name string, since time.Time) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, node := range n.all {
		if node.name == name {
			node.vanished = since
		}
	}
}

// SetClock makes a node, which need not be open yet, believe that the clock of its machine is
// ahead of that of the storage.
func (n *Nodes) SetClock(name string, ahead time.Duration) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.clocks[name] = ahead
}

// OneNode returns the actions of which one node at a time takes, as a node said last.
func (n *Nodes) OneNode(name string) string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, node := range n.all {
		if node.name == name {
			return strings.Join(node.oneNode, " ")
		}
	}
	return ""
}

// Node is one of them.
type Node struct {
	queue.Engine
	of   *Nodes
	name string

	life    context.Context
	end     context.CancelFunc
	started time.Time

	// What follows is guarded by the mutex of all.
	description queue.Description
	oneNode     []string
	obey        func(context.Context) error
	closed      bool
	vanished    time.Time
}

// Key implements queue.Store.
func (n *Node) Key() string { return n.name }

// String implements queue.Store.
func (n *Node) String() string { return "node " + n.name }

// Open implements queue.Store.
func (n *Node) Open(bool, *zap.Logger) (queue.Engine, error) {
	n.Engine, n.started = n.of.storage, time.Now()
	n.life, n.end = context.WithCancel(context.Background())
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	n.of.all = append(slices.DeleteFunc(n.of.all, func(other *Node) bool { return other.name == n.name }), n)
	return n, nil
}

// Close implements queue.Queue.
func (n *Node) Close() error {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	if !n.closed {
		n.closed = true
		n.end()
		n.of.wake()
	}
	return nil
}

// wake lets takers look again. The caller holds the mutex.
func (n *Nodes) wake() {
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Node) lives() bool { return !n.closed && n.vanished.IsZero() }

// Node implements queue.Cluster.
func (n *Node) Node() string { return n.name }

// Describe implements queue.Cluster.
func (n *Node) Describe(description queue.Description) {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	n.description = description
}

// OneNode implements queue.Cluster.
func (n *Node) OneNode(actions []string) {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	n.oneNode = actions
}

// Leads implements queue.Cluster.
func (n *Node) Leads() bool {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	return n.of.leader == n.name
}

// Ahead implements queue.Cluster.
func (n *Node) Ahead() time.Duration {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	return n.of.clocks[n.name]
}

// OnSwitches implements queue.Cluster.
func (n *Node) OnSwitches(obey func(ctx context.Context) error) {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	n.obey = obey
}

// Nodes implements queue.Cluster.
func (n *Node) Nodes(context.Context) ([]queue.Node, error) {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	var nodes []queue.Node
	for _, node := range n.of.all {
		seen := node.vanished
		if seen.IsZero() {
			seen = time.Now()
		}
		nodes = append(nodes, queue.Node{
			Name: node.name, Description: node.description, Started: node.started, Seen: seen,
			Lives: node.lives(), Closed: node.closed, Self: node == n,
		})
	}
	slices.SortFunc(nodes, func(a, b queue.Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

// Put implements queue.Queue.
func (n *Node) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	n.of.mutex.Lock()
	for i := range entries {
		n.of.received[entries[i].Event.ID] = n.name
		if entries[i].DedupeKey != "" {
			entries[i].DedupeKey += fmt.Sprint(" ", n.of.windows)
		}
	}
	n.of.mutex.Unlock()
	return n.Engine.Put(ctx, entries)
}

// Take implements queue.Queue. An action of which one node at a time takes stays with
// the node that took it first, as long as that lives.
func (n *Node) Take(ctx context.Context, action string, most int) ([]queue.Lease, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	for {
		n.of.mutex.Lock()
		changed, owner := n.of.changed, n.of.lanes[action]
		mine := !slices.Contains(n.oneNode, action) || owner == n || owner == nil || !owner.lives()
		if mine && slices.Contains(n.oneNode, action) {
			n.of.lanes[action] = n
		}
		n.of.mutex.Unlock()
		if mine {
			leases, err := n.Engine.Take(ctx, action, most)
			if err != nil && n.life.Err() != nil {
				err = queue.ErrClosed
			}
			return leases, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if n.life.Err() != nil {
				return nil, queue.ErrClosed
			}
			return nil, ctx.Err()
		}
	}
}

// Change implements queue.Queue.
func (n *Node) Change(ctx context.Context, change queue.Change) (queue.Changed, error) {
	changed, err := n.Engine.Change(ctx, change)
	if err != nil || change.Switch == nil {
		return changed, err
	}
	n.of.mutex.Lock()
	var others []func(context.Context) error
	for _, node := range n.of.all {
		if node != n && node.lives() && node.obey != nil {
			others = append(others, node.obey)
		}
	}
	n.of.mutex.Unlock()
	for _, obey := range others {
		err = errors.Join(err, obey(ctx))
	}
	return changed, err
}

func (n *Node) named(summary *queue.Summary) { summary.Node = n.of.received[summary.ID] }

// Page implements queue.History.
func (n *Node) Page(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, most int) (queue.Page, error) {
	page, err := n.Engine.Page(ctx, filter, order, after, most)
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	for i := range page.Events {
		n.named(&page.Events[i])
	}
	return page, err
}

// Events implements queue.History.
func (n *Node) Events(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, most int) (queue.Events, error) {
	page, err := n.Engine.Events(ctx, filter, order, after, most)
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	for i := range page.Events {
		n.named(&page.Events[i].Summary)
	}
	return page, err
}

// Summaries implements queue.History.
func (n *Node) Summaries(ctx context.Context, ids []string) ([]queue.Summary, error) {
	summaries, err := n.Engine.Summaries(ctx, ids)
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	for i := range summaries {
		n.named(&summaries[i])
	}
	return summaries, err
}

// Find implements queue.History.
func (n *Node) Find(ctx context.Context, id string) (queue.Detail, error) {
	detail, err := n.Engine.Find(ctx, id)
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	n.named(&detail.Summary)
	return detail, err
}

// Note implements queue.History.
func (n *Node) Note(ctx context.Context, note queue.Note) error {
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	err := n.Engine.Note(ctx, note)
	if err != nil {
		return err
	}
	newest, err := n.Engine.FindNote(ctx, note.Kind, note.Name)
	n.of.noted[newest.ID] = n.name
	return err
}

// Notes implements queue.History.
func (n *Node) Notes(ctx context.Context, kind queue.NoteKind, since, until time.Time, most int, whole bool) ([]queue.Note, error) {
	notes, err := n.Engine.Notes(ctx, kind, since, until, most, whole)
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	for i := range notes {
		notes[i].Node = n.of.noted[notes[i].ID]
	}
	return notes, err
}

// FindNote implements queue.History.
func (n *Node) FindNote(ctx context.Context, kind queue.NoteKind, name string) (queue.Note, error) {
	note, err := n.Engine.FindNote(ctx, kind, name)
	n.of.mutex.Lock()
	defer n.of.mutex.Unlock()
	note.Node = n.of.noted[note.ID]
	return note, err
}
