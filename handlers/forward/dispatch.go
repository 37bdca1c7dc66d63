package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// leaseMargin is how much longer than its attempt a lease must last: the time
// to settle it.
const leaseMargin = 5 * time.Second

// leaveWithin is how long Stop waits for attempts after it has broken them off. Kept
// short: the exit has waited for them already, and systemd kills Caddy soon after.
const leaveWithin = 500 * time.Millisecond

// Options are what a Dispatcher can do without.
type Options struct {
	// Logger gets a line for each delivery that failed for good, and a debug
	// line for each attempt. Default: none.
	Logger *zap.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// OnOutcome is told of each attempt, and must return soon. Default: none.
	OnOutcome func(Outcome)
	// OnTarget is told once when a target is found to be down, and once when it
	// is up again, and must return soon. Default: none.
	OnTarget func(TargetChange)
}

// TargetChange says that a target has stopped answering, or that it answers again.
type TargetChange struct {
	// Target is the scheme, host and port as a URL.
	Target string
	Down   bool
	// Action is the name of the action whose attempt showed it, and Event the
	// event that it was for.
	Action string
	Event  *event.Event
	// DownFor is how long the target was down, when it is up again.
	DownFor time.Duration
	// Error says why it is down, as a sentence for an administrator.
	Error string
}

// Outcome is what came of an attempt, or of a delivery that ended without one.
type Outcome struct {
	Action, Delivery string
	// Event is nil when the stored event cannot be read.
	Event *event.Event
	// State is where the delivery stands now. Pending means that it is tried
	// again.
	State queue.State
	// Attempts counts the attempts so far, this one too.
	Attempts int
	// Status is the answer's, 0 when there was none.
	Status int
	Took   time.Duration
	// Error is a sentence for an administrator, empty when all went well.
	Error string
}

// Dispatcher takes due deliveries from a queue and carries them out. It outlives
// reloads, so that the limit and the rate of an action hold across them, and a
// target that is down is not tried anew because of one.
type Dispatcher struct {
	queue  queue.Queue
	sender *send.Sender
	logger *zap.Logger
	now    func() time.Time
	// timer is time.NewTimer, but for a time of the clock.
	timer      func(time.Time) (at <-chan time.Time, stop func() bool)
	tell       func(Outcome)
	tellTarget func(TargetChange)
	circuits   circuits
	running    sync.WaitGroup

	// attempts ends when attempts in flight are to be broken off.
	attempts  context.Context
	interrupt context.CancelFunc

	mu      sync.Mutex
	stopped bool
	// workers holds a worker for each action name that was ever in use.
	workers map[string]*worker
}

// New returns a Dispatcher that takes nothing until Use is called.
func New(q queue.Queue, sender *send.Sender, options Options) *Dispatcher {
	d := &Dispatcher{queue: q, sender: sender, logger: options.Logger, now: options.Now,
		tell: options.OnOutcome, tellTarget: options.OnTarget, workers: map[string]*worker{}}
	d.attempts, d.interrupt = context.WithCancel(context.Background())
	if d.logger == nil {
		d.logger = zap.NewNop()
	}
	if d.now == nil {
		d.now = time.Now
	}
	d.timer = func(at time.Time) (<-chan time.Time, func() bool) {
		timer := time.NewTimer(at.Sub(d.now()))
		return timer.C, timer.Stop
	}
	if d.tell == nil {
		d.tell = func(Outcome) {}
	}
	if d.tellTarget == nil {
		d.tellTarget = func(TargetChange) {}
	}
	return d
}

// Use makes these the actions that new attempts are made with: those of the newest
// generation. Call Restrict of the Sender before, with the generation's targets.
// Deliveries of other actions stay in the queue. Attempts in flight finish with the
// action that they began with. After Stop it does nothing.
func (d *Dispatcher) Use(actions []*Prepared) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	used := make(map[string]bool, len(actions))
	var settings []*send.TLS
	for _, action := range actions {
		name := action.Name()
		used[name] = true
		if d.workers[name] == nil {
			d.workers[name] = &worker{dispatcher: d, name: name}
		}
		with := resources{action: action, sender: d.sender.Current()}
		if only, ok := action.onlyEndpoint(); ok {
			with.circuit = d.circuits.of(only, d.now())
		}
		d.workers[name].open(with)
		if tls := action.TLS(); tls != nil {
			settings = append(settings, tls)
		}
	}
	for name, worker := range d.workers {
		if !used[name] {
			worker.close()
		}
	}
	d.sender.Keep(settings)
}

