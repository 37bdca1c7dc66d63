package queuetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var takeTests = map[string]func(*fixture){
	"the longest waiting first, up to n": func(f *fixture) {
		var want []string
		for range 5 {
			want = append(want, f.put(f.entry("x")).Deliveries[0].ID)
			f.Advance(f.Lease() / 100)
		}
		equalIDs(f, "first two", ids(f.take("x", 2)), want[:2])
		equalIDs(f, "the rest", ids(f.take("x", 3)), want[2:])
		f.nothing("x")
	},

	"retries and fresh ones in one order": func(f *fixture) {
		first := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", first), f.Lease()/10)
		f.Advance(f.Lease() / 10)
		second := f.put(f.entry("x")).Deliveries[0].ID
		f.Advance(f.Lease() / 10)
		equalIDs(f, "order", ids(f.take("x", 2)), []string{first, second})
	},

	"n must be positive": func(f *fixture) {
		f.put(f.entry("x"))
		if leases, err := f.Take(f.patient(), "x", 0); err == nil || len(leases) > 0 {
			f.Errorf("Take of 0 gave %s and %v, want an error", ids(leases), err)
		}
	},

	"the lease says what and until when": func(f *fixture) {
		e := f.put(f.entry("x"))
		before := f.Now()
		lease := f.one("x", e.Deliveries[0].ID)
		equal(f, "event", lease.Event.ID, e.Event.ID)
		equal(f, "action", lease.Delivery.Action, "x")
		if e := lease.Expires; e.Before(before.Add(f.Lease()).Add(-time.Microsecond)) || e.After(f.Now().Add(f.Lease())) {
			f.Errorf("the lease expires at %v, taken at %v for %v", e, before, f.Lease())
		}
	},

	"a waiting call is woken by a put": func(f *fixture) {
		done := f.waiting("x")
		f.woken(done, f.put(f.entry("x")).Deliveries[0].ID)
	},

	"every waiting call is woken": func(f *fixture) {
		a, b, c := f.waiting("x"), f.waiting("x"), f.waiting("x")
		f.putAll(f.entry("x"), f.entry("x"), f.entry("x"))
		seen := make(map[string]bool)
		for _, done := range []<-chan taken{a, b, c} {
			got := <-done
			if got.err != nil || len(got.leases) != 1 {
				f.Fatalf("a waiting Take gave %s and %v", ids(got.leases), got.err)
			}
			seen[got.leases[0].Delivery.ID] = true
		}
		equal(f, "number of deliveries", len(seen), 3)
	},

	"a waiting call ends with its context": func(f *fixture) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := f.Take(ctx, "x", 1)
			done <- err
		}()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			f.Errorf("Take ended with %v, want its context's error", err)
		}
		// And it takes nothing with it.
		f.one("x", f.put(f.entry("x")).Deliveries[0].ID)
	},

	"actions are independent": func(f *fixture) {
		x := f.put(f.entry("x")).Deliveries[0].ID
		f.nothing("y")
		y := f.put(f.entry("y")).Deliveries[0].ID
		f.one("y", y)
		f.one("x", x)
	},

	"several takers never have the same": func(f *fixture) {
		const n = 400
		var mu sync.Mutex
		taken := make(map[string]int)
		total := 0
		ctx, cancel := context.WithCancel(f.patient())
		defer cancel()
		var done sync.WaitGroup
		for range 8 {
			done.Go(func() {
				for {
					leases, err := f.Take(ctx, "x", 7)
					if err != nil {
						return
					}
					for _, l := range leases {
						if err := f.Settle(l.Token, queue.Settlement{State: queue.Delivered, Attempt: f.attempt(200, "")}); err != nil {
							f.Errorf("Settle: %v", err)
						}
						mu.Lock()
						taken[l.Delivery.ID]++
						if total++; total == n {
							cancel()
						}
						mu.Unlock()
					}
				}
			})
		}
		for range n / 4 {
			f.putAll(f.entry("x"), f.entry("x"), f.entry("x"), f.entry("x"))
		}
		done.Wait()
		equal(f, "number of deliveries", len(taken), n)
		for id, times := range taken {
			if times != 1 {
				f.Errorf("delivery %s was taken %d times", id, times)
			}
		}
	},

	"not before it is due": func(f *fixture) {
		e := f.entry("x")
		e.Deliveries[0].Due = f.Now().Add(f.Lease())
		f.put(e)
		at := f.put(f.entry("x")).Deliveries[0].ID
		f.deliver(f.one("x", at))
		f.nothing("x")
		done := f.waiting("x")
		f.Advance(f.Lease())
		lease := f.woken(done, e.Deliveries[0].ID)
		equalTime(f, "due", lease.Delivery.Due, e.Deliveries[0].Due)
	},

	"a due time survives reopening": func(f *fixture) {
		e := f.entry("x")
		e.Deliveries[0].Due = f.Now().Add(f.Lease())
		f.put(e)
		f.reopen()
		f.nothing("x")
		done := f.waiting("x")
		f.Advance(f.Lease())
		f.woken(done, e.Deliveries[0].ID)
	},

	"an expired lease makes its delivery due again": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		first := f.one("x", id)
		f.nothing("x")
		done := f.waiting("x")
		f.Advance(f.Lease())
		second := f.woken(done, id)
		equal(f, "number of attempts", second.Delivery.Attempts, 0)
		f.lost("Extend of the expired lease", f.Extend(f.patient(), first.Token, f.Lease()))
		f.lost("Settle of the expired lease", f.Settle(first.Token, queue.Settlement{State: queue.Failed, Attempt: f.attempt(500, "late")}))
		f.deliver(second)
		f.nothing("x")
		f.state(id, queue.Delivered)
	},

	"an expired lease is lost also before another is given": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		f.Advance(f.Lease())
		f.lost("Settle of the expired lease", f.Settle(lease.Token, queue.Settlement{State: queue.Delivered}))
		f.one("x", id)
	},

	"an extended lease lasts": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		f.Advance(f.Lease() / 2)
		if err := f.Extend(f.patient(), lease.Token, f.Lease()); err != nil {
			f.Fatalf("Extend: %v", err)
		}
		f.Advance(f.Lease() / 4 * 3)
		f.nothing("x")
		f.deliver(lease)
		f.state(id, queue.Delivered)
	},

	"extending never shortens": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		if err := f.Extend(f.patient(), lease.Token, f.Lease()/100); err != nil {
			f.Fatalf("Extend: %v", err)
		}
		f.Advance(f.Lease() / 2)
		f.deliver(lease)
	},

	"reopening, then old and new": func(f *fixture) {
		old := f.put(f.entry("x")).Deliveries[0].ID
		f.reopen()
		f.deliver(f.one("x", old))
		for range 3 {
			done := f.waiting("x")
			id := f.put(f.entry("x")).Deliveries[0].ID
			f.deliver(f.woken(done, id))
		}
		f.nothing("x")
	},

	"reopening ends leases and keeps what is unfinished": func(f *fixture) {
		leased := f.put(f.entry("x")).Deliveries[0].ID
		old := f.one("x", leased)
		waiting := f.put(f.entry("x")).Deliveries[0].ID
		f.reopen()
		equalIDs(f, "deliveries", ids(f.take("x", 2)), []string{leased, waiting})
		if err := f.Settle(old.Token, queue.Settlement{State: queue.Delivered}); err == nil {
			f.Error("a lease of the time before could be settled")
		}
	},
}

