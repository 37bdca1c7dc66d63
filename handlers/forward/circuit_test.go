package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules/language"
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

// attempts returns how many attempts there were at some deliveries.
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
			ids := w.queue.add("test", eventWith(map[string]any{"n": "1"}), deliveries)
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
	ids := w.queue.add("test", eventWith(nil), 30)
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
	id := w.queue.add("test", eventWith(nil), 1)[0]
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
	bad := w.queue.add("test", eventWith(map[string]any{"path": "bad"}), 1)[0]
	good := w.queue.add("test", eventWith(map[string]any{"path": "good"}), 20)
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
	bad := w.queue.add("bad", eventWith(nil), 1)[0]
	for n := 1; n < 10; n++ {
		w.attempted(t, bad, n)
		w.advance(w.untilProbe(s.url))
	}
	w.attempted(t, bad, 10)
	// The clock stands still.
	for _, id := range w.queue.add("good", eventWith(nil), 20) {
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
		ids = append(ids, w.queue.add(name, eventWith(nil), 5)...)
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

// A reload neither begins another probe nor forgets that the target is down.
func TestReloadInProbe(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, holds, nil)
	with := func(n int) []*Prepared { return []*Prepared{prepare(t, config.Action{URL: s.url(), Concurrency: n})} }
	w.Use(with(1))
	ids := w.queue.add("test", eventWith(nil), 10)
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
	id := w.queue.add("test", eventWith(nil), 1)[0]
	if r := w.attempted(t, id, 1); !strings.Contains(r.attempts[0].Error, "certificate") {
		t.Error(r.attempts[0].Error)
	}
	next := w.queue.add("test", eventWith(nil), 1)[0]
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
	ids := append(w.queue.add("test", eventWith(nil), 5), w.queue.add("other", eventWith(nil), 5)...)
	w.queue.add("slow", eventWith(nil), 2)
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
	first := w.queue.add("test", eventWith(map[string]any{"n": "1"}), 1)[0]
	w.attempted(t, first, 1)
	unsent := w.queue.add("test", eventWith(nil), 3)
	lost := w.queue.add("test", nil, 3)
	good := w.queue.add("test", eventWith(map[string]any{"n": "2"}), 3)
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

// Time in which the target cannot be reached does not count for retry_for,
// however long it is; all other time does.
func TestRetryForStandsStill(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, refuses, nil)
	w.Use([]*Prepared{prepare(t, config.Action{URL: s.url(), RetryFor: config.Duration(time.Hour), RetryInterval: &config.RetryInterval{First: config.Duration(10 * time.Minute), Cap: config.Duration(10 * time.Minute)}})})
	id := w.queue.add("test", eventWith(nil), 1)[0]
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
	id := w.queue.add("test", eventWith(nil), 1)[0]
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

// Without retries the delivery that tests the target has had its only attempt;
// the others wait for theirs.
func TestProbesWithoutRetries(t *testing.T) {
	w := newWorkbench(t)
	s := newTroubled(t, refuses, nil)
	ids := w.queue.add("test", eventWith(nil), 10)
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

func TestSpent(t *testing.T) {
	at := func(minutes int) time.Time { return newClock().Now().Add(time.Duration(minutes) * time.Minute) }
	always := func(int) time.Duration { return time.Second }
	r := newCircuit("http://h", at(0))
	l := &worker{}
	for _, outage := range [][2]int{{10, 20}, {30, 35}, {40, 60}} {
		if _, down, news := r.fail(l, at(outage[0]), at(outage[0]), false, always); !down || !news {
			t.Fatal("not down")
		}
		if _, down, news := r.fail(l, at(outage[0]), at(outage[0]), false, always); !down || news {
			t.Fatal("told twice")
		}
		if downFor, over := r.answer(at(outage[1])); !over || downFor != time.Duration(outage[1]-outage[0])*time.Minute {
			t.Fatal("not up")
		}
		if _, over := r.answer(at(outage[1])); over {
			t.Fatal("told twice")
		}
	}
	r.fail(l, at(70), at(70), false, always)
	for _, c := range []struct{ first, now, want int }{
		{0, 5, 5}, {0, 10, 10}, {0, 70, 35}, {0, 100, 35}, {15, 70, 25}, {20, 70, 25}, {25, 70, 20}, {33, 70, 15}, {45, 70, 10}, {65, 70, 5}, {65, 90, 5}, {75, 90, 0},
		{-100, 70, 35}, // before the target was known at all
		{80, 75, 0},    // the clock went back
	} {
		if got := r.spent(at(c.first), at(c.now)); got != time.Duration(c.want)*time.Minute {
			t.Errorf("from %d to %d: %s, want %d minutes", c.first, c.now, got, c.want)
		}
	}

	// A target that comes and goes is not remembered for ever, and what is
	// forgotten lengthens retry_for.
	r = newCircuit("http://h", at(0))
	for i := range 10 * mostOutages {
		r.fail(l, at(2*i+1), at(2*i+1), false, always)
		r.answer(at(2*i + 2))
	}
	if len(r.outages) > mostOutages {
		t.Errorf("%d outages are remembered", len(r.outages))
	}
	const end = 20 * mostOutages
	if got := r.spent(at(end-10), at(end)); got != 5*time.Minute {
		t.Errorf("the last 10 minutes count as %s", got)
	}
	if got := r.spent(at(0), at(end)); got > 10*mostOutages*time.Minute || got < (mostOutages-2)*time.Minute {
		t.Errorf("all counts as %s", got)
	}
}

// An answer that came while another attempt was on its way proves that the
// target can be reached.
func TestAnsweredMeanwhile(t *testing.T) {
	now := newClock().Now()
	always := func(int) time.Duration { return time.Second }
	r := newCircuit("http://h", now)
	r.answer(now.Add(5 * time.Second))
	if _, down, _ := r.fail(&worker{}, now, now.Add(10*time.Second), false, always); down {
		t.Error("down, although it answered meanwhile")
	}
	if _, down, _ := r.fail(&worker{}, now.Add(5*time.Second), now.Add(15*time.Second), false, always); !down {
		t.Error("up, although it answered only before")
	}
}

// What is postponed comes back soon after the next probe, and while one is in
// flight ever later, not all at the same time.
func TestPostpone(t *testing.T) {
	now := newClock().Now()
	after := func(d time.Duration) time.Time { return now.Add(d) }
	l := &worker{}
	r := newCircuit("http://h", now)
	r.fail(l, now, now, false, func(int) time.Duration { return 10 * time.Second })
	check := func(at, want time.Duration) {
		t.Helper()
		if got := r.postponeUntil(after(at)); got.Sub(after(want)) <= 0 || got.Sub(after(want)) > 10*time.Millisecond {
			t.Errorf("put off after %s until %s, want %s and a little", at, got.Sub(now), want)
		}
	}
	check(0, 10*time.Second+postponeLeast)
	check(9*time.Second, 10*time.Second+postponeLeast)
	check(15*time.Second, 15*time.Second+postponeLeast)
	if r.postponeUntil(now).Equal(r.postponeUntil(now)) {
		t.Error("two come back at once")
	}
	probe, ok := r.enter(l, after(20*time.Second))
	if !ok || probe == 0 {
		t.Fatal("may not probe")
	}
	check(20*time.Second, 20*time.Second+postponeLeast)
	check(24*time.Second, 28*time.Second)
	check(28*time.Second, 36*time.Second)
	r.leave(probe)
	r.answer(after(30 * time.Second))
	if got := r.postponeUntil(after(30 * time.Second)); !got.Equal(after(30 * time.Second)) {
		t.Errorf("put off until %s although the target is up", got.Sub(now))
	}
}

func TestCircuitsOf(t *testing.T) {
	var s circuits
	now := newClock().Now()
	key := [32]byte{1}
	groups := [][]endpoint{
		{{Target: send.Target{Scheme: "http", Host: "h"}}, {Target: send.Target{Scheme: "http", Host: "h:80"}}},
		{{Target: send.Target{Scheme: "https", Host: "h"}}, {Target: send.Target{Scheme: "https", Host: "h:443"}}},
		{{Target: send.Target{Scheme: "https", Host: "h"}, tls: key}, {Target: send.Target{Scheme: "https", Host: "h:443"}, tls: key}},
		{{Target: send.Target{Scheme: "http", Host: "h:443"}}},
		{{Target: send.Target{Scheme: "http", Host: "[::1]"}}, {Target: send.Target{Scheme: "http", Host: "[::1]:80"}}},
		{{Target: send.Target{Scheme: "http", Host: "[::2]:81"}}},
	}
	seen := map[*circuit]int{}
	for i, group := range groups {
		for range 2 {
			for _, e := range group {
				r := s.of(e, now)
				if j, known := seen[r]; known && j != i {
					t.Errorf("%v is the same as %v", e, groups[j])
				}
				seen[r] = i
			}
		}
	}
	if len(seen) != len(groups) {
		t.Errorf("%d for %d", len(seen), len(groups))
	}
}

func TestOnlyEndpoint(t *testing.T) {
	without := func(p language.CustomParameter) language.CustomParameter {
		p.NoDefault = true
		return p
	}
	for _, c := range []struct {
		url        string
		parameters []language.CustomParameter
		want       string
	}{
		{"http://h/{{body.x}}", nil, "http://h"},
		{"{{site}}/x", []language.CustomParameter{byTenant("site", "http://a", "200", "http://b")}, ""},
		{"{{site}}/x", []language.CustomParameter{byTenant("site", "http://a/1", "200", "http://a/2")}, "http://a"},
		{"{{site}}/x", []language.CustomParameter{without(byTenant("site", "", "200", "http://a/2"))}, "http://a"},
		{"{{site}}/x", []language.CustomParameter{without(byTenant("site", "", "200", "http://a", "300", "http://b"))}, ""},
	} {
		p := prepare(t, config.Action{URL: c.url}, c.parameters...)
		e, ok := p.onlyEndpoint()
		if ok != (c.want != "") || ok && e.String() != c.want {
			t.Errorf("%s: %v %v, want %q", fmt.Sprint(p.Targets()), e, ok, c.want)
		}
	}
}
