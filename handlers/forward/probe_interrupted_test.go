package forward

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// A reload neither begins another probe nor forgets that the target is down.
func TestReloadInProbe(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, holds, nil)
	with := func(n int) []*Prepared { return []*Prepared{prepare(t, config.Action{URL: s.url(), Concurrency: n})} }
	w.Use(with(1))
	ids := w.queue.add("test", eventtest.With(nil), 10)
	eventually(t, "one is in flight", func() bool { return s.holding() == 1 })
	s.release()
	w.resting(t, 1)
	for n := range 10 {
		w.Use(with(1 + n))
	}
	w.Use(nil)
	eventually(t, "no worker waits", func() bool { return w.clock.waiting() == 0 })
	w.Use(with(5))
	w.resting(t, 1)
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections after reloads", n)
	}

	w.advance(w.untilProbe(s.url()))
	eventually(t, "a probe is in flight", func() bool { return s.holding() == 1 })
	for n := range 10 {
		w.Use(with(1 + n))
	}
	w.Use(nil)
	w.Use(with(5))
	s.release()
	w.resting(t, 1)
	if n := w.attemptsAt(ids); n != 2 || s.connections() != 2 {
		t.Errorf("%d attempts, %d connections", n, s.connections())
	}

	// What was never attempted goes to another target at once.
	other := newTroubled(t, answers, nil)
	var untouched []string
	for _, id := range ids {
		if len(w.queue.get(id).attempts) == 0 {
			untouched = append(untouched, id)
		}
	}
	w.Use([]*Prepared{prepare(t, config.Action{URL: other.url()})})
	for _, id := range untouched {
		w.settledAs(t, id, queue.Delivered)
	}
	w.advance(time.Hour)
	for _, id := range ids {
		w.settledAs(t, id, queue.Delivered)
	}
	if len(untouched) < 8 || s.connections() != 2 || other.connections() != 10 {
		t.Errorf("%d were untouched, %d connections to the old target, %d to the new", len(untouched), s.connections(), other.connections())
	}
}

// A TLS setting is another way to a target: once it is mended, nothing waits.
func TestMendedTLS(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, answers, selfSigned(t))
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url()})})
	id := w.queue.add("test", eventtest.With(nil), 1)[0]
	if r := w.attempted(t, id, 1); !strings.Contains(r.attempts[0].Error, "certificate") {
		t.Error(r.attempts[0].Error)
	}
	next := w.queue.add("test", eventtest.With(nil), 1)[0]
	w.resting(t, 1)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), TLS: &config.TLS{InsecureSkipVerify: true}})})
	w.settledAs(t, next, queue.Delivered)
	w.advance(time.Hour)
	w.settledAs(t, id, queue.Delivered)
}

// Stop breaks off a probe, whose delivery is given back, and the waiting of
// those that may not attempt anything.
func TestStopInProbe(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, holds, nil)
	w.Use([]*Prepared{
		prepare(t, config.Action{URL: s.url(), Concurrency: 1}),
		prepare(t, config.Action{Name: "other", URL: s.url(), Concurrency: 1}),
		prepare(t, config.Action{Name: "slow", URL: "http://127.0.0.1:9", Rate: &config.Rate{Count: 1, Per: config.Duration(time.Hour)}}),
	})
	ids := append(w.queue.add("test", eventtest.With(nil), 5), w.queue.add("other", eventtest.With(nil), 5)...)
	w.queue.add("slow", eventtest.With(nil), 2)
	eventually(t, "one of each is in flight", func() bool { return s.holding() == 2 })
	s.release()
	w.resting(t, 3)
	w.advance(w.untilProbe(s.url()))
	eventually(t, "a probe is in flight", func() bool { return s.holding() == 1 })
	before := w.attemptsAt(ids)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := w.attemptsAt(ids); n != before || w.queue.leased() != 0 || w.clock.waiting() != 0 {
		t.Errorf("%d attempts, %d leased, %d wait", n-before, w.queue.leased(), w.clock.waiting())
	}
	for _, id := range ids {
		if r := w.queue.get(id); r.state != queue.Pending {
			t.Errorf("%+v", r)
		}
	}
}

// A probe that is never sent makes room for the next.
func TestProbeNotSent(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, refuses, nil)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url() + "/{{body.n}}", Concurrency: 1})})
	first := w.queue.add("test", eventtest.With(map[string]any{"n": "1"}), 1)[0]
	w.attempted(t, first, 1)
	unsent := w.queue.add("test", eventtest.With(nil), 3)
	lost := w.queue.add("test", nil, 3)
	good := w.queue.add("test", eventtest.With(map[string]any{"n": "2"}), 3)
	w.resting(t, 1)
	s.set(t, answers)
	w.advance(w.untilProbe(s.url()))
	for _, id := range slices.Concat(unsent, lost) {
		w.settledAs(t, id, queue.Failed)
	}
	for _, id := range append(good, first) {
		w.settledAs(t, id, queue.Delivered)
	}
}
