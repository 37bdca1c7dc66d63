package forward

import (
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// changes are what a dispatcher told about its targets.
type changes struct {
	mu  sync.Mutex
	all []TargetChange
}

func (w *workbench) watchTargets() *changes {
	c := &changes{}
	w.tellTarget = func(change TargetChange) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, change)
	}
	return c
}

// String lists what was told, "down" and "up".
func (c *changes) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var words []string
	for _, change := range c.all {
		word := "up"
		if change.Down {
			word = "down"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// attemptsAt returns how many attempts there were at some deliveries.
func (w *workbench) attemptsAt(ids []string) int {
	n := 0
	for _, id := range ids {
		n += len(w.queue.get(id).attempts)
	}
	return n
}

// resting waits until nothing is in flight and a number of workers wait for the
// clock.
func (w *workbench) resting(t testing.TB, workers int) {
	t.Helper()
	eventually(t, "the workers wait for the clock", func() bool {
		return w.clock.waiting() == workers && w.queue.leased() == 0
	})
}

// target returns what the dispatcher knows of a target.
func (w *workbench) target(url string) *circuit {
	scheme, host, _ := strings.Cut(url, "://")
	return w.circuits.of(endpoint{Target: send.Target{Scheme: scheme, Host: host}}, w.clock.Now())
}

// untilProbe returns how long it is to the next probe.
func (w *workbench) untilProbe(url string) time.Duration {
	r := w.target(url)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next.Sub(w.clock.Now())
}

// A target that gives no answer is tested by one delivery at a time, with a
// growing pause, while the others wait. Afterwards all go on at once.
func TestProbes(t *testing.T) {
	const deliveries, concurrency, rounds = 40, 4, 7
	for _, c := range []struct {
		name    string
		trouble mode
		secure  bool
		reached bool
		want    string
	}{
		{"refuses", refuses, false, false, "connection refused"},
		{"hangs up", hangsUp, false, true, "the target closed the connection without an answer"},
		{"hangs", holds, false, true, "did not answer within the timeout of 30ms"},
		{"speaks no HTTP", babbles, false, true, "malformed HTTP response"},
		{"speaks no TLS", babbles, true, false, "first record does not look like a TLS handshake"},
		{"hangs up on TLS", hangsUp, true, false, "connecting to the target: "},
		{"hangs in TLS", holds, true, false, "no connection to the target came about within the timeout of 30ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorkbench(t)
			told := w.watchTargets()
			var serve *tls.Config
			action := config.Action{Concurrency: concurrency, Timeout: config.Duration(10 * time.Second)}
			if c.secure {
				serve = selfSigned(t)
				action.TLS = &config.TLS{InsecureSkipVerify: true}
			}
			if c.trouble == holds {
				action.Timeout = config.Duration(30 * time.Millisecond)
			}
			s := newTroubled(t, c.trouble, serve)
			action.URL = s.url() + "/{{body.n}}"
			ids := w.queue.add("test", eventtest.With(map[string]any{"n": "1"}), deliveries)
			prepared := prepare(t, action)
			w.Use([]*Prepared{prepared})
			only, ok := prepared.onlyEndpoint()
			if !ok {
				t.Fatal("the action has more than one target")
			}
			r := w.circuits.of(only, w.clock.Now())
			w.resting(t, 1)
			first := w.attemptsAt(ids)
			if first < 1 || first > concurrency {
				t.Fatalf("%d attempts before the target was found to be down", first)
			}
			s.release()
			s.mu.Lock()
			s.mostHeld = 0
			s.mu.Unlock()
			for round := 1; round <= rounds; round++ {
				pause := r.next.Sub(w.clock.Now())
				if pause < time.Second || pause > time.Second<<round {
					t.Errorf("the pause before probe %d is %s", round, pause)
				}
				w.advance(pause - 1)
				if n := w.clock.waiting(); n != 1 {
					t.Fatalf("before the probe is due, %d workers wait", n)
				}
				w.advance(1)
				eventually(t, "a probe is made", func() bool { return w.attemptsAt(ids) > first+round-1 })
				w.resting(t, 1)
				if n := w.attemptsAt(ids); n != first+round {
					t.Fatalf("%d attempts after %d probes, %d before them", n, round, first)
				}
				s.release()
			}
			if s.mostHeld > 1 {
				t.Errorf("%d probes at once", s.mostHeld)
			}
			if n := s.connections(); c.trouble != refuses && n != first+rounds {
				t.Errorf("%d connections for %d attempts", n, first+rounds)
			}
			s.set(t, answers)
			action.Timeout = config.Duration(10 * time.Second)
			w.Use([]*Prepared{prepare(t, action)})
			w.resting(t, 1)
			w.advance(r.next.Sub(w.clock.Now()))
			untouched := 0
			for _, id := range ids {
				got := w.settledAs(t, id, queue.Delivered)
				if len(got.attempts) == 1 {
					untouched++
				} else if reason := got.attempts[0].Error; !strings.Contains(reason, c.want) || strings.Contains(reason, "and retry_for stands still") == c.reached {
					t.Errorf("reason: %s", reason)
				}
			}
			if n := w.attemptsAt(ids); n != first+rounds+deliveries {
				t.Errorf("%d attempts in all", n)
			}
			if untouched < deliveries-first-rounds {
				t.Errorf("only %d deliveries had no attempt but their good one", untouched)
			}
			eventually(t, "all is told", func() bool { return told.String() == "down up" })
			w.Stop(t.Context())
			log := w.log.String()
			if strings.Count(log, "\n") != 2 || !strings.Contains(log, `"msg":"target `+map[bool]string{false: "cannot be reached", true: "gives no proper answer"}[c.reached]) || !strings.Contains(log, `"msg":"target answers again"`) {
				t.Errorf("log: %s", log)
			}
			if down := told.all[0]; down.Target != s.url() || down.Action != "test" || !strings.Contains(down.Error, c.want) {
				t.Errorf("told %+v", down)
			}
			if up := told.all[1]; up.DownFor != w.clock.Now().Sub(newClock().Now()) {
				t.Errorf("down for %s", up.DownFor)
			}
		})
	}
}

// What a target answers, however bad, shows that it can be reached.
func TestStatusIsAnAnswer(t *testing.T) {
	w := newWorkbench(t)
	told := w.watchTargets()
	s := newTroubled(t, answers, nil)
	s.answerWith(503)
	ids := w.queue.add("test", eventtest.With(nil), 30)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), Concurrency: 2})})
	for _, id := range ids {
		w.attempted(t, id, 1)
	}
	if told.String() != "" {
		t.Error(told)
	}
}

