package sqlite

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/queuetest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// large is how many events the manual tests of this file use, from the
// environment; without it they are skipped, because they take minutes. They
// print figures, which depend on the machine.
func large(t *testing.T) int {
	n, _ := strconv.Atoi(os.Getenv("EVENT_RELAY_LARGE"))
	if n == 0 {
		t.Skip("set EVENT_RELAY_LARGE=1000000 to run it")
	}
	return n
}

// rate puts n events from 64 callers and returns how many a second.
func rate(t *testing.T, db *DB, n int, action string) float64 {
	t.Helper()
	began := time.Now()
	if err := callers(64, n, func() error {
		_, err := db.Put(context.Background(), []queue.Entry{benchEntry(action)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return float64(n) / time.Since(began).Seconds()
}

// fill puts n deliveries of an action without takers.
func fill(t *testing.T, db *DB, n int, action string) {
	t.Helper()
	if err := callers(4, (n+99)/100, func() error {
		var entries []queue.Entry
		for range 100 {
			entries = append(entries, benchEntry(action))
		}
		_, err := db.Put(context.Background(), entries)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// drain takes and settles n deliveries and returns how many a second.
func drain(db *DB, action string, n int64) float64 {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var settled atomic.Int64
	began := time.Now()
	go settler(ctx, db, action, &settled)
	for settled.Load() < n {
		time.Sleep(time.Millisecond)
	}
	return float64(settled.Load()) / time.Since(began).Seconds()
}

func TestLargeBacklog(t *testing.T) {
	n := large(t)
	dir := t.TempDir()
	options := Options{Dir: dir, MinFree: -1, MaxPending: 2 * n}
	empty, err := Open(Options{Dir: t.TempDir(), MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	t.Logf("resident with an empty queue: %d MiB", queuetest.Resident())
	db, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	fill(t, db, n, "dead")
	t.Logf("%d deliveries put in %v", n, time.Since(began).Round(time.Millisecond))
	t.Logf("resident with them: %d MiB", queuetest.Resident())
	for range 5 {
		with, without := rate(t, db, 20000, "dead"), rate(t, empty, 20000, "dead")
		t.Logf("accepted per second with the backlog %.0f, without %.0f: %.2f", with, without, with/without)
	}
	t.Logf("resident after that: %d MiB", queuetest.Resident())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	began = time.Now()
	if db, err = Open(options); err != nil {
		t.Fatal(err)
	}
	opened := time.Since(began)
	leases := takeN(t, db, "dead", 1)
	t.Logf("open in %v, first delivery after %v", opened.Round(time.Microsecond), time.Since(began).Round(time.Microsecond))
	if err := db.Settle(leases[0].Token, queue.Settlement{State: queue.Delivered}); err != nil {
		t.Fatal(err)
	}
	backlog, err := db.Backlog(context.Background())
	t.Logf("backlog %+v %v", backlog, err)

	for range 3 {
		slow := drain(db, "dead", 20000)
		ctx, cancel := context.WithCancel(context.Background())
		var settled atomic.Int64
		go settler(ctx, db, "fresh", &settled)
		fresh := rate(t, db, 20000, "fresh")
		cancel()
		t.Logf("settled per second from the backlog %.0f, put and settled fresh %.0f", slow, fresh)
	}
	t.Logf("resident after that: %d MiB", queuetest.Resident())

	began = time.Now()
	changed, err := db.Change(context.Background(), queue.Change{CancelAction: "dead"})
	t.Logf("%d cancelled in %v, %v", changed.Deliveries, time.Since(began).Round(time.Millisecond), err)
	began = time.Now()
	removed, err := db.Prune(context.Background(), time.Now(), 0)
	t.Logf("%d pruned in %v, %v", removed, time.Since(began).Round(time.Millisecond), err)
	total, free, _ := db.size(context.Background())
	t.Logf("database %d MiB, free %d MiB", total>>20, free>>20)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	checkConsistency(t, dir)
}

// TestLargePages reads pages of a large history, where what is looked for is
// rare.
func TestLargePages(t *testing.T) {
	n := large(t)
	db, err := Open(Options{Dir: t.TempDir(), MinFree: -1, MaxPending: 2 * n})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	start := time.Now()
	rare := []queue.Entry{benchEntry("rare")}
	for i := 0; i < n; i += 100 {
		var entries []queue.Entry
		for j := range 100 {
			e := benchEntry("")
			e.Event.Name = "event_" + strconv.Itoa(j%40)
			entries = append(entries, e)
		}
		if i%(n/20) == 0 {
			e := benchEntry("rare")
			e.Event.Name, e.Verdict.Decision = "rare", rules.RuleError
			rare = append(rare, e)
			entries = append(entries, e)
		}
		mustPut(t, db, entries...)
	}
	fill(t, db, n/10, "dead")
	t.Logf("%d events in %v", n, time.Since(start).Round(time.Millisecond))
	total, _, _ := db.size(context.Background())
	t.Logf("database %d MiB, %d bytes an event", total>>20, total/int64(n+n/10))
	for _, l := range takeN(t, db, "rare", len(rare)-1)[:8] {
		if err := db.Settle(l.Token, queue.Settlement{State: queue.Failed, Attempt: &queue.Attempt{Status: 404}}); err != nil {
			t.Fatal(err)
		}
	}
	middle := start.Add(time.Since(start) / 2)
	for name, f := range map[string]queue.Filter{
		"all": {}, "one of 40 events": {Event: "event_7"}, "rare event": {Event: "rare"}, "rare decision": {Decision: rules.RuleError},
		"action": {Action: "rare"}, "action and pending": {Action: "rare", States: []queue.State{queue.Pending}}, "failed": {States: []queue.State{queue.Failed}},
		"delivered, of which there are none": {Action: "dead", States: []queue.State{queue.Delivered}},
		"until the middle":                   {Until: middle}, "a minute": {Since: middle, Until: middle.Add(time.Second)}, "source": {Source: "icfm"}, "none": {Source: "none"},
	} {
		var worst time.Duration
		pages, events := 0, 0
		for after := queue.Cursor(""); pages < 10; {
			began := time.Now()
			page, err := db.Page(context.Background(), f, queue.NewestFirst, after, 50)
			if err != nil {
				t.Fatal(err)
			}
			worst = max(worst, time.Since(began))
			pages++
			events += len(page.Events)
			if after = page.Next; after == "" {
				break
			}
		}
		t.Logf("%-35s %2d pages, %3d events, the slowest in %v", name, pages, events, worst.Round(10*time.Microsecond))
	}
	began := time.Now()
	_, err = db.Find(context.Background(), rare[len(rare)/2].Deliveries[0].ID)
	t.Logf("find a delivery: %v %v", time.Since(began).Round(10*time.Microsecond), err)
	began = time.Now()
	_, err = db.Find(context.Background(), newUUID())
	t.Logf("find nothing: %v %v", time.Since(began).Round(10*time.Microsecond), err)
	began = time.Now()
	removed, err := db.Prune(context.Background(), middle, 0)
	t.Logf("%d pruned in %v, %v", removed, time.Since(began).Round(time.Millisecond), err)
}

// TestLatency measures how long Put takes at 1,000 events a second, each with a
// delivery that is settled, alone and while the activity is read and pruned.
func TestLatency(t *testing.T) {
	n := large(t) / 100
	db, err := Open(Options{Dir: t.TempDir(), MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var settled atomic.Int64
	go settler(ctx, db, "x", &settled)
	measure := func(what string) {
		took := make([]time.Duration, n)
		var done sync.WaitGroup
		began := time.Now()
		for i := range took {
			at := began.Add(time.Duration(i) * time.Millisecond)
			time.Sleep(time.Until(at))
			e := benchEntry("x")
			done.Go(func() {
				began := time.Now()
				if _, err := db.Put(ctx, []queue.Entry{e}); err != nil {
					t.Error(err)
				}
				took[i] = time.Since(began)
			})
		}
		done.Wait()
		slices.Sort(took)
		t.Logf("%-28s p50 %v, p99 %v, p99.9 %v, worst %v", what, took[n/2], took[n*99/100], took[n*999/1000], took[n-1])
	}
	measure("alone")
	busy, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() {
		for busy.Err() == nil {
			for _, f := range []queue.Filter{{}, {Action: "x", States: []queue.State{queue.Delivered}}, {States: []queue.State{queue.Failed}}, {Source: "icfm"}} {
				db.Page(busy, f, queue.NewestFirst, "", 50)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	measure("with pages")
	others.Go(func() {
		for busy.Err() == nil {
			db.Prune(busy, time.Now().Add(-3*time.Second), 0)
			time.Sleep(time.Second)
		}
	})
	measure("with pages and pruning")
	stop()
	others.Wait()
	fill(t, db, 10*n, "")
	busy, stop = context.WithCancel(ctx)
	others.Go(func() {
		n, err := db.Prune(busy, time.Now(), 0)
		t.Log("pruned", n, err)
	})
	measure("with pruning of much")
	stop()
	others.Wait()
}