var settleTests = map[string]func(*fixture){
	"ended is ended": func(f *fixture) {
		for _, state := range []queue.State{queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled} {
			id := f.put(f.entry("x")).Deliveries[0].ID
			lease := f.one("x", id)
			f.settle(lease, queue.Settlement{State: state, Attempt: f.attempt(200, "")})
			f.lost("Settle after "+string(state), f.Settle(lease.Token, queue.Settlement{State: queue.Pending}))
			f.lost("Extend after "+string(state), f.Extend(f.patient(), lease.Token, f.Lease()))
			f.nothing("x")
			f.state(id, state)
		}
		f.reopen()
		f.nothing("x")
	},

	"again at a time": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", id), f.Lease())
		f.nothing("x")
		done := f.waiting("x")
		f.Advance(f.Lease())
		lease := f.woken(done, id)
		equal(f, "attempts", lease.Delivery.Attempts, 1)
		f.deliver(lease)
		equal(f, "attempts in the end", f.state(id, queue.Delivered).Attempts, 2)
	},

	"many again at a time, for one taker": func(f *fixture) {
		const n = 40
		waiting := make(map[string]bool)
		for range n {
			waiting[f.put(f.entry("x")).Deliveries[0].ID] = true
		}
		for _, lease := range f.take("x", n) {
			f.again(lease, f.Lease())
		}
		f.nothing("x")
		done := f.waiting("x")
		f.Advance(f.Lease())
		got := <-done
		if got.err != nil || len(got.leases) != 1 {
			f.Fatalf("the waiting Take gave %s and %v", ids(got.leases), got.err)
		}
		for _, lease := range append(got.leases, f.take("x", n-1)...) {
			if !waiting[lease.Delivery.ID] {
				f.Errorf("delivery %s came twice", lease.Delivery.ID)
			}
			delete(waiting, lease.Delivery.ID)
		}
		f.nothing("x")
	},

	"again at once": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		f.settle(lease, queue.Settlement{State: queue.Pending, Attempt: f.attempt(0, "connection refused")})
		equal(f, "attempts", f.one("x", id).Delivery.Attempts, 1)
	},

	"a waiting call is woken by a lease given back": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		done := f.waiting("x")
		f.settle(lease, queue.Settlement{State: queue.Pending})
		equal(f, "attempts", f.woken(done, id).Delivery.Attempts, 0)
	},

	"attempts and the first of them are counted": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		began := f.Now()
		for i := range 3 {
			lease := f.one("x", id)
			equal(f, "attempts", lease.Delivery.Attempts, i)
			if i > 0 {
				equalTime(f, "first attempt", lease.Delivery.FirstAttempt, began)
			}
			f.again(lease, 0)
			f.Advance(f.Lease() / 10)
		}
		f.settle(f.one("x", id), queue.Settlement{State: queue.Pending}) // nothing was tried
		f.reopen()
		lease := f.one("x", id)
		equal(f, "attempts after reopening", lease.Delivery.Attempts, 3)
		equalTime(f, "first attempt after reopening", lease.Delivery.FirstAttempt, began)
		f.deliver(lease)
		equal(f, "attempts in the end", f.state(id, queue.Delivered).Attempts, 4)
	},

	"a time to come survives reopening": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		f.again(f.one("x", id), f.Lease())
		f.reopen()
		f.nothing("x")
		f.Advance(f.Lease())
		equal(f, "attempts", f.one("x", id).Delivery.Attempts, 1)
	},

	"only the engine's tokens are leases": func(f *fixture) {
		if err := f.Settle("something", queue.Settlement{State: queue.Delivered}); err == nil {
			f.Error("Settle took a token that is none")
		}
		if err := f.Extend(f.patient(), nil, f.Lease()); err == nil {
			f.Error("Extend took a token that is none")
		}
	},

	"an unknown state is refused": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		lease := f.one("x", id)
		if err := f.Settle(lease.Token, queue.Settlement{State: "done"}); err == nil {
			f.Error("Settle took the state \"done\"")
		}
		f.deliver(lease)
	},
}

