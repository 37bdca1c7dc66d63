package forward

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
)

// endpoint is what can be reached or not: a target, and how connections to it
// are made. Actions that show it different certificates, or trust different
// ones, do not judge it for each other.
type endpoint struct {
	send.Target
	// tls is the key of the TLS setting.
	tls [32]byte
}

const (
	// postponeLeast is for how long at least a delivery is postponed whose target is
	// down while the action has others to serve. Kept short: after a probe that
	// succeeds the remaining deliveries wait about this long.
	postponeLeast = 250 * time.Millisecond

	// postponeStep spreads what is postponed: it comes back no faster than it could
	// be sent, so that a long backlog does not keep the queue busy with coming
	// and going.
	postponeStep = 100 * time.Microsecond

	// mostOutages bounds what is remembered of a target that comes and goes.
	mostOutages = 256
)

// circuit is whether an endpoint can be reached, as its attempts have shown.
//
// When one of them gets no proper answer, the endpoint is down. Then one
// delivery at a time tests it, with a growing pause between two of these probes,
// and the others wait. Any answer, whatever its status, ends that.
//
// Only while it cannot even be connected to is that an outage, during which
// retry_for stands still: a target that took a request and did not answer may
// have carried it out, and must not be asked for ever.
//
// Whose turn it is to probe the queue decides: mostly that is another delivery
// each time. And an action that has not failed yet in an outage need not wait
// for the turn of a probe. So neither a single request that the target never
// answers, nor an action whose requests it never answers, can keep the others
// waiting for long.
type circuit struct {
	// name is the target as a URL.
	name string

	// answered is when an answer came last, in nanoseconds since 1970. An attempt
	// that began before that proves nothing when it fails.
	answered atomic.Int64

	// down says that mu must be held to know more. It changes under mu.
	down atomic.Bool

	mu sync.Mutex
	// changed is closed and replaced when waiting workers should look again.
	changed chan struct{}
	// failures counts the attempts in vain that set the pause to the next probe,
	// which may begin at next.
	failures int
	next     time.Time
	// probe is the number of the probe in flight, 0 for none, which began at
	// probing. probes counts them.
	probe, probes int
	probing       time.Time
	// failed are the workers whose attempts failed in this outage.
	failed map[*worker]bool
	// since is when the endpoint was found to be down.
	since time.Time
	// postponed counts the deliveries postponed since the last probe ended.
	postponed int
	// outages are the times in which nothing could reach the endpoint, the last
	// one without an end while that is so. The first ends when it became known at
	// all: what was before that, in another process perhaps, counts as an outage.
	outages []outage
}

type outage struct{ from, to time.Time }

func newCircuit(name string, now time.Time) *circuit {
	return &circuit{name: name, changed: make(chan struct{}), failed: map[*worker]bool{}, outages: []outage{{to: now}}}
}

// wake makes waiting workers look again. c.mu is held.
func (c *circuit) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// opens says whether a worker may take a delivery for this endpoint alone. If not,
// it returns what to wait for: a time, zero for none, and a channel. While the
// endpoint is up there is no channel.
func (c *circuit) opens(w *worker, now time.Time) (open bool, until time.Time, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.down.Load():
		return true, time.Time{}, nil
	case c.probe != 0:
		return false, time.Time{}, c.changed
	}
	return c.mayProbe(w, now), c.next, c.changed
}

// mayProbe reports whether a worker may probe, if no other does. c.mu is held.
func (c *circuit) mayProbe(w *worker, now time.Time) bool {
	return !now.Before(c.next) || !c.failed[w]
}

// enter asks whether an attempt of a worker may begin. If the endpoint is down, it
// may as the probe, whose number is returned, or not at all.
func (c *circuit) enter(w *worker, now time.Time) (probe int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.down.Load():
		return 0, true
	case c.probe != 0 || !c.mayProbe(w, now):
		return 0, false
	}
	c.probes++
	c.probe, c.probing = c.probes, now
	return c.probe, true
}

