package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// What a runtime does as one of the nodes that share a queue: it says what it runs,
// and tells its own notes from those of the others. Without a queue.Cluster it does
// none of this.

// Nodes returns the nodes that share the queue, ordered by name: those that live and
// those that were seen within the last week. There is none if the queue is not shared.
func Nodes(ctx context.Context, r *Runtime) ([]queue.Node, error) {
	if r.cluster == nil {
		return nil, nil
	}
	return r.cluster.Nodes(ctx)
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
		Version: configuration.Version, Configuration: digestOf(configuration.Snapshot), Delivers: configuration.delivers(),
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

// delivers reports whether this node carries out deliveries: `deliver off` makes it one
// that only receives.
func (c *Configuration) delivers() bool { return true }
