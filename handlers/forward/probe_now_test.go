package forward

import (
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// A target that is down is tested at once when an administrator asks for it, with one
// delivery, and the pauses do not grow by that.
func TestProbeNow(t *testing.T) {
	const deliveries, tries = 20, 5
	w := newWorkbench(t)
	told := w.watchTargets()
	s := newTroubled(t, refuses, nil)
	ids := w.queue.add("test", eventtest.With(map[string]any{"n": "1"}), deliveries)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url() + "/{{body.n}}", Concurrency: 1})})
	w.resting(t, 1)
	first := w.attemptsAt(ids)
	w.Probe("http://192.0.2.1")
	for try := 1; try <= tries; try++ {
		w.Probe(s.url())
		eventually(t, "a probe is made", func() bool { return w.attemptsAt(ids) >= first+try })
		w.resting(t, 1)
		if n := w.attemptsAt(ids); n != first+try {
			t.Fatalf("%d attempts after %d tries, %d before them", n, try, first)
		}
		c := w.target(s.url())
		c.mu.Lock()
		failures := c.failures
		c.mu.Unlock()
		if failures != 1 {
			t.Fatalf("the pause is that after %d failures", failures)
		}
	}
	s.set(t, answers)
	w.Probe(s.url())
	// Those that were attempted wait for their time, the others follow at once.
	untouched := 0
	for _, id := range ids {
		if len(w.queue.get(id).attempts) == 0 || w.queue.get(id).state == queue.Delivered {
			w.settledAs(t, id, queue.Delivered)
			untouched++
		}
	}
	if untouched < deliveries-first-tries {
		t.Errorf("%d deliveries followed, want at least %d", untouched, deliveries-first-tries)
	}
	eventually(t, "all is told", func() bool { return told.String() == "down up" })
}
