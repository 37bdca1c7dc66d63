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
)

// lane carries out the deliveries of one action name.
//
// At most one of its goroutines takes from the queue: whichever is free. It
// hands the taking on before it begins an attempt, if the limit leaves room for
// more; if not, whoever finishes first takes again. So an idle action costs one
// goroutine, and a busy one needs no goroutine woken for another.
type lane struct {
	dispatcher *Dispatcher
	name       string

	mu sync.Mutex
	// means is what attempts are made with, zero while the lane is closed.
	means
	// ctx ends when the lane is closed.
	ctx      context.Context
	cancel   context.CancelFunc
	inFlight int
	taking   bool
}

// means are what a generation makes attempts with.
type means struct {
	action *Prepared
	sender *guarded
}

// open makes the lane use an action, also in place of another.
func (l *lane) open(with means) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.action == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
	}
	l.means = with
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
		l.dispatcher.running.Go(func() { l.serve(nil) })
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

// serve carries out a delivery, if it is given one, and then takes and carries
// out others as long as no other goroutine does the taking.
func (l *lane) serve(lease *queue.Lease) {
	for {
		if lease != nil {
			l.dispatcher.attempt(l.current(), lease)
			l.mu.Lock()
			l.inFlight--
			claimed := l.claim()
			l.mu.Unlock()
			if !claimed {
				return
			}
		}
		if lease = l.take(); lease == nil {
			return
		}
	}
}

// current returns what an attempt that begins now is made with.
func (l *lane) current() means {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.means
}

// take waits for deliveries, starts the attempts of all but the first and
// returns that. It returns nil when the lane is closed.
func (l *lane) take() *queue.Lease {
	for {
		l.mu.Lock()
		ctx, n := l.ctx, l.room()
		if n <= 0 {
			// Closed, or the limit was lowered: whoever finishes claims again.
			l.taking = false
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		leases, err := l.dispatcher.queue.Take(ctx, l.name, min(n, mostTaken))
		if errors.Is(err, queue.ErrClosed) {
			l.mu.Lock()
			l.taking = false
			l.mu.Unlock()
			return nil
		}
		if err != nil && ctx.Err() == nil {
			l.dispatcher.logger.Error("taking deliveries", zap.String("action", l.name), zap.Error(err))
			pause(ctx, takeAgain)
		}
		if first := l.begin(leases); first != nil {
			return first
		}
	}
}

// begin starts attempts for leases as far as there is room, hands the taking
// on, and returns the first lease for the caller to carry out.
func (l *lane) begin(leases []queue.Lease) *queue.Lease {
	if len(leases) == 0 {
		return nil
	}
	l.mu.Lock()
	// A reload may have left less room than was asked for.
	n := min(len(leases), max(l.room(), 0))
	l.inFlight += n
	if n > 0 {
		l.taking = false
		l.handOn()
	}
	l.mu.Unlock()
	for i := range leases[n:] {
		l.dispatcher.giveBack(&leases[n+i])
	}
	for i := 1; i < n; i++ {
		l.dispatcher.running.Go(func() { l.serve(&leases[i]) })
	}
	if n == 0 {
		return nil
	}
	return &leases[0]
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
