package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// Far more deliveries than memory may hold, of several actions, with retries,
// order keys and times to come, put and taken at the same time: each ends
// exactly once, none is out twice at a time, and memory stays bounded.
func TestOverflow(t *testing.T) {
	const fresh, leased = 64, 4 * 16
	db := benchOpen(t, Options{MinFree: -1, limits: limits{fresh: fresh, walIdle: 256 << 10}})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const puts, batchSize = 300, 10
	actions := []string{"a", "b", "c"}

	var ended atomic.Int64
	var mu sync.Mutex
	out := make(map[string]bool)
	attempts := make(map[string]int)
	done, finish := context.WithCancel(ctx)
	defer finish()
	var takers sync.WaitGroup
	for i := range 4 * len(actions) {
		takers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for {
				leases, err := db.Take(done, actions[i%len(actions)], 16)
				if err != nil {
					return
				}
				for _, l := range leases {
					id := l.Delivery.ID
					mu.Lock()
					if out[id] {
						t.Errorf("delivery %s is out twice", id)
					}
					out[id] = true
					if l.Delivery.Attempts != attempts[id] {
						t.Errorf("delivery %s comes with %d attempts and had %d", id, l.Delivery.Attempts, attempts[id])
					}
					attempts[id]++
					mu.Unlock()
					if l.Event == nil || l.Event.ID == "" {
						t.Errorf("delivery %s comes without its event", id)
					}
					s := queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: time.Now(), Status: 200}}
					switch random.IntN(5) {
					case 0:
						s.State, s.Again = queue.Pending, time.Now().Add(time.Duration(random.IntN(30))*time.Millisecond)
					case 1:
						s.State = queue.Pending
					}
					mu.Lock()
					delete(out, id)
					mu.Unlock()
					if err := db.Settle(l.Token, s); err != nil {
						t.Errorf("Settle: %v", err)
					}
					if s.State != queue.Pending && ended.Add(1) == puts*batchSize {
						finish()
					}
				}
			}
		})
	}
	var putters sync.WaitGroup
	var left atomic.Int64
	left.Store(puts)
	for i := range 4 {
		putters.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(i)))
			for left.Add(-1) >= 0 {
				var entries []queue.Entry
				for range batchSize {
					e := benchEntry(actions[random.IntN(len(actions))])
					switch random.IntN(6) {
					case 0:
						e.Deliveries[0].OrderKey = fmt.Sprint(random.IntN(20))
					case 1:
						e.Deliveries[0].Due = time.Now().Add(time.Duration(random.IntN(200)) * time.Millisecond)
					}
					entries = append(entries, e)
				}
				if _, err := db.Put(ctx, entries); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				db.mu.Lock()
				for _, a := range db.actions {
					// What is settled and not yet written is held too; it is bounded by
					// what can be taken in the time of a commit.
					if held, unwritten, _ := a.Memory(); held-unwritten > 2*fresh+leased {
						t.Errorf("memory holds %d deliveries of %s", held-unwritten, a.Name)
					}
				}
				db.mu.Unlock()
			}
		})
	}
	putters.Wait()
	takers.Wait()
	if n := ended.Load(); n != puts*batchSize {
		t.Errorf("%d of %d deliveries ended", n, puts*batchSize)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if n := db.scheduler.Bytes(); n != 0 {
		t.Errorf("%d bytes are counted with nothing in memory", n)
	}
	for _, a := range db.actions {
		if held, unwritten, bytes := a.Memory(); held != 0 || bytes != 0 || a.waiting != 0 || unwritten != 0 {
			t.Errorf("action %s ends with %d held, %d bytes, %d waiting, %d unwritten", a.Name, held, bytes, a.waiting, unwritten)
		}
	}
	checkConsistency(t, db.options.Dir)
}

