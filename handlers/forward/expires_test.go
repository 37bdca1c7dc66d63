package forward

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// told collects the outcomes with a state.
func (w *workbench) watchOutcomes(state queue.State) func() []Outcome {
	var mu sync.Mutex
	var all []Outcome
	w.tell = func(o Outcome) {
		if o.State == state {
			mu.Lock()
			all = append(all, o)
			mu.Unlock()
		}
	}
	return func() []Outcome {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// calm waits until the one worker waits for the clock or for deliveries.
func (w *workbench) calm(t testing.TB) {
	t.Helper()
	eventually(t, "the worker waits", func() bool {
		return w.queue.leased() == 0 && w.clock.waiting()+w.queue.idle("test") == 1
	})
}

// A delivery that would be tried again only after it expires has expired.
func TestExpiresBeforeNextAttempt(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   mode
		reason string
	}{
		{"the target answers", answers, "the target answered 503 Service Unavailable; it expires before it could be tried again"},
		{"the target cannot be reached", hangsUp, "; it expires before it could be tried again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorkbench(t)
			s := newTroubled(t, c.mode, nil)
			s.answerWith(503)
			w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), RetryInterval: &config.RetryInterval{First: config.Duration(10 * time.Second)}, Expires: config.Duration(5 * time.Second)})})
			id := w.queue.addExpiring("test", eventtest.With(nil), w.clock.Now().Add(5*time.Second), 1)[0]
			r := w.settledAs(t, id, queue.Expired)
			if len(r.attempts) != 1 || !strings.HasSuffix(r.attempts[0].Error, c.reason) {
				t.Errorf("%+v", r.attempts)
			}

			// One that lives longer is tried again.
			id = w.queue.addExpiring("test", eventtest.With(nil), w.clock.Now().Add(time.Hour), 1)[0]
			if c.mode == hangsUp {
				w.advance(w.untilProbe(s.url()))
			}
			if r := w.attempted(t, id, 1); r.state != queue.Pending {
				t.Errorf("%s: %s", r.state, r.attempts[0].Error)
			}
		})
	}
}

// Screen pops that could not be shown in time are not shown late: neither after
// their target was down, nor after their turn came too late, nor do they wait
// for either to be told so.
func TestScreenPopsExpire(t *testing.T) {
	for name, action := range map[string]config.Action{
		"target is down":           {RetryInterval: &config.RetryInterval{First: config.Duration(time.Hour), Cap: config.Duration(time.Hour)}},
		"rate":                     {Rate: &config.Rate{Count: 1, Per: config.Duration(time.Hour)}},
		"one of two targets down":  {URL: "{{site}}", RetryInterval: &config.RetryInterval{First: config.Duration(time.Hour), Cap: config.Duration(time.Hour)}},
		"target is down, and rate": {Rate: &config.Rate{Count: 1, Per: config.Duration(30 * time.Minute)}, RetryInterval: &config.RetryInterval{First: config.Duration(time.Hour), Cap: config.Duration(time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkbench(t)
			told := w.watchOutcomes(queue.Expired)
			s := newTroubled(t, hangsUp, nil)
			if name == "rate" {
				s.set(t, answers)
			}
			if action.URL == "" {
				action.URL = s.url()
			}
			action.Expires, action.Concurrency = config.Duration(5*time.Second), 1
			w.Use([]*Prepared{prepare(t, action, byTenant("site", s.url(), "200", "http://127.0.0.1:9"))})
			first := w.queue.add("test", eventtest.With(nil), 1)[0]
			w.attempted(t, first, 1)
			var ids []string
			for range 20 {
				ids = append(ids, w.queue.addExpiring("test", eventtest.With(nil), w.clock.Now().Add(5*time.Second), 1)...)
				w.calm(t)
				if name == "one of two targets down" {
					eventually(t, "it is put off", func() bool { return w.queue.get(ids[len(ids)-1]).given == 1 })
				}
				w.advance(time.Second)
			}
			// The last of them may be looked for only once more.
			for range 10 {
				w.calm(t)
				w.advance(time.Second)
			}
			for _, id := range ids {
				if r := w.settledAs(t, id, queue.Expired); len(r.attempts) != 0 {
					t.Errorf("%+v", r.attempts)
				}
			}
			if all := told(); len(all) != len(ids) || all[0].Error != "it had expired when its turn came (expires); not sent" || all[0].Attempts != 0 {
				t.Errorf("told of %d: %+v", len(all), all[0])
			}
			if n := s.connections(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}
