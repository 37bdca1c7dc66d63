package forward

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Time in which the target cannot be reached does not count for retry_for,
// however long it is; all other time does.
func TestRetryForStandsStill(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, refuses, nil)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), RetryFor: config.Duration(time.Hour), RetryInterval: &config.RetryInterval{First: config.Duration(10 * time.Minute), Cap: config.Duration(10 * time.Minute)}})})
	id := w.queue.add("test", eventtest.With(nil), 1)[0]
	attempt := 1
	next := func() remembered {
		t.Helper()
		r := w.attempted(t, id, attempt)
		attempt++
		w.advance(max(r.delivery.Due.Sub(w.clock.Now()), 0))
		return r
	}
	began := w.clock.Now()
	for w.clock.Now().Sub(began) < 100*time.Hour {
		next()
	}
	s.set(t, answers)
	s.answerWith(500)
	// The probe that finds it up may be on its way already.
	up := time.Time{}
	r := next()
	for ; r.state == queue.Pending; r = next() {
		if last := r.attempts[len(r.attempts)-1]; up.IsZero() && last.Status == 500 {
			up = last.Began
		}
	}
	last := r.attempts[len(r.attempts)-1]
	if r.state != queue.Failed || up.IsZero() || !strings.Contains(last.Error, "as retry_for says") {
		t.Fatalf("%s: %s", r.state, last.Error)
	}
	if used := last.Began.Sub(up); used < 58*time.Minute || used > time.Hour {
		t.Errorf("given up %s after the target could be reached", used)
	}
}

// After a restart it is not known for how long a target was down: nothing is
// given up earlier than promised.
func TestRetryForAfterRestart(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, answers, nil)
	s.answerWith(500)
	id := w.queue.add("test", eventtest.With(nil), 1)[0]
	w.queue.mu.Lock()
	w.queue.byID[id].delivery.Attempts = 7
	w.queue.byID[id].delivery.FirstAttempt = w.clock.Now().Add(-1000 * time.Hour)
	w.queue.mu.Unlock()
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), RetryFor: config.Duration(time.Hour)})})
	if r := w.attempted(t, id, 1); r.state != queue.Pending {
		t.Errorf("%s: %s", r.state, r.attempts[0].Error)
	}
	w.advance(time.Hour)
	w.settledAs(t, id, queue.Failed)
}