// postponeUntil returns when a delivery that may not be attempted now should come
// back: soon after the next probe has begun, and while one is in flight after as
// long again as that has taken.
func (c *circuit) postponeUntil(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.down.Load() {
		return now
	}
	c.postponed++
	again := now
	if c.probe == 0 {
		again = again.Add(max(c.next.Sub(now), 0) + postponeLeast)
	} else {
		again = again.Add(max(now.Sub(c.probing), postponeLeast))
	}
	return again.Add(time.Duration(c.postponed) * postponeStep)
}

// leave ends a probe whose outcome is known, or will never be. Other numbers do
// nothing.
func (c *circuit) leave(probe int) {
	if probe == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.probe == probe {
		c.probe, c.postponed = 0, 0
		c.wake()
	}
}

// answer notes that an answer came. It returns how long the endpoint was down,
// and whether that is over with this answer.
func (c *circuit) answer(now time.Time) (downFor time.Duration, over bool) {
	c.answered.Store(now.UnixNano())
	if !c.down.Load() {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.down.Load() {
		return 0, false
	}
	c.endOutage(now)
	c.down.Store(false)
	c.failures, c.probe, c.postponed = 0, 0, 0
	clear(c.failed)
	c.wake()
	return now.Sub(c.since), true
}

// beginOutage and endOutage note that nothing can reach the endpoint from now on,
// and that something could. c.mu is held.
func (c *circuit) beginOutage(now time.Time) {
	if c.outages[len(c.outages)-1].to.IsZero() {
		return
	}
	c.outages = append(c.outages, outage{from: now})
	if len(c.outages) > mostOutages {
		// What was between the two oldest counts as an outage too: rather a
		// delivery is tried for longer than promised.
		c.outages[1].from = c.outages[0].from
		c.outages = append(c.outages[:0], c.outages[1:]...)
	}
}

func (c *circuit) endOutage(now time.Time) {
	if last := &c.outages[len(c.outages)-1]; last.to.IsZero() {
		last.to = now
	}
}

// fail notes that an attempt of a worker, which began at a time, got no proper
// answer, and whether it reached the endpoint. The pause to the next probe depends
// on how many of them failed. It returns when that may begin, whether the endpoint
// is down, and whether that is news. It is not down if another attempt got an
// answer meanwhile.
func (c *circuit) fail(w *worker, began, now time.Time, reached bool, pause func(failures int) time.Duration) (next time.Time, down, news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch news = !c.down.Load(); {
	case news && c.answered.Load() > began.UnixNano():
		return time.Time{}, false, false
	case news:
		c.down.Store(true)
		c.since = now
	}
	if reached {
		c.endOutage(now)
	} else {
		c.beginOutage(now)
	}
	c.failed[w] = true
	// One that began before the endpoint was known to be down, or out of turn,
	// changes no turn.
	if news || !began.Before(c.next) {
		c.failures++
		c.next = now.Add(pause(c.failures))
	}
	return later(c.next, now), true, news
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// spent returns how much time has passed since a delivery's first attempt,
// without the outages.
func (c *circuit) spent(first, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	spent := now.Sub(first)
	for i := len(c.outages) - 1; i >= 0; i-- {
		o := c.outages[i]
		if o.to.IsZero() || o.to.After(now) {
			o.to = now
		}
		if !o.to.After(first) {
			break
		}
		spent -= max(o.to.Sub(later(o.from, first)), 0)
	}
	return max(spent, 0)
}

// circuits are all endpoints that were ever met, by what they are called: a
// default port may be written or not.
type circuits struct {
	mu  sync.RWMutex
	all map[endpoint]*circuit
}

// of returns what is known of an endpoint.
func (s *circuits) of(e endpoint, now time.Time) *circuit {
	s.mu.RLock()
	known := s.all[e]
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	full := e
	full.Target = e.WithPort()
	known = s.all[full]
	if known == nil {
		known = newCircuit(e.String(), now)
	}
	if s.all == nil {
		s.all = map[endpoint]*circuit{}
	}
	s.all[e], s.all[full] = known, known
	return known
}
