package relay

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// What a runtime does as one of the nodes that share a queue: it says what it runs,
// and tells its own notes from those of the others. Without a queue.Cluster it does
// none of this.

// Node is a node as this one sees it.
type Node struct {
	queue.Node
	// Vanished says that it gave no sign of life for the time of a lease, and did not
	// close the queue.
	Vanished bool `json:"vanished,omitempty"`
	// Differs says that it lives and that its configuration says something else than
	// that of this node, places and the queue's own settings aside.
	Differs bool `json:"differs,omitempty"`
	// Ahead is by how many seconds the clock of its machine is ahead of that of the
	// storage, negative if it is behind, zero while they agree to some seconds. It is known of
	// nodes that live.
	Ahead int64 `json:"ahead_seconds,omitempty"`
}

// Nodes returns the nodes that share the queue, ordered by name: those that live and
// those that were seen within the last week. There is none if the queue is not shared.
func Nodes(ctx context.Context, r *Runtime) ([]Node, error) {
	if r.cluster == nil {
		return nil, nil
	}
	known, err := r.cluster.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which nodes share the queue: %w", err)
	}
	// A name stands for one node: that which lives, else the one seen last.
	slices.SortFunc(known, func(a, b queue.Node) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(oneIf(b.Lives), oneIf(a.Lives)), b.Seen.Compare(a.Seen))
	})
	known = slices.CompactFunc(known, func(a, b queue.Node) bool { return a.Name == b.Name })
	own := ""
	for _, node := range known {
		if node.Self {
			own = node.Configuration
		}
	}
	ahead, err := r.aheadOf(ctx)
	if err != nil {
		return nil, err
	}
	nodes := make([]Node, len(known))
	for i, node := range known {
		nodes[i] = Node{Node: node, Vanished: !node.Lives && !node.Closed}
		if node.Self {
			ahead[node.Name] = wrong(r.ahead())
		}
		if node.Lives {
			nodes[i].Ahead = int64(ahead[node.Name] / time.Second)
		}
		if node.Lives && own != "" && node.Configuration != "" && node.Configuration != own {
			if nodes[i].Differs, err = r.differ(ctx, own, node.Configuration); err != nil {
				return nil, err
			}
		}
	}
	return nodes, nil
}

// Carriers returns the names of the nodes that carry out deliveries of an action: they
// live, deliver, and their configuration has it.
func Carriers(ctx context.Context, r *Runtime, action string) ([]string, error) {
	if r.cluster == nil {
		return nil, nil
	}
	nodes, err := r.cluster.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which nodes share the queue: %w", err)
	}
	var names []string
	for _, node := range nodes {
		if !node.Lives || !node.Delivers || node.Configuration == "" {
			continue
		}
		text, err := r.noted(ctx, node.Configuration)
		if err != nil {
			return nil, err
		}
		// Another version may have settings that this one does not know.
		var says struct {
			Actions []struct {
				Name string `json:"name"`
			} `json:"actions"`
		}
		if err := json.Unmarshal([]byte(text), &says); err != nil {
			return nil, fmt.Errorf("reading the configuration of node %s: %w", node.Name, err)
		}
		for _, configured := range says.Actions {
			if configured.Name == action {
				names = append(names, node.Name)
			}
		}
	}
	return names, nil
}

// noted returns what the configuration of a digest says, as a node noted it, or nothing
// in JSON if none did yet.
func (r *Runtime) noted(ctx context.Context, digest string) (string, error) {
	note, err := r.engine.FindNote(ctx, queue.NoteConfiguration, digest)
	if errors.Is(err, queue.ErrNotFound) {
		return "{}", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the configuration %s: %w", digest, err)
	}
	return note.Text, nil
}

// differ reports whether two configurations say different things. Where they say it
// makes no difference, and each node has settings of its own for the queue, such as its
// name.
func (r *Runtime) differ(ctx context.Context, a, b string) (bool, error) {
	var says [2]string
	for i, digest := range []string{a, b} {
		text, err := r.noted(ctx, digest)
		if err != nil {
			return false, err
		}
		var members map[string]any
		if err := json.Unmarshal([]byte(text), &members); err != nil {
			return true, nil
		}
		delete(members, "queue")
		withoutPlaces(members)
		written, err := json.Marshal(members)
		if err != nil {
			return true, nil
		}
		says[i] = string(written)
	}
	return says[0] != says[1], nil
}

// withoutPlaces removes where settings stand.
func withoutPlaces(value any) {
	switch value := value.(type) {
	case map[string]any:
		delete(value, "place")
		for _, member := range value {
			withoutPlaces(member)
		}
	case []any:
		for _, element := range value {
			withoutPlaces(element)
		}
	}
}

// node returns the name of this node, empty if the queue is not shared.
func (r *Runtime) node() string {
	if r.cluster == nil {
		return ""
	}
	return r.cluster.Node()
}

// join tells the cluster what a generation runs. It is called before the generation
// takes deliveries: an action of which one node at a time takes must never be taken as
// another. The caller holds the mutex.
func (r *Runtime) join(generation *Generation) {
	if r.cluster == nil {
		return
	}
	configuration := &generation.Configuration
	var oneNode []string
	for _, action := range configuration.Actions {
		if action.OneNode {
			oneNode = append(oneNode, action.Name)
		}
	}
	r.cluster.OneNode(oneNode)
	r.cluster.Describe(queue.Description{
		Version: configuration.Version, Configuration: digestOf(configuration.Snapshot), Delivers: configuration.Delivers(),
	})
}

// digestOf returns what a configuration is called in notes and by nodes: the same for
// equal snapshots, and empty without one.
func digestOf(snapshot []byte) string {
	if len(snapshot) == 0 {
		return ""
	}
	sum := sha256.Sum256(snapshot)
	return hex.EncodeToString(sum[:])[:12]
}

// mostNotes bounds how many notes of all nodes are looked at for one of this node.
const mostNotes = 100

// newestNote returns the newest note of a kind that this node made, with its text if
// whole is set. ID is 0 if there is none.
func (r *Runtime) newestNote(ctx context.Context, kind queue.NoteKind, whole bool) (queue.Note, error) {
	most := mostNotes
	if r.cluster == nil {
		most = 1
	}
	notes, err := r.engine.Notes(ctx, kind, time.Time{}, time.Time{}, most, whole)
	if err != nil {
		return queue.Note{}, err
	}
	node := r.node()
	for _, note := range notes {
		if note.Node == node {
			return note, nil
		}
	}
	return queue.Note{}, nil
}

// Delivers reports whether this node carries out deliveries. With `deliver off` it only
// receives, and leaves them to the other nodes.
func (c *Configuration) Delivers() bool { return c.Queue == nil || !c.Queue.ReceiveOnly }