// A delivery that is the only one waits for the probe, and is it.
func TestProbeAlone(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, refuses, nil)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), RetryInterval: &config.RetryInterval{First: config.Duration(time.Minute)}})})
	id := w.queue.add("test", eventtest.With(nil), 1)[0]
	r := w.attempted(t, id, 1)
	if pause := r.delivery.Due.Sub(w.clock.Now()); pause != w.untilProbe(s.url()) || pause < time.Minute {
		t.Errorf("due after %s", pause)
	}
	s.set(t, answers)
	w.advance(w.untilProbe(s.url()))
	if r := w.settledAs(t, id, queue.Delivered); len(r.attempts) != 2 {
		t.Errorf("%d attempts", len(r.attempts))
	}
}

// One request that its target never answers does not keep the others waiting.
func TestRequestWithoutAnswer(t *testing.T) {
	w := newWorkbench(t)
	s := newPicky(t)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url + "/{{body.path}}", Concurrency: 1})})
	bad := w.queue.add("test", eventtest.With(map[string]any{"path": "bad"}), 1)[0]
	good := w.queue.add("test", eventtest.With(map[string]any{"path": "good"}), 20)
	w.attempted(t, bad, 1)
	w.resting(t, 1)
	w.advance(w.untilProbe(s.url))
	for _, id := range good {
		if r := w.settledAs(t, id, queue.Delivered); len(r.attempts) != 1 {
			t.Errorf("%d attempts", len(r.attempts))
		}
	}
}

// An action whose requests a target never answers does not keep waiting another
// action that the target would answer.
func TestActionWithoutAnswer(t *testing.T) {
	w := newWorkbench(t)
	s := newPicky(t)
	w.Use([]*Prepared{
		prepare(t, config.Action{Name: "bad", URL: s.url + "/bad", RetryInterval: &config.RetryInterval{Cap: config.Duration(time.Hour)}}),
		prepare(t, config.Action{Name: "good", URL: s.url + "/good"}),
	})
	bad := w.queue.add("bad", eventtest.With(nil), 1)[0]
	for n := 1; n < 10; n++ {
		w.attempted(t, bad, n)
		w.advance(w.untilProbe(s.url))
	}
	w.attempted(t, bad, 10)
	// The clock stands still.
	for _, id := range w.queue.add("good", eventtest.With(nil), 20) {
		if r := w.settledAs(t, id, queue.Delivered); len(r.attempts) != 1 {
			t.Errorf("%d attempts", len(r.attempts))
		}
	}
}