// Stop takes nothing more and waits for the attempts in flight. When ctx ends
// they are broken off, and their deliveries are given back: due at once, the
// attempt not counted. The error is then that of ctx. One that does not end soon
// even then is left behind, so that nothing can hold up an exit; its delivery is
// due again at the next start.
func (d *Dispatcher) Stop(ctx context.Context) error {
	d.mu.Lock()
	d.stopped = true
	for _, worker := range d.workers {
		worker.close()
	}
	d.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		d.running.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("waiting for attempts in flight: %w", ctx.Err())
	}
	d.interrupt()
	select {
	case <-ended:
	case <-time.After(leaveWithin):
		err = errors.Join(err, fmt.Errorf("attempts in flight did not end within %s after they were broken off", leaveWithin))
	}
	return err
}

// Probe lets the next probe of a target begin at once if it is down, instead of
// after the pause. The target is named as in TargetChange. A probe in flight is left
// alone.
func (d *Dispatcher) Probe(target string) {
	for _, circuit := range d.circuits.named(target) {
		circuit.probeNow(d.now())
	}
}

// attempt carries out one delivery.
func (d *Dispatcher) attempt(w *worker, j job) {
	action, lease := j.action, j.lease
	// A probe that is never ended would keep all others from probing.
	defer func() { j.circuit.leave(j.probe) }()
	defer func() {
		// An event that brings the code down must not bring the server down,
		// nor come back to do it again.
		if problem := recover(); problem != nil {
			d.logger.Error("attempt ended in a panic", zap.String("delivery", lease.Delivery.ID),
				zap.String("kind", fmt.Sprintf("%T", problem)), zap.ByteString("stack", debug.Stack()))
			d.end(lease, queue.Failed, &queue.Attempt{Began: d.now(), Error: "the relay itself failed at this attempt; its log has the details"})
		}
	}()
	if d.attempts.Err() != nil {
		d.giveBack(lease)
		return
	}
	began := d.now()
	delivery := &lease.Delivery
	if lease.Event == nil {
		d.end(lease, queue.Failed, &queue.Attempt{Began: began, Error: "the stored event cannot be read; not sent"})
		return
	}
	needed := action.timeout() + leaseMargin
	if lease.Expires.Sub(began) < needed {
		if err := d.queue.Extend(d.attempts, lease.Token, needed); err != nil {
			// Another worker has the delivery now, or it is cancelled.
			d.settled(lease, err)
			return
		}
	}
	attempt := &queue.Attempt{Began: began}
	rendered, err := action.Render(lease.Event, delivery.ID)
	if err != nil {
		attempt.Error = action.masked(err.Error())
		attempt.Took = d.now().Sub(began)
		d.end(lease, queue.Failed, attempt)
		return
	}
	result := rendered.Send(d.attempts, j.sender, action.timeout())
	if result.Err != nil && d.attempts.Err() != nil {
		d.giveBack(lease)
		return
	}
	now := d.now()
	first := delivery.FirstAttempt
	if first.IsZero() {
		first = began
	}
	judged := d.judge(w, j, result, first, began, now)
	attempt.Took, attempt.Status, attempt.Error = now.Sub(began), result.Status, judged.reason
	attempt.Request, attempt.Response, attempt.Empty = rendered.String(), result.Response, rendered.Empty()
	if judged.state == queue.Pending {
		d.settled(lease, d.queue.Settle(lease.Token, queue.Settlement{State: queue.Pending, Again: judged.again, Attempt: attempt}))
		d.report(lease, queue.Pending, attempt)
		return
	}
	d.end(lease, judged.state, attempt)
}

// judge decides what an attempt means for its delivery, and notes what it says
// about the target.
func (d *Dispatcher) judge(w *worker, j job, result send.Result, first, began, now time.Time) verdict {
	attempts := j.lease.Delivery.Attempts + 1
	judged := verdict{}
	next, down := d.observe(w, j, result, began, now)
	switch {
	case down && !result.Reached:
		judged = j.action.judgeUnreached(result, attempts, j.circuit.spent(first, now), next)
	case result.Err == nil && j.action.success.Has(result.Status):
		return verdict{state: queue.Delivered}
	default:
		if j.circuit != nil {
			first = now.Add(-j.circuit.spent(first, now))
		}
		judged = j.action.judge(result, attempts, first, now, next, rand.Float64())
	}
	if expires := j.lease.Delivery.Expires; judged.state == queue.Pending && !expires.IsZero() && !judged.again.Before(expires) {
		judged.state = queue.Expired
		judged.reason += "; " + queue.ExpiredBetween
	}
	return judged
}

