package queuetest

import (
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

var seriesTests = map[string]func(*fixture){
	"what happened is counted": func(f *fixture) {
		begin := f.Now()
		for i, d := range []rules.Decision{rules.Ignored, rules.RuleError, rules.RuleError, rules.Disabled} {
			e := f.entry()
			e.Verdict.Decision = d
			if i == 0 {
				e.DedupeKey, e.DedupeWindow = "k", 1000*f.Lease()
			}
			f.put(e)
		}
		for range 2 {
			e := f.entry("never")
			e.DedupeKey, e.DedupeWindow = "k", 1000*f.Lease()
			f.put(e)
		}
		f.put(f.entry("a", "b", "c", "d"))
		f.deliver(f.take("a", 1)[0])
		f.settle(f.take("b", 1)[0], queue.Settlement{State: queue.Failed, Attempt: f.attempt(400, "no")})
		f.settle(f.take("c", 1)[0], queue.Settlement{State: queue.Expired})
		f.change(queue.Change{CancelAction: "d"})
		f.put(f.entry("e"))
		for range 3 {
			lease := f.take("e", 1)[0]
			f.settle(lease, queue.Settlement{State: queue.Pending, Again: f.Now(), Attempt: f.attempt(503, "busy")})
		}
		f.settle(f.take("e", 1)[0], queue.Settlement{State: queue.Pending, Again: f.Now()}) // no attempt
		f.reopen()
		f.wantTotal(begin, map[rules.Decision]int{rules.Ignored: 1, rules.RuleError: 2, rules.Disabled: 1, rules.Act: 2, queue.DuplicateEvents: 2},
			map[queue.State]int{queue.Delivered: 1, queue.Failed: 1, queue.Expired: 1, queue.Cancelled: 1}, 3)
		// Also when the events are gone for want of room, but not when that time is.
		f.Advance(3 * f.Lease())
		f.change(queue.Change{CancelAction: "e"})
		f.prune(time.Time{}, 1)
		equal(f, "events", len(f.all(queue.Filter{}, 10)), 0)
		f.reopen()
		f.wantTotal(begin, map[rules.Decision]int{rules.Ignored: 1, rules.RuleError: 2, rules.Disabled: 1, rules.Act: 2, queue.DuplicateEvents: 2},
			map[queue.State]int{queue.Delivered: 1, queue.Failed: 1, queue.Expired: 1, queue.Cancelled: 2}, 3)
		f.Advance(3 * time.Hour)
		f.put(f.entry())
		f.prune(f.Now(), 0)
		f.wantTotal(begin, map[rules.Decision]int{rules.Ignored: 1}, map[queue.State]int{}, 0)
	},

	"in steps of any length": func(f *fixture) {
		begin := f.Now()
		var at []time.Time
		for i := range 200 {
			for range 1 + i%3 {
				f.put(f.entry())
				at = append(at, f.Now())
			}
			f.Advance(time.Minute + 700*time.Millisecond)
		}
		until := f.Now()
		for _, n := range []int{1, 2, 7, 20, 50, 200, 1000} {
			s, err := f.Series(f.patient(), begin, until, n)
			if err != nil {
				f.Fatal(err)
			}
			if s.Step < time.Minute || s.Step%time.Minute != 0 {
				f.Errorf("the step is %v", s.Step)
			}
			if len(s.Points) > n+1 || n < 50 && len(s.Points) < (n+1)/2 {
				f.Errorf("asked for %d steps, got %d of %v", n, len(s.Points), s.Step)
			}
			for i, p := range s.Points {
				if i > 0 && !p.At.Equal(s.Points[i-1].At.Add(s.Step)) {
					f.Errorf("step %d begins at %v, and the one before at %v", i, p.At, s.Points[i-1].At)
				}
				want := 0
				for _, t := range at {
					if !t.Before(p.At) && t.Before(p.At.Add(s.Step)) {
						want++
					}
				}
				equal(f, fmt.Sprintf("events at %v, of %d steps", p.At, n), p.Events[rules.Ignored], want)
			}
		}
		middle, err := f.Series(f.patient(), begin.Add(50*time.Minute), begin.Add(60*time.Minute), 10)
		if err != nil || len(middle.Points) < 10 || len(middle.Points) > 11 {
			f.Errorf("ten minutes have %d steps, %v", len(middle.Points), err)
		}
	},

	"how long it took": func(f *fixture) {
		begin := f.Now()
		var quick, slow []queue.Lease
		for range 95 {
			f.put(f.entry("x"))
		}
		for range 5 {
			f.put(f.entry("y"))
		}
		quick, slow = f.take("x", 95), f.take("y", 5)
		f.Advance(50 * time.Millisecond)
		for _, l := range quick {
			f.deliver(l)
		}
		f.Advance(f.Lease() / 2)
		for _, l := range slow {
			f.deliver(l)
		}
		f.Advance(time.Millisecond)
		f.reopen()
		total := f.total(begin)
		equal(f, "delivered", total.Deliveries[queue.Delivered], 100)
		f.within("half of them", total.P50, 50*time.Millisecond)
		f.within("99 of 100", total.P99, f.Lease()/2+50*time.Millisecond)
	},

	"what was added to an old event has its own beginning": func(f *fixture) {
		old := f.put(f.entry())
		f.Advance(100 * f.Lease())
		begin := f.Now()
		f.add(old, "x")
		lease := f.take("x", 1)[0]
		f.Advance(f.Lease() / 4)
		f.deliver(lease)
		f.state(lease.Delivery.ID, queue.Delivered)
		f.within("half of them", f.total(begin).P50, f.Lease()/4)
	},

	"samples of the backlog": func(f *fixture) {
		begin := f.Now()
		f.sample() // nothing waits
		f.putAll(f.entry("x", "y"), f.entry("x"))
		f.Advance(time.Minute)
		f.sample()
		f.Advance(10 * time.Minute)
		f.change(queue.Change{CancelAction: "y"})
		f.sample()
		f.Advance(time.Minute)
		f.reopen()
		s, err := f.Series(f.patient(), begin, f.Now(), 1000)
		if err != nil {
			f.Fatal(err)
		}
		var got []queue.Point
		for _, p := range s.Points {
			if len(p.Backlog) > 0 {
				got = append(got, p)
			}
		}
		if len(got) != 2 || len(got[0].Backlog) != 2 || len(got[1].Backlog) != 1 {
			f.Fatalf("the samples are %+v", got)
		}
		equal(f, "count of x", got[0].Backlog["x"].Count, 2)
		equal(f, "count of y", got[0].Backlog["y"].Count, 1)
		equal(f, "later count of x", got[1].Backlog["x"].Count, 2)
		f.within("age of x", got[0].Backlog["x"].Age, time.Minute)
		f.within("later age of x", got[1].Backlog["x"].Age, 11*time.Minute)
		// The last of each action in a longer step.
		all := f.total(begin)
		equal(f, "last count of y", all.Backlog["y"].Count, 1)
		f.within("last age of x", all.Backlog["x"].Age, 11*time.Minute)
	},

	"bad times and numbers are refused": func(f *fixture) {
		now := f.Now()
		for _, bad := range []struct {
			since, until time.Time
			n            int
		}{{now, now, 10}, {now, now.Add(-time.Hour), 10}, {now, now.Add(time.Hour), 0}} {
			if _, err := f.Series(f.patient(), bad.since, bad.until, bad.n); err == nil {
				f.Errorf("%+v was taken", bad)
			}
		}
		s, err := f.Series(f.patient(), now.Add(-100*365*24*time.Hour), now, 100)
		if err != nil || len(s.Points) < 50 || len(s.Points) > 101 {
			f.Errorf("a hundred years have %d steps, %v", len(s.Points), err)
		}
	},
}

// total returns what happened since a time, as one step.
func (f *fixture) total(since time.Time) queue.Point {
	f.Helper()
	until := f.Now().Add(time.Second)
	s, err := f.Series(f.patient(), since, until, 1)
	if err != nil || len(s.Points) == 0 || len(s.Points) > 2 {
		f.Fatalf("Series gave %d points and %v", len(s.Points), err)
	}
	return s.Points[0]
}

func (f *fixture) wantTotal(since time.Time, events map[rules.Decision]int, deliveries map[queue.State]int, retries int) {
	f.Helper()
	gotEvents, gotDeliveries, gotRetries := map[rules.Decision]int{}, map[queue.State]int{}, 0
	for _, n := range []int{1, 100} {
		clear(gotEvents)
		clear(gotDeliveries)
		gotRetries = 0
		s, err := f.Series(f.patient(), since, f.Now().Add(time.Second), n)
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range s.Points {
			for d, n := range p.Events {
				gotEvents[d] += n
			}
			for s, n := range p.Deliveries {
				gotDeliveries[s] += n
			}
			gotRetries += p.Retries
		}
		equal(f, fmt.Sprintf("events in %d steps", n), fmt.Sprint(gotEvents), fmt.Sprint(events))
		equal(f, fmt.Sprintf("deliveries in %d steps", n), fmt.Sprint(gotDeliveries), fmt.Sprint(deliveries))
		equal(f, fmt.Sprintf("retries in %d steps", n), gotRetries, retries)
	}
}

// within checks a time that is known to a fifth.
func (f *fixture) within(what string, got, want time.Duration) {
	f.Helper()
	if got < want*4/5 || got > want*6/5 {
		f.Errorf("%s is %v, want %v", what, got, want)
	}
}

func (f *fixture) sample() {
	f.Helper()
	if err := f.Sample(f.patient()); err != nil {
		f.Fatalf("Sample: %v", err)
	}
}
