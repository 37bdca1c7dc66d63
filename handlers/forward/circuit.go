package forward

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// endpoint is what a circuit is kept for: a target, and how connections to it are
// made. Actions with different TLS settings have circuits of their own: a wrong
// certificate in one of them says nothing about the others.
type endpoint struct {
	send.Target
	// tls is the key of the TLS setting.
	tls [32]byte
	// startTLS is that of a mail.
	startTLS config.StartTLS
}

const (
	// postponeLeast is the shortest time for which a delivery is postponed when its
	// target is down and its action has other targets. Kept short: after a probe
	// that succeeds, the remaining deliveries wait about this long.
	postponeLeast = 250 * time.Millisecond

	// postponeStep is the time between two postponed deliveries. Without it a long
	// backlog would come back all at once, and keep the queue busy with being taken
	// and given back.
	postponeStep = 100 * time.Microsecond

	// mostOutages bounds how many outages of an endpoint are remembered.
	mostOutages = 256
)

// circuit remembers whether an endpoint answers.
//
// An attempt without a proper answer makes the endpoint down. Then one delivery at
// a time is sent as a probe, with a growing pause between two probes, and the other
// deliveries wait. Any answer, also one with status 500, ends that.
//
// While the endpoint cannot be connected to, it has an outage, and retry_for stands
// still. After a connection retry_for runs: the target may have carried out the
// request, and must not be asked for ever.
//
// The queue chooses the delivery for a probe, usually another one each time. An
// action that has not failed since the endpoint is down may probe before the pause
// is over. Without that, one request that the target never answers, or one action
// with such requests, would hold up all others.
type circuit struct {
	// name is the target as a URL.
	name string

	// answered is when the last answer came, in nanoseconds since 1970. The failure
	// of an attempt that began before does not make the endpoint down.
	answered atomic.Int64

	// down says that the endpoint is down. It changes with mu held, and is read
	// without mu before each attempt.
	down atomic.Bool

	mu sync.Mutex
	// changed is closed and replaced when waiting workers should look again.
	changed chan struct{}
	// failures counts the failed attempts that made the pause longer. The next
	// probe may begin at next.
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
	// outages are the times in which the endpoint could not be connected to. The
	// last one has no end while it lasts. The first ends when this circuit was made:
	// the time before, perhaps in another process, counts as an outage, so that
	// retry_for never ends too early.
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

// opens says whether a worker that calls only this endpoint may take a delivery. If
// not, it returns what to wait for: a time, zero for none, and a channel. The channel
// is nil while the endpoint is up.
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

// enter says whether an attempt of a worker may begin. If the endpoint is down, the
// attempt is the probe, and its number is returned.
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

// probeNow lets the next probe begin at once, if the endpoint is down and none is in
// flight. If that probe fails, the pause after it is as long as the last one: an
// administrator who tries more often must not make the relay try less often.
func (c *circuit) probeNow(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.down.Load() || c.probe != 0 || !now.Before(c.next) {
		return
	}
	c.next, c.postponed = now, 0
	c.failures = max(c.failures-1, 0)
	c.wake()
}

// postponeUntil returns when a delivery that may not be attempted now is due again:
// soon after the next probe begins. While a probe is in flight, the delivery waits
// as long again as the probe has taken so far.
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

// leave ends a probe, also one without an outcome. A number that is not that of the
// probe in flight does nothing.
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

// answer notes that an answer came. If the endpoint was down, it is up now: over is
// true, and downFor says how long it was down.
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

// beginOutage notes that the endpoint cannot be connected to, and endOutage that it
// can. c.mu is held.
func (c *circuit) beginOutage(now time.Time) {
	if c.outages[len(c.outages)-1].to.IsZero() {
		return
	}
	c.outages = append(c.outages, outage{from: now})
	if len(c.outages) > mostOutages {
		// The time between the two oldest counts as an outage then: a delivery is
		// tried for longer than retry_for says, and never for less.
		c.outages[1].from = c.outages[0].from
		c.outages = append(c.outages[:0], c.outages[1:]...)
	}
}

func (c *circuit) endOutage(now time.Time) {
	if last := &c.outages[len(c.outages)-1]; last.to.IsZero() {
		last.to = now
	}
}

// fail notes that an attempt of a worker got no proper answer. It began at the given
// time; reached says whether it connected to the endpoint. pause returns the pause
// before the next probe for a number of failures.
//
// next is when that probe may begin, down whether the endpoint is down, and news
// whether it was up before. It stays up if an answer came since the attempt began.
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
	// An attempt that began before the endpoint was down, or before its turn, does
	// not make the pause longer.
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

// spent returns how much of retry_for a delivery has used: the time since its first
// attempt, without the outages.
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

// circuits holds a circuit for each endpoint that was ever called. http://h and
// http://h:80 share one.
type circuits struct {
	mu  sync.RWMutex
	all map[endpoint]*circuit
}

// named returns the circuits of a target: one for each way of connecting to it.
func (s *circuits) named(target string) []*circuit {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []*circuit
	for _, c := range s.all {
		if c.name == target && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// of returns the circuit of an endpoint.
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
