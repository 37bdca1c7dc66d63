package postgres

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// nextStep is a step as a later version may have it: it only adds.
const nextStep = `
ALTER TABLE events ADD COLUMN later text;
ALTER TABLE waiting ADD COLUMN later bigint NOT NULL DEFAULT 0;
CREATE INDEX waiting_later ON waiting (later) WHERE later > 0;
CREATE TABLE later (id bigint PRIMARY KEY);
`

// The first node of a newer version adds to the tables, while nodes of this version
// store and deliver. They go on. One of them that is started again refuses the tables,
// and says what to do.
//
// It changes what this program knows, so it does not run beside others.
func TestOlderNodesGoOnWhileTheSchemaIsAddedTo(t *testing.T) {
	dsn, schema := pgtest.Schema(t)
	// A node leases what it stores when nothing is before it. Nothing takes on the newer
	// node at first, and the older one then waits until the lease is over.
	store := func(node string) Store { return Store{DSN: dsn, Schema: schema, Node: node, Lease: MinLease} }
	old := opened(t, store("old"))

	stop := make(chan struct{})
	var working sync.WaitGroup
	delivered := 0
	working.Go(func() {
		for {
			putOn(t, old, "x", "key", 2)
			putOn(t, old, "x", "", 3)
			for range 5 {
				deliverOn(t, old, takeOn(t, old, "x"))
				delivered++
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	before := steps
	steps = append(steps[:len(steps):len(steps)], nextStep)
	newer := opened(t, store("newer"))
	steps = before

	putOn(t, newer, "x", "key", 1)
	close(stop)
	working.Wait()
	// What the newer stored is for both.
	deliverOn(t, old, takeOn(t, old, "x"))
	putOn(t, old, "x", "", 1)
	deliverOn(t, newer, takeOn(t, newer, "x"))
	if found, err := old.Verify(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("verifying found %q, %v", found, err)
	}
	for _, db := range []*DB{old, newer} {
		if troubles := db.Troubles(); len(troubles) > 0 {
			t.Errorf("node %s has the troubles %+v", db.Node(), troubles)
		}
	}
	if err := newer.flush(t.Context()); err != nil { // the backlog is read from the tables
		t.Error(err)
	}
	if backlog, err := newer.Backlog(t.Context()); err != nil || len(backlog) > 0 || delivered < 5 {
		t.Errorf("after %d deliveries %+v wait, %v", delivered, backlog, err)
	}

	_, err := store("old").Open(false, nil)
	if !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), "a newer Event Relay has written it; use that one here too") {
		t.Errorf("an older program that is started gave %v", err)
	}
}