// A backlog without takers stays in the table, and comes out whole and in
// order, also when some of it was put while some was read.
func TestBacklogIsReadBackInOrder(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{fresh: 32}})
	var want []string
	put := func(n int) {
		var entries []queue.Entry
		for range n {
			e := benchEntry("x")
			entries = append(entries, e)
			want = append(want, e.Deliveries[0].ID)
		}
		mustPut(t, db, entries...)
	}
	put(500)
	db.mu.Lock()
	if n, _, _ := db.actions["x"].Memory(); n > 32 {
		t.Errorf("memory holds %d deliveries of a backlog", n)
	}
	db.mu.Unlock()
	var got []string
	for len(got) < 1000 {
		for _, l := range takeN(t, db, "x", 1) {
			got = append(got, l.Delivery.ID)
			if err := db.Settle(l.Token, queue.Settlement{State: queue.Delivered}); err != nil {
				t.Fatal(err)
			}
		}
		if len(want) < 1000 {
			put(5)
		}
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("delivery %d is %s, want %s", i, got[i], want[i])
		}
	}
	nothingToTake(t, db, "x")
}

// Large events are not all held either.
func TestMemoryIsBoundedInBytes(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{actionBytes: 400 << 10, totalBytes: 500 << 10}})
	for i := range 100 {
		e := benchEntry([]string{"x", "y"}[i%2])
		e.Event.RawBody = make([]byte, 8<<10)
		e.Event.BodyIsRaw = false
		mustPut(t, db, e)
	}
	size := layout.EventSize(len(benchEntry("x").Event.Record()), 8<<10)
	check := func() {
		t.Helper()
		db.mu.Lock()
		defer db.mu.Unlock()
		if limit := max(500<<10, (2*scheduler.MinimumKept+1)*size); db.scheduler.Bytes() > limit {
			t.Errorf("memory holds %d bytes of events, want at most %d", db.scheduler.Bytes(), limit)
		}
	}
	check()
	for i := range 100 {
		l := takeN(t, db, []string{"x", "y"}[i%2], 1)[0]
		check()
		if err := db.Settle(l.Token, queue.Settlement{State: queue.Delivered}); err != nil {
			t.Fatal(err)
		}
	}
	nothingToTake(t, db, "x")
	nothingToTake(t, db, "y")
}

// A flood of retries far ahead does not keep what is due out of memory.
func TestRetriesToComeDoNotCrowdOutWhatIsDue(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{fresh: 16}})
	for range 100 {
		mustPut(t, db, benchEntry("x"))
	}
	for range 100 {
		l := takeN(t, db, "x", 1)[0]
		s := queue.Settlement{State: queue.Pending, Again: time.Now().Add(time.Hour), Attempt: &queue.Attempt{Began: time.Now()}}
		if err := db.Settle(l.Token, s); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "memory is nearly empty", func() bool {
		db.mu.Lock()
		defer db.mu.Unlock()
		held, _, _ := db.actions["x"].Memory()
		return held <= 4
	})
	for range 50 {
		mustPut(t, db, benchEntry("x"))
	}
	takeN(t, db, "x", 50)
	nothingToTake(t, db, "x")
}

// The timer knows of retries that went to the table while there was no taker.
func TestRetriesInTheTableWakeALaterTaker(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{fresh: 1}})
	for range 5 {
		mustPut(t, db, benchEntry("x"))
	}
	again := time.Now().Add(200 * time.Millisecond)
	for i, l := range takeN(t, db, "x", 5) {
		s := queue.Settlement{State: queue.Pending, Again: again}
		if i == 0 {
			s.Again = again.Add(time.Hour) // takes the only place in memory
		}
		if err := db.Settle(l.Token, s); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the settlements are written", func() bool {
		db.mu.Lock()
		defer db.mu.Unlock()
		_, unwritten, _ := db.actions["x"].Memory()
		return unwritten == 0
	})
	for range 4 {
		if l := takeN(t, db, "x", 1)[0]; l.Delivery.Due.Before(again.Add(-time.Millisecond)) || time.Now().Before(again) {
			t.Errorf("a delivery due at %v came at %v", l.Delivery.Due, time.Now())
		}
	}
}