// observe notes what an attempt says about its target. If the target is down, it
// returns when that is tested next.
func (d *Dispatcher) observe(w *worker, j job, result send.Result, began, now time.Time) (next time.Time, down bool) {
	if j.circuit == nil {
		return time.Time{}, false
	}
	if result.Err == nil {
		if downFor, over := j.circuit.answer(now); over {
			d.logger.Info("target answers again", zap.String("target", j.circuit.name), zap.String("action", w.name), zap.Duration("down_for", downFor))
			d.tellTarget(TargetChange{Target: j.circuit.name, Action: w.name, Event: j.lease.Event, DownFor: downFor})
		}
		return time.Time{}, false
	}
	if !mayPass(result.Err) {
		return time.Time{}, false
	}
	next, down, news := j.circuit.fail(w, began, now, result.Reached, func(failures int) time.Duration {
		return backoff(j.action.action.RetryInterval, failures, rand.Float64())
	})
	if news {
		reason, _ := j.action.explain(result)
		what := "target cannot be reached"
		if result.Reached {
			what = "target gives no proper answer"
		}
		d.logger.Warn(what+"; one delivery at a time tests it, the others wait",
			zap.String("target", j.circuit.name), zap.String("action", w.name), zap.String("error", reason))
		d.tellTarget(TargetChange{Target: j.circuit.name, Down: true, Action: w.name, Event: j.lease.Event, Error: reason})
	}
	return next, down
}

// giveBack returns a delivery that was not attempted.
func (d *Dispatcher) giveBack(lease *queue.Lease) {
	d.settled(lease, d.queue.Settle(lease.Token, queue.Settlement{State: queue.Pending, Again: d.now()}))
}

// postpone returns a delivery whose target is down. If the action has one target, its
// worker takes nothing until it may probe, so the delivery stays due. If it has
// several, the delivery is due later, so that those for other targets are taken
// before it.
func (d *Dispatcher) postpone(with resources, target *circuit, lease *queue.Lease, now time.Time) {
	again := now
	if with.circuit == nil {
		again = target.postponeUntil(now)
		if expires := lease.Delivery.Expires; !expires.IsZero() && expires.Before(again) {
			again = expires
		}
	}
	d.settled(lease, d.queue.Settle(lease.Token, queue.Settlement{State: queue.Pending, Again: again}))
}

// expire ends a delivery that is older than its action allows, without an
// attempt.
func (d *Dispatcher) expire(lease *queue.Lease) {
	d.settled(lease, d.queue.Settle(lease.Token, queue.Settlement{State: queue.Expired}))
	d.report(lease, queue.Expired, nil)
}

// end settles a delivery in its last state.
func (d *Dispatcher) end(lease *queue.Lease, state queue.State, attempt *queue.Attempt) {
	d.settled(lease, d.queue.Settle(lease.Token, queue.Settlement{State: state, Attempt: attempt}))
	d.report(lease, state, attempt)
}

// settled logs what the queue said about a settlement.
func (d *Dispatcher) settled(lease *queue.Lease, err error) {
	switch {
	case err == nil:
	case errors.Is(err, queue.ErrLeaseLost):
		d.logger.Debug("lease was lost", zap.String("delivery", lease.Delivery.ID))
	default:
		d.logger.Error("settling a delivery", zap.String("delivery", lease.Delivery.ID), zap.Error(err))
	}
}

// report tells log and hook what came of a delivery. No payloads: an event's
// values stay out of the log.
func (d *Dispatcher) report(lease *queue.Lease, state queue.State, attempt *queue.Attempt) {
	outcome := Outcome{Action: lease.Delivery.Action, Delivery: lease.Delivery.ID, Event: lease.Event, State: state, Attempts: lease.Delivery.Attempts}
	if attempt != nil {
		outcome.Attempts++
		outcome.Status, outcome.Took, outcome.Error = attempt.Status, attempt.Took, attempt.Error
	} else if state == queue.Expired {
		outcome.Error = queue.ExpiredUnsent
	}
	level, message := zap.DebugLevel, "attempt"
	if state == queue.Failed {
		level, message = zap.ErrorLevel, "delivery failed"
	}
	if line := d.logger.Check(level, message); line != nil {
		var event string
		if lease.Event != nil {
			event = lease.Event.ID
		}
		line.Write(zap.String("action", outcome.Action), zap.String("event", event), zap.String("delivery", outcome.Delivery),
			zap.String("state", string(state)), zap.Int("attempts", outcome.Attempts), zap.Int("status", outcome.Status),
			zap.Duration("took", outcome.Took), zap.String("error", outcome.Error))
	}
	d.tell(outcome)
}

// wait waits until a time or until something changes, but not longer than ctx.
func (d *Dispatcher) wait(ctx context.Context, what waiting) {
	var at <-chan time.Time
	if !what.until.IsZero() {
		timer, stop := d.timer(what.until)
		defer stop()
		at = timer
	}
	select {
	case <-at:
	case <-what.changed:
	case <-what.renewed:
	case <-ctx.Done():
	}
}
