//go:build unix

package failures

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres"
)

// patience is how long something may take that must happen.
const patience = 2 * time.Minute

// cluster is three nodes on one database.
type cluster struct {
	*testing.T
	target   *target
	nodes    []*process
	schema   string
	failures []failure
}

// newCluster starts three nodes, each of which reaches the database in its own way.
// Their configurations differ, as during a rolling update: only the first knows the
// action y.
func newCluster(t *testing.T, schema string, dsns ...string) *cluster {
	t.Helper()
	c := &cluster{T: t, target: newTarget(t), schema: schema}
	for i, dsn := range dsns {
		actions := []string{"x"}
		if i == 0 {
			actions = []string{"x", "y"}
		}
		c.nodes = append(c.nodes, &process{
			settings: settings{Name: fmt.Sprint("node ", i), DSN: dsn, Schema: schema, Target: c.target.URL, Actions: actions},
			t:        t, put: make(map[string]bool), refused: make(map[string]int),
		})
	}
	t.Cleanup(func() {
		for _, node := range c.nodes {
			if node.command != nil && node.command.Process != nil && node.command.ProcessState == nil {
				node.signal(syscall.SIGCONT)
				node.kill()
			}
			if t.Failed() {
				node.mu.Lock()
				text := node.log.String()
				t.Logf("%s refused %v, and logged at last:\n%s", node.Name, node.refused, text[max(0, len(text)-6000):])
				node.mu.Unlock()
			}
		}
	})
	var starting sync.WaitGroup
	for _, node := range c.nodes {
		starting.Go(node.start)
	}
	starting.Wait()
	return c
}

func (c *cluster) acknowledged() (n int) {
	for _, node := range c.nodes {
		n += node.acknowledged()
	}
	return n
}

// progress waits until so many further events are acknowledged, and as many delivered.
func (c *cluster) progress(n int) {
	c.Helper()
	acknowledged, delivered := c.acknowledged()+n, c.target.delivered()+n
	c.eventually("events are acknowledged and delivered", func() bool {
		return c.acknowledged() >= acknowledged && c.target.delivered() >= delivered
	})
}

func (c *cluster) eventually(what string, holds func() bool) {
	c.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// failed notes a failure that began at a time and is over.
func (c *cluster) failed(node string, from time.Time, paused bool) {
	c.failures = append(c.failures, failure{node, from, time.Now(), paused})
}

// finish lets the nodes deliver all that waits, ends them, and returns what is stored,
// in the order of receipt.
func (c *cluster) finish(dsn string) (all []stored) {
	c.Helper()
	for _, node := range c.nodes {
		node.say("quiet")
	}
	engine, err := postgres.Store{DSN: dsn, Schema: c.schema, Node: "the test"}.Open(true, zap.NewNop())
	if err != nil {
		c.Fatal(err)
	}
	defer engine.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	c.eventually("nothing waits any more", func() bool {
		backlog, err := engine.Backlog(ctx)
		if err != nil {
			c.Fatal(err)
		}
		return len(backlog) == 0
	})
	for _, node := range c.nodes {
		node.end()
	}
	for after := queue.Cursor(""); ; {
		page, err := engine.Page(ctx, queue.Filter{}, queue.OldestFirst, after, 1000)
		if err != nil {
			c.Fatal(err)
		}
		for _, s := range page.Events {
			for _, d := range s.Deliveries {
				key := ""
				if s.Subject != "" {
					key = d.Action + " " + s.Subject
				}
				all = append(all, stored{d.ID, d.Action, key, d.State})
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if verifier, ok := engine.(queue.Verifier); ok {
		found, err := verifier.Verify(ctx)
		if err != nil || len(found) > 0 {
			c.Errorf("verifying found %q, %v", found, err)
		}
	}
	return all
}

// check compares what was acknowledged, stored and delivered. most is how many
// deliveries may have been made again.
func (c *cluster) check(all []stored, most int) {
	c.Helper()
	acknowledged := make(map[string]bool)
	for _, node := range c.nodes {
		for id := range node.put {
			acknowledged[id] = true
		}
	}
	if len(acknowledged) < 300 {
		c.Errorf("only %d deliveries were acknowledged: this shows nothing", len(acknowledged))
	}
	if !slices.ContainsFunc(all, func(d stored) bool { return d.action == "y" }) {
		c.Error("no delivery was for the node that has another configuration")
	}
	got := judge(all, acknowledged, c.target.of, c.failures)
	c.Logf("%d failures, %d acknowledged, %d stored: %+v", len(c.failures), len(acknowledged), len(all), got)
	if want := (verdict{repeated: got.repeated, late: got.late}); got != want {
		c.Errorf("%+v, want nothing but what is repeated and late", got)
	}
	if got.repeated > most {
		c.Errorf("%d deliveries were repeated, want those in flight, which are %d at most", got.repeated, most)
	}
	if most := len(c.failures) * 2 * concurrency; got.late > most {
		c.Errorf("%d requests were late after pauses, want one for each worker at most, which are %d", got.late, most)
	}
}
