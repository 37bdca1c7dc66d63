package forward

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
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

// worker carries out the deliveries of one action name.
//
// At most one of its goroutines takes deliveries from the queue. Before it begins an
// attempt, it starts another goroutine that takes, unless the action's concurrency
// is used up. Then the first goroutine that finishes an attempt takes again. So an
// idle action costs one goroutine, and a busy one wakes none for each delivery.
//
// While its rate or its only target make it wait, a worker takes nothing, so that
// no lease runs out meanwhile.
type worker struct {
	dispatcher *Dispatcher
	name       string

	// limiter belongs to the goroutine that takes.
	limiter limiter

	mu sync.Mutex
	// resources is what attempts are made with, zero while the worker is closed.
	resources
	// ctx ends when the worker is closed. It is nil before the first open.
	ctx    context.Context
	cancel context.CancelFunc
	// renewed is closed and replaced when resources change.
	renewed  chan struct{}
	inFlight int
	taking   bool
}

// resources are what a generation makes attempts with.
type resources struct {
	action *Prepared
	sender *send.Connections
	// circuit is that of the action's only target, nil if it has several: then
	// each delivery has to be looked at.
	circuit *circuit
}

// job is a delivery that may be attempted now, zero for none.
type job struct {
	resources
	lease *queue.Lease
	// circuit is that of the delivery's target, nil if it has none.
	circuit *circuit
	// probe is the number of the probe that the attempt is, 0 if it is none.
	probe int
	// extra says that the attempt does not count against the action's concurrency:
	// a slow probe of one target must not hold up deliveries for other targets.
	extra bool
}

// open makes the worker use an action, also in place of another.
func (w *worker) open(with resources) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.action == nil {
		w.ctx, w.cancel = context.WithCancel(context.Background())
	}
	w.resources = with
	if w.renewed != nil {
		close(w.renewed)
	}
	w.renewed = make(chan struct{})
	w.handOn()
}

// close makes the worker take nothing more.
func (w *worker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.action != nil {
		w.resources = resources{}
		w.cancel()
	}
}

// handOn starts a goroutine that takes, if one is wanted. w.mu is held.
func (w *worker) handOn() {
	if w.claim() {
		w.dispatcher.running.Go(func() { w.serve(job{}) })
	}
}

// claim makes the caller the one that takes, if one is wanted. w.mu is held.
func (w *worker) claim() bool {
	if w.taking || w.room() <= 0 {
		return false
	}
	w.taking = true
	return true
}

// room returns how many more attempts may begin. w.mu is held.
func (w *worker) room() int {
	if w.action == nil {
		return 0
	}
	return w.action.action.Concurrency - w.inFlight
}

// serve carries out a job, if it is given one, and then takes and carries out
// others as long as no other goroutine does the taking.
func (w *worker) serve(j job) {
	for {
		if j.lease != nil {
			w.dispatcher.attempt(w, j)
			w.mu.Lock()
			if !j.extra {
				w.inFlight--
			}
			claimed := w.claim()
			w.mu.Unlock()
			if !claimed {
				return
			}
		}
		if j = w.take(); j.lease == nil {
			return
		}
	}
}

// take waits for deliveries, starts the attempts of all but the first and
// returns that. It returns none when the worker is closed.
func (w *worker) take() job {
	d := w.dispatcher
	// look is when to look for expired deliveries while the worker must wait.
	var look time.Time
	for {
		w.mu.Lock()
		ctx, renewed, with, n := w.ctx, w.renewed, w.resources, w.room()
		if n <= 0 {
			// The worker is closed, or a reload lowered the concurrency: then the next
			// goroutine that finishes an attempt claims the taking.
			w.taking = false
			w.mu.Unlock()
			return job{}
		}
		w.mu.Unlock()
		n, wait := w.most(with, n)
		if n == 0 {
			now := d.now()
			if every := time.Duration(with.action.action.Expires); every > 0 {
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
		leases, err := d.queue.Take(ctx, w.name, n)
		if errors.Is(err, queue.ErrClosed) {
			w.mu.Lock()
			w.taking = false
			w.mu.Unlock()
			return job{}
		}
		if err != nil && ctx.Err() == nil {
			d.logger.Error("taking deliveries", zap.String("action", w.name), zap.Error(err))
			d.wait(ctx, waiting{until: d.now().Add(takeAgain)})
		}
		first, returned := w.begin(leases)
		if first.lease != nil {
			return first
		}
		if returned {
			// The oldest has not expired, so none has.
			look = time.Time{}
		}
	}
}

// waiting is what a worker waits for: a time, or that something changes. What is
// zero never comes.
type waiting struct {
	until            time.Time
	changed, renewed <-chan struct{}
}

// most returns how many deliveries may be taken at once, up to n. If it is none,
// it says what to wait for.
func (w *worker) most(with resources, n int) (int, waiting) {
	rate, circuit := with.action.action.Rate, with.circuit
	n = min(n, mostTaken)
	if rate != nil {
		if next := w.limiter.next(rate); w.dispatcher.now().Before(next) {
			return 0, waiting{until: next}
		}
		n = 1
	}
	if circuit != nil && circuit.down.Load() {
		open, until, changed := circuit.opens(w, w.dispatcher.now())
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
func (w *worker) begin(leases []queue.Lease) (first job, returned bool) {
	if len(leases) == 0 {
		return job{}, false
	}
	w.mu.Lock()
	with := w.resources
	// A reload may have lowered the concurrency since the deliveries were asked for.
	n := min(len(leases), max(w.room(), 0))
	w.inFlight += n
	w.mu.Unlock()
	for i := range leases[n:] {
		w.dispatcher.giveBack(&leases[n+i])
	}
	returned = n < len(leases)

	now := w.dispatcher.now()
	var more []job
	counted := 0
	for i := range leases[:n] {
		j, verdict := w.admit(with, &leases[i], now)
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

	w.mu.Lock()
	w.inFlight -= n - counted
	if first.lease != nil {
		w.taking = false
		w.handOn()
	}
	w.mu.Unlock()
	for i := range more {
		w.dispatcher.running.Go(func() { w.serve(more[i]) })
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

// admit decides whether a delivery that was taken is attempted now. If not, it
// settles the delivery.
func (w *worker) admit(with resources, lease *queue.Lease, now time.Time) (job, admission) {
	d := w.dispatcher
	j := job{resources: with, lease: lease, circuit: with.circuit}
	if expires := lease.Delivery.Expires; !expires.IsZero() && !now.Before(expires) {
		d.expire(lease)
		return job{}, ended
	}
	if rate := with.action.action.Rate; rate != nil && now.Before(w.limiter.next(rate)) {
		d.giveBack(lease)
		return job{}, givenBack
	}
	if j.circuit == nil && lease.Event != nil {
		if endpoint, ok := with.action.endpointFor(lease.Event.Tenant()); ok {
			j.circuit = d.circuits.of(endpoint, now)
		}
	}
	if j.circuit != nil && j.circuit.down.Load() {
		probe, ok := j.circuit.enter(w, now)
		if !ok {
			d.postpone(with, j.circuit, lease, now)
			return job{}, givenBack
		}
		j.probe, j.extra = probe, probe != 0 && with.circuit == nil
	}
	w.limiter.last = now
	return j, admitted
}
