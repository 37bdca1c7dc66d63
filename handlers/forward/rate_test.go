package forward

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// begins are when attempts began, by the workbench's clock.
type begins struct {
	mu  sync.Mutex
	all []time.Time
}

func (w *workbench) watchBegins(action string) *begins {
	b := &begins{}
	w.queue.settled = func(delivery queue.Delivery, s queue.Settlement) {
		if s.Attempt != nil && delivery.Action == action {
			b.mu.Lock()
			b.all = append(b.all, s.Attempt.Began)
			b.mu.Unlock()
		}
	}
	return b
}

func (b *begins) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

// check fails if in any stretch of time more attempts began than the rate
// allows.
func (b *begins) check(t testing.TB, rate config.Rate) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.SortFunc(b.all, time.Time.Compare)
	for i := range b.all {
		if j := i + rate.Count; j < len(b.all) && b.all[j].Sub(b.all[i]) < time.Duration(rate.Per) {
			t.Errorf("%d attempts began within %s", rate.Count+1, b.all[j].Sub(b.all[i]))
		}
	}
}

// No more attempts begin than the rate allows, whatever they come to, and no
// lease is held meanwhile. Another action does not notice.
func TestRate(t *testing.T) {
	const deliveries = 30
	for _, rate := range []config.Rate{{Count: 5, Per: config.Duration(time.Second)}, {Count: 100, Per: config.Duration(time.Minute)}, {Count: 7, Per: config.Duration(time.Hour)}, {Count: 1, Per: config.Duration(time.Second)}} {
		t.Run(fmt.Sprintf("%d in %s", rate.Count, rate.Per), func(t *testing.T) {
			w := newWorkbench(t)
			began := w.watchBegins("test")
			s := newTroubled(t, answers, nil)
			w.Use([]*Prepared{
				prepare(t, config.Action{URL: s.url(), Rate: &rate, RetryFor: config.Duration(1000 * time.Hour)}),
				prepare(t, config.Action{Name: "other", URL: s.url()}),
			})
			ids := w.queue.add("test", eventtest.With(nil), deliveries)
			for n := 1; n <= deliveries; n++ {
				// Every third fails and is tried again.
				s.answerWith(200 + 303*min(1, n%3/2))
				eventually(t, "an attempt began", func() bool { return began.count() >= n })
				w.resting(t, 1)
				if got := began.count(); got != n {
					t.Fatalf("%d attempts began, want %d", got, n)
				}
				step := time.Duration(rate.Per) / time.Duration(rate.Count) / 3
				w.advance(step)
				w.advance(step)
				if w.clock.waiting() != 1 {
					t.Fatal("the worker does not wait")
				}
				w.advance(step + 3)
			}
			s.answerWith(200)
			for range 4 * deliveries {
				w.calm(t)
				w.advance(time.Duration(rate.Per) / time.Duration(rate.Count))
			}
			for _, id := range ids {
				w.settledAs(t, id, queue.Delivered)
			}
			began.check(t, rate)
			for _, id := range w.queue.add("other", eventtest.With(nil), 10) {
				w.settledAs(t, id, queue.Delivered)
			}
		})
	}
}

// A reload changes the rate, and neither it nor a pause in the events lets more
// through than the new one allows.
func TestRateOverReloads(t *testing.T) {
	w := newWorkbench(t)
	began := w.watchBegins("test")
	s := newTroubled(t, answers, nil)
	with := func(rate *config.Rate) []*Prepared {
		return []*Prepared{prepare(t, config.Action{URL: s.url(), Rate: rate})}
	}
	ids := w.queue.add("test", eventtest.With(nil), 60)
	now := func(n int) {
		t.Helper()
		eventually(t, "an attempt began", func() bool { return began.count() >= n })
		w.resting(t, 1)
		if got := began.count(); got != n {
			t.Fatalf("%d attempts began, want %d", got, n)
		}
	}
	slow, quick := config.Rate{Count: 1, Per: config.Duration(time.Minute)}, config.Rate{Count: 10, Per: config.Duration(time.Second)}
	w.Use(with(&slow))
	now(1)
	for range 10 {
		w.Use(with(&slow))
	}
	w.Use(nil)
	w.Use(with(&slow))
	w.advance(time.Minute - 1)
	now(1)
	w.advance(1)
	now(2)
	// After ten seconds the quick one lets one go at once, and the next when it
	// says.
	w.advance(10 * time.Second)
	now(2)
	w.Use(with(&quick))
	now(3)
	w.advance(99 * time.Millisecond)
	now(3)
	w.advance(time.Millisecond)
	now(4)
	w.Use(with(&slow))
	w.advance(50 * time.Second)
	now(4)
	// What was not used is not made up for.
	w.advance(time.Hour)
	now(5)
	w.Use(with(nil))
	for _, id := range ids {
		w.settledAs(t, id, queue.Delivered)
	}
}

// However time passes, a rate is kept.
func TestLimiter(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		rate := config.Rate{Count: 1 + random.IntN(20), Per: config.Duration(time.Duration(1 + random.Int64N(int64(time.Minute))))}
		if rate.Per < config.Duration(rate.Count) {
			continue
		}
		var p limiter
		var b begins
		now := newClock().Now()
		for range 500 {
			now = now.Add(time.Duration(random.Int64N(int64(2*rate.Per)/int64(rate.Count) + 1)))
			if !now.Before(p.next(&rate)) {
				p.last = now
				b.all = append(b.all, now)
			}
		}
		b.check(t, rate)
		if len(b.all) < 100 {
			t.Errorf("%v let only %d go", rate, len(b.all))
		}
	}
}