// Actions that share a target share its probes.
func TestSharedTarget(t *testing.T) {
	w := newWorkbench(t)
	told := w.watchTargets()
	s := newTroubled(t, holds, nil)
	var actions []*Prepared
	var ids []string
	for _, name := range []string{"a", "b", "c"} {
		actions = append(actions, prepare(t, config.Action{Name: name, URL: s.url(), Concurrency: 1}))
		ids = append(ids, w.queue.add(name, eventtest.With(nil), 5)...)
	}
	w.Use(actions)
	eventually(t, "each has one in flight", func() bool { return s.holding() == 3 })
	s.release()
	for range 6 {
		w.resting(t, 3)
		before := w.attemptsAt(ids)
		w.advance(w.untilProbe(s.url()))
		eventually(t, "a probe is in flight", func() bool { return s.holding() == 1 })
		// The others wait for it, not for the clock.
		eventually(t, "the others wait", func() bool { return w.clock.waiting() == 0 && w.queue.leased() == 1 })
		s.release()
		w.resting(t, 3)
		if n := w.attemptsAt(ids); n != before+1 {
			t.Fatalf("%d attempts in one turn", n-before)
		}
	}
	s.set(t, answers)
	w.advance(w.untilProbe(s.url()))
	for _, id := range ids {
		w.settledAs(t, id, queue.Delivered)
	}
	if s.mostHeld != 3 || told.String() != "down up" {
		t.Errorf("%d at once, told %s", s.mostHeld, told)
	}
}

// Targets that an action calls for different tenants do not notice each other's
// trouble, even if only one attempt may be in flight.
func TestTenantsTargetsAreIndependent(t *testing.T) {
	w := newWorkbench(t)
	told := w.watchTargets()
	sick, well := newTroubled(t, holds, nil), newTroubled(t, answers, nil)
	action := prepare(t, config.Action{URL: "{{site}}/{{body.n}}", Concurrency: 1}, byTenant("site", well.url(), "200", sick.url()))
	w.Use([]*Prepared{action})
	event := map[string]any{"n": "1"}
	waiting := w.queue.add("test", tenantEvent("200", event), 1)
	eventually(t, "it hangs", func() bool { return sick.holding() == 1 })
	sick.release()
	w.attempted(t, waiting[0], 1)

	// Nothing comes and goes more than once as long as the clock stands still.
	addBoth := func() {
		t.Helper()
		before := w.queue.givenBack()
		for range 20 {
			waiting = append(waiting, w.queue.add("test", tenantEvent("200", event), 5)...)
			id := w.queue.add("test", tenantEvent("300", event), 1)[0]
			if r := w.settledAs(t, id, queue.Delivered); len(r.attempts) != 1 {
				t.Errorf("%d attempts", len(r.attempts))
			}
		}
		if n := w.queue.givenBack() - before; n > len(waiting) {
			t.Errorf("%d were put off, of %d", n, len(waiting))
		}
	}
	addBoth()
	if n := w.attemptsAt(waiting); n != 1 {
		t.Errorf("%d attempts at the sick target", n)
	}
	for range 3 {
		eventually(t, "nothing is in flight", func() bool { return w.queue.leased() == 0 })
		w.advance(w.untilProbe(sick.url()))
		eventually(t, "a probe is in flight", func() bool { return sick.holding() == 1 })
		addBoth()
		if n := sick.holding(); n != 1 {
			t.Errorf("%d probes", n)
		}
		before := w.attemptsAt(waiting)
		sick.release()
		eventually(t, "the probe has failed", func() bool { return w.attemptsAt(waiting) == before+1 })
	}
	eventually(t, "nothing is in flight", func() bool { return w.queue.leased() == 0 })
	if n := sick.connections(); n != 4 {
		t.Errorf("%d connections to the sick target", n)
	}
	sick.set(t, answers)
	w.advance(w.untilProbe(sick.url()))
	eventually(t, "it is found to be well", func() bool { return told.String() == "down up" })
	// What was postponed comes back within about a second.
	w.advance(2 * time.Second)
	for _, id := range waiting {
		w.settledAs(t, id, queue.Delivered)
	}
}

// Without retries the delivery that tests the target has had its only attempt;
// the others wait for theirs.
func TestProbesWithoutRetries(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, refuses, nil)
	ids := w.queue.add("test", eventtest.With(nil), 10)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), Concurrency: 1, RetryFor: -1})})
	w.resting(t, 1)
	w.advance(w.untilProbe(s.url()))
	eventually(t, "two have failed", func() bool { return w.attemptsAt(ids) == 2 })
	w.resting(t, 1)
	s.set(t, answers)
	w.advance(w.untilProbe(s.url()))
	states := map[queue.State]int{}
	eventually(t, "all have ended", func() bool {
		clear(states)
		for _, id := range ids {
			r := w.queue.get(id)
			states[r.state]++
			if r.state == queue.Failed && !strings.HasSuffix(r.attempts[0].Error, "; retry_for is off") {
				t.Error(r.attempts[0].Error)
			}
		}
		return states[queue.Pending] == 0
	})
	if states[queue.Failed] != 2 || states[queue.Delivered] != 8 {
		t.Errorf("%v", states)
	}
}
