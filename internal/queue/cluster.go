package queue

import (
	"context"
	"time"
)

// Cluster is an engine whose storage several processes have open at once. Each of
// them is a node. An engine that one process at a time may open is none.
//
// What the contract of Queue and History says of any process holds for the nodes of
// a cluster; this interface adds what only a cluster needs.
type Cluster interface {
	// Node returns the name of this node. Names are unique among the nodes that live:
	// a process that is to have the name of one that lives gets it with a number
	// added, such as web-2, and says so in the log. It keeps its name while it lives,
	// unless it is taken for dead and another has the name by then.
	Node() string
	// Describe says what this node runs, for Nodes on every node. It returns at once:
	// the others learn of it with this node's next sign of life.
	Describe(Description)
	// Nodes returns the nodes that live and those that were seen within the last
	// week, ordered by name.
	Nodes(ctx context.Context) ([]Node, error)
	// OneNode names the actions whose deliveries one node at a time may take, in
	// place of those named before. Take of such an action waits on every other node
	// for as long as that one lives and takes, and no two nodes hold unexpired leases
	// of it at once. It is in force on a node once that node calls it.
	OneNode(actions []string)
	// Leads reports whether this node is the one that does, for the whole cluster,
	// what is to be done once. At most one node leads at any time. When it ends, or
	// is cut off from the storage, another leads within the time of a lease.
	Leads() bool
	// Ahead returns by how much the clock of this machine is ahead of that of the storage:
	// negative if it is behind, zero while they agree to a second. The queue corrects what
	// it measures itself. The times that it only carries, such as Expires of a Delivery,
	// are compared on other nodes too: callers give them by the clock of the storage.
	Ahead() time.Duration
	// OnSwitches has obey called after another node turned a switch, once Switches
	// returns what is off now. Change returns on that node when obey has returned nil
	// on every other node that lives: so what callers remember of the switches is in
	// force everywhere then, also those that the queue only keeps. After an error it is
	// called again, and a node on which it does not return nil for the time of a lease
	// lives no longer. It is also called when this node may have missed that a switch was
	// turned, such as after the storage could not be reached, before the node counts as
	// one that lives again: until then Put gives ErrUnavailable there, because its caller
	// may go by what was turned meanwhile. Calls come one at a time. obey must not call Change, and
	// returns soon after ctx ends.
	OnSwitches(obey func(ctx context.Context) error)
}

// Description is what a node says of itself.
type Description struct {
	// Version is the version of the program.
	Version string `json:"version"`
	// Configuration is the digest of the configuration in force, as the name of its
	// NoteConfiguration.
	Configuration string `json:"configuration"`
	// Delivers is false on a node that only receives.
	Delivers bool `json:"delivers"`
}

// Node is one process that has the storage open, or had.
type Node struct {
	Name string `json:"name"`
	Description
	// Started is when it opened the storage, and Seen when it gave its last sign of
	// life, both by the clock of the storage.
	Started time.Time `json:"started"`
	Seen    time.Time `json:"seen"`
	// Lives is false once the node has closed the storage, or gave no sign of life
	// for the time of a lease.
	Lives bool `json:"lives"`
	// Closed is true once the node has closed the storage: it did not vanish.
	Closed bool `json:"closed,omitempty"`
	// Self is true for the node that was asked.
	Self bool `json:"self,omitempty"`
}
