//go:build unix

package failures

import (
	"syscall"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// inFlight is how many deliveries of a node a failure may repeat: those that its workers
// attempt, and about as many that wait for a commit.
const inFlight = 3 * concurrency

func TestNodesAreKilled(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	c := newCluster(t, schema, dsn, dsn, dsn)
	const kills = 20
	for i := range kills {
		c.progress(60)
		node := c.nodes[i%3]
		node.kill()
		c.failed(node.Name, time.Now(), false)
		node.start()
	}
	c.progress(60)
	c.check(c.finish(dsn), kills*inFlight)
}

func TestDatabaseCrashes(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{})
	dsn := server.DSN()
	c := newCluster(t, "relay", dsn, dsn, dsn)
	const crashes = 5
	for i := range crashes {
		c.progress(150)
		began := time.Now()
		server.Crash()
		if i%2 == 0 {
			// Long enough for all to notice.
			for _, node := range c.nodes {
				before := node.refusals()
				c.eventually("Put is refused", func() bool { return node.refusals() > before })
			}
		}
		server.Start(t)
		c.failed("", began, false)
	}
	c.progress(150)
	c.check(c.finish(dsn), crashes*3*inFlight)
}

func TestSynchronousStandbyIsPromoted(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	standby := primary.Standby(t, true)
	dsn := pgtest.DSNs(primary, standby)
	c := newCluster(t, "relay", dsn, dsn, dsn)
	c.progress(300)
	began := time.Now()
	primary.Signal("KILL")
	standby.Promote(t)
	c.failed("", began, false)
	c.progress(300)
	c.check(c.finish(dsn), 3*inFlight)
}

func TestNodesAreCutOff(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	var proxies []*proxy
	var dsns []string
	for range 3 {
		p := newProxy(t, pgtest.Shared(t).Address())
		proxies, dsns = append(proxies, p), append(dsns, p.dsn())
	}
	c := newCluster(t, schema, dsns...)
	for i, p := range proxies {
		c.progress(150)
		began := time.Now()
		p.part()
		time.Sleep(lease + 2*time.Second) // the others take over what it had
		p.join(i%2 == 0)
		c.failed(c.nodes[i].Name, began, false)
	}
	c.progress(150)
	c.check(c.finish(dsn), len(proxies)*inFlight)
}

func TestNodesArePaused(t *testing.T) {
	t.Parallel()
	dsn, schema := pgtest.Schema(t)
	c := newCluster(t, schema, dsn, dsn, dsn)
	for _, node := range c.nodes {
		c.progress(150)
		began := time.Now()
		node.signal(syscall.SIGSTOP)
		time.Sleep(lease + 2*time.Second) // the others take over what it had
		node.signal(syscall.SIGCONT)
		c.failed(node.Name, began, true)
	}
	c.progress(150)
	c.check(c.finish(dsn), len(c.nodes)*inFlight)
}
