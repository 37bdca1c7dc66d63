package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/rules"
)

var benchBody = []byte(`{"event":"project_status_change","project":{"id":48123,"name":"Riverside Arts Centre","status":"Approved"},"user":{"id":17,"name":"J. Smith"},"changed":["status","date"],"note":"` + strings.Repeat("x", 120) + `"}`)

func newUUID() string { return uuid.Must(uuid.NewV7()).String() }

// benchEntry is an event of ordinary size, with a delivery if an action is
// named.
func benchEntry(action string) queue.Entry {
	e := queue.Entry{
		Event: &event.Event{
			ID: newUUID(), Source: "icfm", Name: "project_status_change", Received: time.Now(), Method: "POST", Path: "/listen.php", IP: "203.0.113.9",
			Headers: map[string][]string{"Content-Type": {"application/json"}, "User-Agent": {"iCFM/7"}, "Accept": {"*/*"}},
			RawBody: benchBody, BodyIsRaw: true, Subject: "Project 48123 Riverside Arts Centre",
		},
		Verdict: rules.Verdict{Decision: rules.Ignored, Reason: "media tasks are not automated", Rule: "Caddyfile:31"},
	}
	if action != "" {
		e.Verdict = rules.Verdict{Decision: rules.Act, Rule: "Caddyfile:12", Actions: []rules.ActionCall{{Action: action, Rule: "Caddyfile:12"}}}
		e.Deliveries = []queue.Delivery{{ID: newUUID(), Action: action}}
	}
	return e
}

func benchOpen(b testing.TB, o Options) *DB {
	b.Helper()
	if o.Dir == "" {
		o.Dir = b.TempDir()
	}
	db, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

// callers runs f n times from several goroutines.
func callers(count, n int, f func() error) error {
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, count)
	var done sync.WaitGroup
	for range count {
		done.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	done.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// settler takes and settles until its context ends.
func settler(ctx context.Context, db *DB, action string, settled *atomic.Int64) {
	attempt := &queue.Attempt{Began: time.Now(), Took: 3 * time.Millisecond, Status: 200, Request: strings.Repeat("r", 300), Response: "ok"}
	for {
		leases, err := db.Take(ctx, action, 64)
		if err != nil {
			return
		}
		for _, l := range leases {
			if db.Settle(l.Token, queue.Settlement{State: queue.Delivered, Attempt: attempt}) == nil {
				settled.Add(1)
			}
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, count := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("ignored/callers=%d", count), func(b *testing.B) {
			db := benchOpen(b, Options{})
			if err := db.Exist(context.Background(), benchThings); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := callers(count, b.N, func() error {
				_, err := db.Put(context.Background(), []queue.Entry{usedEntry("")})
				return err
			}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
		b.Run(fmt.Sprintf("delivered/callers=%d", count), func(b *testing.B) {
			db := benchOpen(b, Options{})
			if err := db.Exist(context.Background(), benchThings); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var settled atomic.Int64
			go settler(ctx, db, "x", &settled)
			b.ReportAllocs()
			b.ResetTimer()
			if err := callers(count, b.N, func() error {
				_, err := db.Put(context.Background(), []queue.Entry{usedEntry("x")})
				return err
			}); err != nil {
				b.Fatal(err)
			}
			for settled.Load() < int64(b.N) {
				time.Sleep(100 * time.Microsecond)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkSync is the latency of the disk, which the others contain.
func BenchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "x"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 5*database.FrameSize)
	var all []time.Duration
	for n := int64(0); b.Loop(); n++ {
		if _, err := f.WriteAt(page, n%200*int64(len(page))); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(began))
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkWriter is the writer's work alone, without its callers: what an
// event with one delivery takes in a batch, and what a settlement does.
func BenchmarkWriter(b *testing.B) {
	for _, size := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			db := benchOpen(b, Options{limits: limits{settleDelay: time.Hour}})
			attempt := &queue.Attempt{Began: time.Now(), Took: 3 * time.Millisecond, Status: 200, Request: strings.Repeat("r", 300), Response: "ok"}
			var putting, settling time.Duration
			events := 0
			b.ReportAllocs()
			for b.Loop() {
				batch := make([]command, size)
				for i := range batch {
					p := &put{entries: make([]entry, 1), receipts: make([]queue.Receipt, 1), done: make(chan error, 1)}
					e := benchEntry("folder")
					if err := p.encode(0, &e); err != nil {
						b.Fatal(err)
					}
					db.mu.Lock()
					p.prepare(db)
					db.mu.Unlock()
					batch[i] = p
				}
				began := time.Now()
				if err := db.commit(batch); err != nil {
					b.Fatal(err)
				}
				putting += time.Since(began)
				leases, err := db.Take(context.Background(), "folder", size)
				if err != nil || len(leases) != size {
					b.Fatal(len(leases), err)
				}
				for _, l := range leases {
					if err := db.Settle(l.Token, queue.Settlement{State: queue.Delivered, Attempt: attempt}); err != nil {
						b.Fatal(err)
					}
				}
				batch, _ = db.nextBatch()
				began = time.Now()
				if err := db.commit(batch); err != nil {
					b.Fatal(err)
				}
				settling += time.Since(began)
				db.checkpointIfLarge()
				events += size
			}
			each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(events) }
			b.ReportMetric(each(putting), "µs/put")
			b.ReportMetric(each(settling), "µs/settle")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPage reads pages of a history with filters of each way of searching.
func BenchmarkPage(b *testing.B) {
	db := benchOpen(b, Options{MinFree: -1})
	for i := range 200 {
		var entries []queue.Entry
		for j := range 100 {
			e := benchEntry("")
			e.Event.Name = "event_" + fmt.Sprint(j%40)
			entries = append(entries, e)
		}
		if i%20 == 0 {
			entries = append(entries, benchEntry("rare"))
		}
		if _, err := db.Put(context.Background(), entries); err != nil {
			b.Fatal(err)
		}
	}
	for name, f := range map[string]queue.Filter{
		"all": {}, "event": {Event: "event_7"}, "action": {Action: "rare"}, "pending": {States: []queue.State{queue.Pending}}, "none": {Source: "none"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := db.Page(context.Background(), f, queue.NewestFirst, "", 50); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