// Setting the clock back neither delays what is due since it was put, nor makes
// retries come early; and a dedupe mark from the future does not last for ever.
func TestClockSetBack(t *testing.T) {
	h := newHarness(t, limits{fresh: 1})
	db := h.Open(t).(*DB)
	entry := func() queue.Entry {
		e := benchEntry("x")
		e.Event.Received = h.Now()
		return e
	}
	put := func(e queue.Entry) string {
		t.Helper()
		receipts, err := db.Put(context.Background(), []queue.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		return receipts[0].DuplicateOf
	}
	for range 3 {
		put(entry())
	}
	marked := entry()
	marked.DedupeKey, marked.DedupeWindow = "k", time.Minute
	marked.Deliveries = nil
	put(marked)
	h.Advance(-24 * time.Hour)
	db.Close()
	db = h.Open(t).(*DB)
	for range 3 {
		put(entry())
	}
	leases := takeN(t, db, "x", 6)
	nothingToTake(t, db, "x")
	if err := db.Settle(leases[0].Token, queue.Settlement{State: queue.Pending, Again: h.Now().Add(time.Second), Attempt: &queue.Attempt{Began: h.Now()}}); err != nil {
		t.Fatal(err)
	}
	nothingToTake(t, db, "x")
	h.Advance(time.Second)
	takeN(t, db, "x", 1)
	again := marked
	again.Event = entry().Event
	if original := put(again); original != "" {
		t.Error("a mark from tomorrow suppresses an event of today")
	}
	// Events of both days are found by their times.
	page, err := db.Page(context.Background(), queue.Filter{Since: h.Now().Add(23 * time.Hour)}, queue.NewestFirst, "", 10)
	if err != nil || len(page.Events) != 4 {
		t.Errorf("%d events of the first day and %v, want 4", len(page.Events), err)
	}
	page, err = db.Page(context.Background(), queue.Filter{Until: h.Now().Add(time.Hour)}, queue.NewestFirst, "", 10)
	if err != nil || len(page.Events) != 4 {
		t.Errorf("%d events of the second day and %v, want 4", len(page.Events), err)
	}
	db.Close()
}

// Setting the clock, in whichever direction, neither ends a lease nor makes it last
// longer: what is being attempted is not handed out a second time.
func TestLeasesGoByElapsedTime(t *testing.T) {
	for _, jump := range []time.Duration{30 * 24 * time.Hour, -30 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			elapsed := time.Hour
			h := newHarness(t, limits{elapsed: func() time.Duration { return elapsed }})
			db := h.Open(t).(*DB)
			defer db.Close()
			// pass has tick see the time as Advance does, while the lock orders it with
			// what the timer reads.
			pass := func(d time.Duration) {
				db.mu.Lock()
				elapsed += d
				db.mu.Unlock()
				h.Advance(d)
			}
			for range 3 {
				mustPut(t, db, benchEntry("x"))
			}
			leases := takeN(t, db, "x", 3)
			h.Advance(jump)
			nothingToTake(t, db, "x")
			if err := db.Settle(leases[0].Token, queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: h.Now()}}); err != nil {
				t.Errorf("after the jump the lease is lost: %v", err)
			}
			if err := db.Extend(context.Background(), leases[1].Token, 2*h.Lease()); err != nil {
				t.Errorf("after the jump the lease cannot be extended: %v", err)
			}
			pass(h.Lease())
			if again := takeN(t, db, "x", 1); again[0].Delivery.ID != leases[2].Delivery.ID {
				t.Errorf("delivery %s is due again, want %s, whose lease expired", again[0].Delivery.ID, leases[2].Delivery.ID)
			}
			nothingToTake(t, db, "x")
			pass(h.Lease())
			takeN(t, db, "x", 2)
		})
	}
}

// Marks that are over make room while others are made.
func TestOldDedupeMarksGo(t *testing.T) {
	h := newHarness(t, limits{})
	db := h.Open(t).(*DB)
	put := func(n int) {
		for i := range n {
			e := benchEntry("")
			e.DedupeKey, e.DedupeWindow = fmt.Sprint(h.Now(), i), time.Minute
			mustPut(t, db, e)
		}
	}
	put(50)
	h.Advance(2 * time.Minute)
	put(26)
	var n int64
	if err := db.readers.Read(context.Background(), func(conn *sqlite.Conn) (err error) {
		n, err = database.QueryInt(conn, "SELECT count(*) FROM dedupe")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n != 26 {
		t.Errorf("%d marks are stored, want 26", n)
	}
	db.Close()
}
