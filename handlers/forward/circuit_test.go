package forward

import (
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
)

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

// Only time in which nothing can have arrived does not count: neither do outages
// hide time in which the target took requests.
func TestSpentBetweenOutages(t *testing.T) {
	at := func(minutes int) time.Time { return newClock().Now().Add(time.Duration(minutes) * time.Minute) }
	always := func(int) time.Duration { return time.Second }
	r := newCircuit("http://h", at(0))
	l := &worker{}
	for _, f := range []struct {
		at      int
		reached bool
	}{{10, true}, {20, false}, {25, false}, {30, true}, {40, true}, {50, false}} {
		if _, down, news := r.fail(l, at(f.at), at(f.at), f.reached, always); !down || news != (f.at == 10) {
			t.Errorf("at %d: down %v, news %v", f.at, down, news)
		}
	}
	for now, want := range map[int]int{10: 10, 20: 20, 30: 20, 40: 30, 50: 40, 60: 40} {
		if got := r.spent(at(0), at(now)); got != time.Duration(want)*time.Minute {
			t.Errorf("until %d: %s, want %d minutes", now, got, want)
		}
	}
	if downFor, over := r.answer(at(60)); !over || downFor != 50*time.Minute {
		t.Errorf("down for %s", downFor)
	}
	if got := r.spent(at(0), at(70)); got != 50*time.Minute {
		t.Errorf("afterwards: %s", got)
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
