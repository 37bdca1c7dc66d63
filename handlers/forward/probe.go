package forward

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// endpoint is what can be reached or not: a target, and how connections to it
// are made. Actions that show it different certificates, or trust different
// ones, do not judge it for each other.
type endpoint struct {
	target
	// tls is the key of the TLS setting.
	tls [32]byte
}

const (
	// putOffLeast is for how long at least a delivery is put off whose target is
	// down while the action has others to serve. It is as short as it is because
	// that is what may pass from the probe that succeeds to the rest.
	putOffLeast = 250 * time.Millisecond

	// putOffStep spreads what is put off: it comes back no faster than it could
	// be sent, so that a long backlog does not keep the queue busy with coming
	// and going.
	putOffStep = 100 * time.Microsecond

	// mostOutages bounds what is remembered of a target that comes and goes.
	mostOutages = 256
)

// reach is whether an endpoint can be reached, as its attempts have shown.
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
type reach struct {
	// name is the target as a URL.
	name string

	// answered is when an answer came last, in nanoseconds since 1970. An attempt
	// that began before that proves nothing when it fails.
	answered atomic.Int64

	// down says that mu must be held to know more. It changes under mu.
	down atomic.Bool

	mu sync.Mutex
	// changed is closed and replaced when waiting lanes should look again.
	changed chan struct{}
	// failures counts the attempts in vain that set the pause to the next probe,
	// which may begin at next.
	failures int
	next     time.Time
	// probe is the number of the probe in flight, 0 for none, which began at
	// probing. probes counts them.
	probe, probes int
	probing       time.Time
	// failed are the lanes whose attempts failed in this outage.
	failed map[*lane]bool
	// since is when the endpoint was found to be down.
	since time.Time
	// putOff counts the deliveries put off since the last probe ended.
	putOff int
	// outages are the times in which nothing could reach the endpoint, the last
	// one without an end while that is so. The first ends when it became known at
	// all: what was before that, in another process perhaps, counts as an outage.
	outages []outage
}

type outage struct{ from, to time.Time }

func newReach(name string, now time.Time) *reach {
	return &reach{name: name, changed: make(chan struct{}), failed: map[*lane]bool{}, outages: []outage{{to: now}}}
}

// wake makes waiting lanes look again. r.mu is held.
func (r *reach) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// opens says whether a lane may take a delivery for this endpoint alone. If not,
// it returns what to wait for: a time, zero for none, and a channel. While the
// endpoint is up there is no channel.
func (r *reach) opens(l *lane, now time.Time) (open bool, until time.Time, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.down.Load():
		return true, time.Time{}, nil
	case r.probe != 0:
		return false, time.Time{}, r.changed
	}
	return r.mayProbe(l, now), r.next, r.changed
}

// mayProbe reports whether a lane may probe, if nobody else does. r.mu is held.
func (r *reach) mayProbe(l *lane, now time.Time) bool {
	return !now.Before(r.next) || !r.failed[l]
}

// enter asks whether an attempt of a lane may begin. If the endpoint is down, it
// may as the probe, whose number is returned, or not at all.
func (r *reach) enter(l *lane, now time.Time) (probe int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.down.Load():
		return 0, true
	case r.probe != 0 || !r.mayProbe(l, now):
		return 0, false
	}
	r.probes++
	r.probe, r.probing = r.probes, now
	return r.probe, true
}

// putOffUntil returns when a delivery that may not be attempted now should come
// back: soon after the next probe has begun, and while one is in flight after as
// long again as that has taken.
func (r *reach) putOffUntil(now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.down.Load() {
		return now
	}
	r.putOff++
	again := now
	if r.probe == 0 {
		again = again.Add(max(r.next.Sub(now), 0) + putOffLeast)
	} else {
		again = again.Add(max(now.Sub(r.probing), putOffLeast))
	}
	return again.Add(time.Duration(r.putOff) * putOffStep)
}

// leave ends a probe whose outcome is known, or will never be. Other numbers do
// nothing.
func (r *reach) leave(probe int) {
	if probe == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probe == probe {
		r.probe, r.putOff = 0, 0
		r.wake()
	}
}

