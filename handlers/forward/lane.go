package forward

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

const (
	// mostTaken bounds how many deliveries are taken at once.
	mostTaken = 64
	// takeAgain is the pause after the queue failed to give any.
	takeAgain = time.Second
	// lookLeast is the shortest pause between two looks for deliveries that have
	// expired while their action must wait.
	lookLeast = time.Second
)

// lane carries out the deliveries of one action name.
//
// At most one of its goroutines takes from the queue: whichever is free. It
// hands the taking on before it begins an attempt, if the limit leaves room for
// more; if not, whoever finishes first takes again. So an idle action costs one
// goroutine, and a busy one needs no goroutine woken for another.
//
// While its rate or its only target make it wait, a lane takes nothing, so that
// no lease runs out meanwhile.
type lane struct {
	dispatcher *Dispatcher
	name       string

	// pace belongs to the goroutine that takes.
	pace pace

	mu sync.Mutex
	// means is what attempts are made with, zero while the lane is closed.
	means
	// ctx ends when the lane is closed.
	ctx    context.Context
	cancel context.CancelFunc
	// renewed is closed and replaced when means change.
	renewed  chan struct{}
	inFlight int
	taking   bool
}

// means are what a generation makes attempts with.
type means struct {
	action *Prepared
	sender *guarded
	// reach is that of the action's only target, nil if it has several: then
	// each delivery has to be looked at.
	reach *reach
}

// job is a delivery that may be attempted now, zero for none.
type job struct {
	means
	lease *queue.Lease
	// reach is that of the delivery's target, nil if it has none.
	reach *reach
	// probe is the number of the probe that the attempt is, 0 if it is none.
	probe int
	// extra says that it does not count against the limit of the action: the
	// probe of one target must not keep the deliveries for others waiting.
	extra bool
}

// open makes the lane use an action, also in place of another.
func (l *lane) open(with means) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.action == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
	}
	l.means = with
	if l.renewed != nil {
		close(l.renewed)
	}
	l.renewed = make(chan struct{})
	l.handOn()
}

// close makes the lane take nothing more.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.action != nil {
		l.means = means{}
		l.cancel()
	}
}

// handOn starts a goroutine that takes, if one is wanted. l.mu is held.
func (l *lane) handOn() {
	if l.claim() {
		l.dispatcher.running.Go(func() { l.serve(job{}) })
	}
}

// claim makes the caller the one that takes, if one is wanted. l.mu is held.
func (l *lane) claim() bool {
	if l.taking || l.room() <= 0 {
		return false
	}
	l.taking = true
	return true
}

// room returns how many more attempts may begin. l.mu is held.
func (l *lane) room() int {
	if l.action == nil {
		return 0
	}
	return l.action.Concurrency() - l.inFlight
}

// serve carries out a job, if it is given one, and then takes and carries out
// others as long as no other goroutine does the taking.
func (l *lane) serve(j job) {
	for {
		if j.lease != nil {
			l.dispatcher.attempt(l, j)
			l.mu.Lock()
			if !j.extra {
				l.inFlight--
			}
			claimed := l.claim()
			l.mu.Unlock()
			if !claimed {
				return
			}
		}
		if j = l.take(); j.lease == nil {
			return
		}
	}
}

// take waits for deliveries, starts the attempts of all but the first and
// returns that. It returns none when the lane is closed.
func (l *lane) take() job {
	d := l.dispatcher
	// look is when to look for expired deliveries while the lane must wait.
	var look time.Time
	for {
		l.mu.Lock()
		ctx, renewed, with, n := l.ctx, l.renewed, l.means, l.room()
		if n <= 0 {
			// Closed, or the limit was lowered: whoever finishes claims again.
			l.taking = false
			l.mu.Unlock()
			return job{}
		}
		l.mu.Unlock()
		n, wait := l.most(with, n)
		if n == 0 {
			now := d.now()
			if every := with.action.action.Expires; every > 0 {
				if look.IsZero() {
					look = now.Add(max(every, lookLeast))
				}
				if wait.until.IsZero() || look.Before(wait.until) {
					wait.until = look
				}
			}
			if look.IsZero() || now.Before(look) {
				wait.renewed = renewed
				d.wait(ctx, wait)
				continue
			}
			n = 1
		}
		leases, err := d.queue.Take(ctx, l.name, n)
		if errors.Is(err, queue.ErrClosed) {
			l.mu.Lock()
			l.taking = false
			l.mu.Unlock()
			return job{}
		}
		if err != nil && ctx.Err() == nil {
			d.logger.Error("taking deliveries", zap.String("action", l.name), zap.Error(err))
			d.wait(ctx, waiting{until: d.now().Add(takeAgain)})
		}
		first, returned := l.begin(leases)
		if first.lease != nil {
			return first
		}
		if returned {
			// The oldest has not expired, so none has.
			look = time.Time{}
		}
	}
}

