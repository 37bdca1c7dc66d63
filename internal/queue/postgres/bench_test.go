//go:build unix

package postgres

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/rules"
)

var benchBody = []byte(`{"event":"project_status_change","note":"` + strings.Repeat("x", 556) + `"}`)

// benchEntry is an event of 600 bytes that leads to an action, if one is named. Making it
// takes little of what is measured.
func benchEntry(action string) queue.Entry {
	e := queue.Entry{
		Event:   &event.Event{ID: event.NewID(), Source: "pbx", Name: "incoming_call", Received: time.Now(), Method: "POST", Path: "/listen", RawBody: benchBody, BodyIsRaw: true},
		Verdict: rules.Verdict{Decision: rules.Ignored},
	}
	if action != "" {
		e.Verdict.Decision = rules.Act
		e.Deliveries = []queue.Delivery{{ID: event.NewID(), Action: action}}
	}
	return e
}

// BenchmarkBeside runs the same on SQLite and PostgreSQL, both of which sync: accept
// stores events, whole stores them, takes and settles their deliveries. In each of five
// rounds b.N events go through one and then through the other. It tells the medians of
// their speed, PostgreSQL's as a part of SQLite's, and how much time of a processor an
// event takes: of this process, and of the server.
func BenchmarkBeside(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{Sync: true})
	for name, action := range map[string]string{"accept": "", "whole": "x"} {
		b.Run(name, func(b *testing.B) {
			lite, err := sqlite.Open(sqlite.Options{Dir: b.TempDir(), MinFree: -1})
			if err != nil {
				b.Fatal(err)
			}
			defer lite.Close()
			db, err := Open(Options{DSN: server.DSN(), Schema: fmt.Sprintf("bench_%s_%d", name, b.N), Node: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			engines := []queue.Engine{lite, db}
			var rounds [2]measured
			// What is prepared once does not count.
			for _, engine := range engines {
				passThrough(b, engine, action, 256)
			}
			for round := range 5 {
				for i := range engines {
					at := (i + round) % 2
					runtime.GC()
					rounds[at].measure(server, b.N, func() { passThrough(b, engines[at], action, b.N) })
				}
			}
			rounds[0].report(b, "sqlite")
			rounds[1].report(b, "postgres")
			var ratios []float64
			for i, speed := range rounds[1].speed {
				ratios = append(ratios, speed/rounds[0].speed[i])
			}
			b.ReportMetric(median(ratios), "ratio")
		})
	}
}

// measured are figures of rounds: events a second, and microseconds of a processor for
// each event.
type measured struct{ speed, own, server []float64 }

func (m *measured) measure(server *pgtest.Server, n int, run func()) {
	own, served, began := ownTime(), server.ProcessorTime(), time.Now()
	run()
	m.speed = append(m.speed, float64(n)/time.Since(began).Seconds())
	m.own = append(m.own, float64((ownTime()-own).Microseconds())/float64(n))
	m.server = append(m.server, float64((server.ProcessorTime()-served).Microseconds())/float64(n))
}

func (m *measured) report(b *testing.B, name string) {
	b.ReportMetric(median(m.speed), name+"/s")
	b.ReportMetric(median(m.own), name+"-µs/event")
	if served := median(m.server); served > 0 && name == "postgres" {
		b.ReportMetric(served, "server-µs/event")
	}
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// ownTime is how long this process has used a processor.
func ownTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it cannot fail
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// passThrough puts events from 64 callers at once, and waits until their deliveries are
// settled, and the settlements written.
func passThrough(b *testing.B, db queue.Engine, action string, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var settled, left atomic.Int64
	left.Store(int64(n))
	var takers, callers sync.WaitGroup
	all := make(chan struct{})
	if action != "" {
		for range 4 {
			takers.Go(func() {
				for {
					leases, err := db.Take(ctx, action, 64)
					if err != nil {
						return
					}
					for _, l := range leases {
						if err := db.Settle(l.Token, queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: time.Now(), Status: 200, Request: "POST /"}}); err != nil {
							b.Error(err)
						}
						if settled.Add(1) == int64(n) {
							close(all)
						}
					}
				}
			})
		}
	} else {
		close(all)
	}
	for range 64 {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := db.Put(ctx, []queue.Entry{benchEntry(action)}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	<-all
	if _, err := db.Change(ctx, queue.Change{TryAction: "none"}); err != nil { // after the settlements
		b.Error(err)
	}
	cancel()
	takers.Wait()
}