var closeTests = map[string]func(*fixture){
	"calls get ErrClosed": func(f *fixture) {
		f.put(f.entry("x"))
		lease := f.take("x", 1)[0]
		done := f.waiting("y")
		for range 2 {
			if err := f.Close(); err != nil {
				f.Fatalf("Close: %v", err)
			}
		}
		if got := <-done; !errors.Is(got.err, queue.ErrClosed) {
			f.Errorf("the waiting Take ended with %v, want ErrClosed", got.err)
		}
		_, putErr := f.Put(f.patient(), []queue.Entry{f.entry()})
		_, takeErr := f.Take(f.patient(), "x", 1)
		_, changeErr := f.Change(f.patient(), queue.Change{Switch: off("x")})
		_, usesErr := f.Uses(f.patient())
		_, pageErr := f.Page(f.patient(), queue.Filter{}, queue.NewestFirst, "", 1)
		for call, err := range map[string]error{
			"Put": putErr, "Take": takeErr, "Change": changeErr, "Page": pageErr, "Uses": usesErr, "Exist": f.Exist(f.patient(), nil),
			"Settle": f.Settle(lease.Token, queue.Settlement{State: queue.Delivered}), "Extend": f.Extend(f.patient(), lease.Token, f.Lease()),
		} {
			if !errors.Is(err, queue.ErrClosed) {
				f.Errorf("%s after Close gave %v, want ErrClosed", call, err)
			}
		}
	},

	"settlements are written": func(f *fixture) {
		var delivered []string
		for range 50 {
			delivered = append(delivered, f.put(f.entry("x")).Deliveries[0].ID)
		}
		for _, lease := range f.take("x", 50) {
			f.deliver(lease)
		}
		f.reopen()
		f.nothing("x")
		for _, id := range delivered {
			equal(f, "state", f.find(id).Summary.Deliveries[0].State, queue.Delivered)
		}
	},

	"calls under way end well or with ErrClosed": func(f *fixture) {
		var done sync.WaitGroup
		var mu sync.Mutex
		var stored []string
		begun := make(chan struct{}, 1000)
		for range 16 {
			done.Go(func() {
				for {
					e := f.entry("x")
					_, err := f.Put(f.patient(), []queue.Entry{e})
					if err != nil {
						if !errors.Is(err, queue.ErrClosed) {
							f.Errorf("Put: %v", err)
						}
						return
					}
					mu.Lock()
					stored = append(stored, e.Deliveries[0].ID)
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 50 {
			<-begun
		}
		if err := f.Close(); err != nil {
			f.Fatalf("Close: %v", err)
		}
		done.Wait()
		f.open()
		there := make(map[string]bool)
		for _, lease := range f.take("x", len(stored)) {
			there[lease.Delivery.ID] = true
		}
		for _, id := range stored {
			if !there[id] {
				f.Errorf("delivery %s was stored and is gone", id)
			}
		}
	},
}
