package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/rules"
)

// benchEntry is an event of 600 bytes that leads to an action, if one is named.
func benchEntry(action string) queue.Entry {
	id := func() string { return uuid.Must(uuid.NewV7()).String() }
	body := []byte(`{"event":"project_status_change","note":"` + strings.Repeat("x", 556) + `"}`)
	e := queue.Entry{
		Event:   &event.Event{ID: id(), Source: "pbx", Name: "incoming_call", Received: time.Now(), Method: "POST", Path: "/listen", RawBody: body, BodyIsRaw: true},
		Verdict: rules.Verdict{Decision: rules.Ignored},
	}
	if action != "" {
		e.Verdict.Decision = rules.Act
		e.Deliveries = []queue.Delivery{{ID: id(), Action: action}}
	}
	return e
}

// BenchmarkBeside runs the same on SQLite and PostgreSQL in turn, both of which sync,
// and tells how fast PostgreSQL is as a part of SQLite: accept stores events, whole
// stores them, takes and settles their deliveries.
func BenchmarkBeside(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{Sync: true})
	schema := 0
	open := map[string]func(b *testing.B) queue.Engine{
		"sqlite": func(b *testing.B) queue.Engine {
			db, err := sqlite.Open(sqlite.Options{Dir: b.TempDir(), MinFree: -1})
			if err != nil {
				b.Fatal(err)
			}
			return db
		},
		"postgres": func(b *testing.B) queue.Engine {
			schema++
			db, err := Open(Options{DSN: server.DSN(), Schema: fmt.Sprintf("bench%d", schema), Node: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			return db
		},
	}
	for _, action := range []string{"", "x"} {
		name := map[string]string{"": "accept", "x": "whole"}[action]
		b.Run(name, func(b *testing.B) {
			took := make(map[string]time.Duration)
			for _, engine := range []string{"sqlite", "postgres"} {
				db := open[engine](b)
				// What is prepared once does not count.
				passThrough(b, db, action, 64)
				began := time.Now()
				passThrough(b, db, action, b.N)
				took[engine] = time.Since(began)
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(b.N)/took[engine].Seconds(), engine+"/s")
			}
			b.ReportMetric(float64(took["sqlite"])/float64(took["postgres"]), "ratio")
		})
	}
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