// answer notes that an answer came. It returns how long the endpoint was down,
// and whether that is over with this answer.
func (r *reach) answer(now time.Time) (downFor time.Duration, over bool) {
	r.answered.Store(now.UnixNano())
	if !r.down.Load() {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.down.Load() {
		return 0, false
	}
	r.endOutage(now)
	r.down.Store(false)
	r.failures, r.probe, r.putOff = 0, 0, 0
	clear(r.failed)
	r.wake()
	return now.Sub(r.since), true
}

// beginOutage and endOutage note that nothing can reach the endpoint from now on,
// and that something could. r.mu is held.
func (r *reach) beginOutage(now time.Time) {
	if r.outages[len(r.outages)-1].to.IsZero() {
		return
	}
	r.outages = append(r.outages, outage{from: now})
	if len(r.outages) > mostOutages {
		// What was between the two oldest counts as an outage too: rather a
		// delivery is tried for longer than promised.
		r.outages[1].from = r.outages[0].from
		r.outages = append(r.outages[:0], r.outages[1:]...)
	}
}

func (r *reach) endOutage(now time.Time) {
	if last := &r.outages[len(r.outages)-1]; last.to.IsZero() {
		last.to = now
	}
}

// fail notes that an attempt of a lane, which began at a time, got no proper
// answer, and whether it reached the endpoint. The pause to the next probe depends
// on how many of them failed. It returns when that may begin, whether the endpoint
// is down, and whether that is news. It is not down if another attempt got an
// answer meanwhile.
func (r *reach) fail(l *lane, began, now time.Time, reached bool, pause func(failures int) time.Duration) (next time.Time, down, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch news = !r.down.Load(); {
	case news && r.answered.Load() > began.UnixNano():
		return time.Time{}, false, false
	case news:
		r.down.Store(true)
		r.since = now
	}
	if reached {
		r.endOutage(now)
	} else {
		r.beginOutage(now)
	}
	r.failed[l] = true
	// One that began before the endpoint was known to be down, or out of turn,
	// changes no turn.
	if news || !began.Before(r.next) {
		r.failures++
		r.next = now.Add(pause(r.failures))
	}
	return later(r.next, now), true, news
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// spent returns how much time has passed since a delivery's first attempt,
// without the outages.
func (r *reach) spent(first, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	spent := now.Sub(first)
	for i := len(r.outages) - 1; i >= 0; i-- {
		o := r.outages[i]
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

// reaches are all endpoints that were ever met, by what they are called: a
// default port may be written or not.
type reaches struct {
	mu  sync.RWMutex
	all map[endpoint]*reach
}

// of returns what is known of an endpoint.
func (s *reaches) of(e endpoint, now time.Time) *reach {
	s.mu.RLock()
	known := s.all[e]
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	full := e
	full.target = e.withPort()
	known = s.all[full]
	if known == nil {
		known = newReach(e.String(), now)
	}
	if s.all == nil {
		s.all = map[endpoint]*reach{}
	}
	s.all[e], s.all[full] = known, known
	return known
}

// withPort returns the target with its port written.
func (t target) withPort() target {
	switch {
	case strings.LastIndexByte(t.host, ':') > strings.LastIndexByte(t.host, ']'):
	case t.scheme == "https":
		t.host += ":443"
	default:
		t.host += ":80"
	}
	return t
}

// endpointFor returns what requests for the events of a tenant go to. ok is false
// if there can be none.
func (p *Prepared) endpointFor(tenant string) (e endpoint, ok bool) {
	v := p.variantFor(tenant)
	e.target = v.target
	if p.tls != nil && v.target.scheme == "https" {
		e.tls = p.tls.key
	}
	return e, v.missing == nil
}

// TargetFor returns the target of requests for the events of a tenant, as Targets
// has it. ok is false if there can be none.
func (p *Prepared) TargetFor(tenant string) (target string, ok bool) {
	e, ok := p.endpointFor(tenant)
	return e.target.String(), ok
}

// onlyEndpoint returns the endpoint of an action that has no other.
func (p *Prepared) onlyEndpoint() (e endpoint, ok bool) {
	if len(p.targets) != 1 {
		return e, false
	}
	if e, ok = p.endpointFor(""); ok {
		return e, true
	}
	// The one target is that of tenants that a parameter lists.
	for tenant := range p.tenants {
		if e, ok = p.endpointFor(tenant); ok {
			return e, true
		}
	}
	return e, false
}
