package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/queuetest"
)

// clusterHarness is a harness that opens the schema several times.
type clusterHarness struct {
	*harness
	t *testing.T

	mu    sync.Mutex
	nodes []*DB // that are not killed
	opens int
}

// beatInTests is how long nodes of the suite go without a sign of life: after time has
// passed they are waited for.
const beatInTests = 100 * time.Millisecond

func newClusterHarness(t *testing.T, l limits) *clusterHarness {
	return &clusterHarness{harness: newHarness(t, l), t: t}
}

func (h *clusterHarness) Open(t *testing.T) queue.Engine { return h.Another(t) }

func (h *clusterHarness) Another(t *testing.T) queue.Engine {
	t.Helper()
	h.mu.Lock()
	h.opens++
	options := h.options
	options.Node = fmt.Sprintf("node %d", h.opens)
	h.mu.Unlock()
	db, err := Open(options)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nodes = append(h.nodes, db)
	return db
}

// living returns the nodes that are neither closed nor killed.
func (h *clusterHarness) living() (living []*DB) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, db := range h.nodes {
		if !db.isClosed() {
			living = append(living, db)
		}
	}
	return living
}

// Advance lets time pass, and each node that lives give a sign of life afterwards.
func (h *clusterHarness) Advance(d time.Duration) {
	living := h.living()
	pass := func() {
		h.harness.mu.Lock()
		defer h.harness.mu.Unlock()
		h.now = h.now.Add(d)
		if _, err := living[0].pool.Exec(context.Background(), "UPDATE test_clock SET now = $1", h.now.UnixMicro()); err != nil {
			panic(err)
		}
	}
	for _, db := range living {
		if err := db.flush(context.Background()); err != nil {
			panic(err)
		}
		all := pass
		pass = func() { db.still(all) }
	}
	pass()
	for _, db := range living {
		db.lives()
	}
}

// Kill ends all that a node does, and writes nothing.
func (h *clusterHarness) Kill(engine queue.Engine) {
	db := engine.(*DB)
	db.mu.Lock()
	db.closing = true
	db.settlements, db.giveBack = nil, nil
	db.mu.Unlock()
	close(db.closed)
	db.nodes.self.Stop()
	db.settleTimer.Stop()
	db.close = func() error { return nil }
	db.background.Wait()
	db.fetches.Wait()
	db.pool.Close()
	// A sign of life may still be on its way: it would be given at the time to which a
	// test advances, and the node would live for another lease.
	pgtest.Shared(h.t).Holds(h.t, "SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity a JOIN "+h.options.Schema+
		".sessions s ON s.backend = a.pid AND s.connected = a.backend_start WHERE s.id = $1)", db.nodes.session)
}

func TestNodes(t *testing.T) {
	t.Parallel()
	queuetest.RunNodes(t, func(t *testing.T) queuetest.Cluster { return newClusterHarness(t, limits{}) })
}

// With hardly any memory every delivery goes through the table.
func TestNodesWithoutMemory(t *testing.T) {
	t.Parallel()
	queuetest.RunNodes(t, func(t *testing.T) queuetest.Cluster {
		return newClusterHarness(t, limits{ready: 1, readyBytes: 1, totalBytes: 1})
	})
}