// waiting is what a lane waits for: a time, or that something changes. What is
// zero never comes.
type waiting struct {
	until            time.Time
	changed, renewed <-chan struct{}
}

// most returns how many deliveries may be taken at once, up to n. If it is none,
// it says what to wait for.
func (l *lane) most(with means, n int) (int, waiting) {
	rate, reach := with.action.action.Rate, with.reach
	n = min(n, mostTaken)
	if rate.Count > 0 {
		if next := l.pace.next(rate); l.dispatcher.now().Before(next) {
			return 0, waiting{until: next}
		}
		n = 1
	}
	if reach != nil && reach.down.Load() {
		open, until, changed := reach.opens(l, l.dispatcher.now())
		if !open {
			return 0, waiting{until: until, changed: changed}
		}
		if changed != nil {
			n = 1
		}
	}
	return n, waiting{}
}

// begin starts attempts for leases as far as there is room, hands the taking
// on, and returns the first job for the caller to carry out. It says whether any
// delivery was given back.
func (l *lane) begin(leases []queue.Lease) (first job, returned bool) {
	if len(leases) == 0 {
		return job{}, false
	}
	l.mu.Lock()
	with := l.means
	// A reload may have left less room than was asked for.
	n := min(len(leases), max(l.room(), 0))
	l.inFlight += n
	l.mu.Unlock()
	for i := range leases[n:] {
		l.dispatcher.giveBack(&leases[n+i])
	}
	returned = n < len(leases)

	now := l.dispatcher.now()
	var more []job
	counted := 0
	for i := range leases[:n] {
		j, verdict := l.admit(with, &leases[i], now)
		if verdict != admitted {
			returned = returned || verdict == givenBack
			continue
		}
		if !j.extra {
			counted++
		}
		if first.lease == nil {
			first = j
			continue
		}
		if more == nil {
			more = make([]job, 0, n)
		}
		more = append(more, j)
	}

	l.mu.Lock()
	l.inFlight -= n - counted
	if first.lease != nil {
		l.taking = false
		l.handOn()
	}
	l.mu.Unlock()
	for i := range more {
		l.dispatcher.running.Go(func() { l.serve(more[i]) })
	}
	return first, returned
}

// admission says what became of a delivery that was taken.
type admission int

const (
	admitted admission = iota
	givenBack
	ended
)

// admit decides whether a delivery that was taken is attempted now, and sees to
// it otherwise.
func (l *lane) admit(with means, lease *queue.Lease, now time.Time) (job, admission) {
	d := l.dispatcher
	j := job{means: with, lease: lease, reach: with.reach}
	if expires := lease.Delivery.Expires; !expires.IsZero() && !now.Before(expires) {
		d.expire(lease)
		return job{}, ended
	}
	if rate := with.action.action.Rate; rate.Count > 0 && now.Before(l.pace.next(rate)) {
		d.giveBack(lease)
		return job{}, givenBack
	}
	if j.reach == nil && lease.Event != nil {
		if endpoint, ok := with.action.endpointFor(lease.Event.Tenant()); ok {
			j.reach = d.reaches.of(endpoint, now)
		}
	}
	if j.reach != nil && j.reach.down.Load() {
		probe, ok := j.reach.enter(l, now)
		if !ok {
			d.putOff(with, j.reach, lease, now)
			return job{}, givenBack
		}
		j.probe, j.extra = probe, probe != 0 && with.reach == nil
	}
	l.pace.last = now
	return j, admitted
}
