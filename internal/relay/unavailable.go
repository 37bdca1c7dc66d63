package relay

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// retryEntering is how long after an error the switches are read again.
const retryEntering = time.Second

// enter reads from the open queue what is switched off, and lets events and
// attempts in.
func (r *Runtime) enter() error {
	if err := r.loadSwitches(r.life); err != nil {
		return err
	}
	if err := r.startClock(r.life); err != nil {
		return err
	}
	if err := r.recallRejections(r.life); err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.entered.Load() {
		return nil
	}
	generation := r.newest.Load()
	if generation != nil {
		r.begin(generation)
	}
	r.entered.Store(true)
	if generation != nil {
		r.recallCredentials(generation)
		r.dispatch(generation)
		r.remember(generation)
	}
	return nil
}

// enterWhenReady enters as soon as the queue is open, and tries again while that
// fails, until the runtime ends. As one of several nodes it goes on to look at its clock.
func (r *Runtime) enterWhenReady() {
	select {
	case <-r.engine.Ready():
	case <-r.life.Done():
		return
	}
	for !r.entered.Load() {
		err := r.enter()
		if err == nil {
			break
		}
		if r.life.Err() != nil {
			return
		}
		r.logger.Error("reading what is switched off; nothing is taken or attempted until it can be read", zap.Error(err))
		timer := time.NewTimer(retryEntering)
		select {
		case <-timer.C:
		case <-r.life.Done():
			timer.Stop()
			return
		}
	}
	r.lookAgain()
	if r.cluster != nil {
		r.tellAhead()
	}
}

// Unavailable returns why the queue cannot be used right now, or nil. The error
// wraps queue.ErrUnavailable.
func (r *Runtime) Unavailable() error {
	if r.entered.Load() {
		return nil
	}
	// Any read returns the reason.
	ctx, cancel := context.WithTimeout(r.life, time.Second)
	defer cancel()
	if _, err := r.engine.Switches(ctx); err != nil {
		return err
	}
	return fmt.Errorf("%w: what is switched off is being read", queue.ErrUnavailable)
}
