//go:build unix

package postgres

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/queuetest"
)

// beside opens a queue in each of two databases of a server: what holds up one does
// not hold up the other.
func beside(b *testing.B, server *pgtest.Server) (engines [2]*DB, dsns [2]string) {
	for i := range engines {
		name := fmt.Sprintf("beside_%d_%d", i, b.N)
		server.Exec(b, "CREATE DATABASE "+name)
		dsns[i] = strings.Replace(server.DSN(), "/postgres?", "/"+name+"?", 1)
		db, err := Open(Options{DSN: dsns[i], Node: "bench", MaxPending: 10_000_000})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := db.Close(); err != nil {
				b.Error(err)
			}
		})
		engines[i] = db
	}
	return engines, dsns
}

// compare runs five alternating rounds and reports how fast the second was as a part of
// the first.
func compare(b *testing.B, server *pgtest.Server, names [2]string, run func(i int)) {
	var rounds [2]measured
	for round := range 5 {
		for i := range rounds {
			at := (i + round) % 2
			runtime.GC()
			rounds[at].measure(server, b.N, func() { run(at) })
		}
	}
	var ratios []float64
	for i, speed := range rounds[1].speed {
		ratios = append(ratios, speed/rounds[0].speed[i])
	}
	for i, name := range names {
		b.ReportMetric(median(rounds[i].speed), name+"/s")
		b.ReportMetric(median(rounds[i].own)+median(rounds[i].server), name+"-µs/event")
	}
	b.ReportMetric(median(ratios), "ratio")
}

// BenchmarkBacklog tells how much slower events are stored while as many deliveries as
// EVENT_RELAY_LARGE says wait for a target that does not answer, how often a whole table
// was read meanwhile, and how much memory this process has.
func BenchmarkBacklog(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{Sync: true})
	waiting := 20_000
	if n, err := strconv.Atoi(os.Getenv("EVENT_RELAY_LARGE")); err == nil {
		waiting = n
	}
	b.Run(strconv.Itoa(waiting), func(b *testing.B) {
		engines, dsns := beside(b, server)
		var fillers sync.WaitGroup
		for range 4 {
			fillers.Go(func() {
				for range waiting / 400 {
					entries := make([]queue.Entry, 100)
					for i := range entries {
						entries[i] = benchEntry("dead")
					}
					if _, err := engines[1].Put(context.Background(), entries); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		fillers.Wait()
		scans := func() (n int64) {
			conn, err := pgx.Connect(context.Background(), dsns[1])
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close(context.Background())
			if err := conn.QueryRow(context.Background(), "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname IN ('events', 'waiting')").Scan(&n); err != nil {
				b.Fatal(err)
			}
			return n
		}
		before := scans()
		// A taker takes one and again nothing comes: what a dead target does.
		leases, err := engines[1].Take(context.Background(), "dead", 16)
		if err != nil {
			b.Fatal(err)
		}
		for _, l := range leases {
			if err := engines[1].Settle(l.Token, queue.Settlement{State: queue.Pending, Again: time.Now().Add(time.Hour), Attempt: &queue.Attempt{Began: time.Now(), Error: "no answer"}}); err != nil {
				b.Fatal(err)
			}
		}
		compare(b, server, [2]string{"none-waiting", "waiting"}, func(i int) {
			var callers sync.WaitGroup
			for range 64 {
				callers.Go(func() {
					for range b.N/64 + 1 {
						if _, err := engines[i].Put(context.Background(), []queue.Entry{benchEntry("dead")}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			callers.Wait()
		})
		b.ReportMetric(float64(scans()-before), "whole-tables-read")
		b.ReportMetric(float64(queuetest.Resident()), "MiB")
	})
}

// BenchmarkHeldTransaction tells how much slower events are stored, taken and settled
// once a transaction of another program has been open for as long as EVENT_RELAY_HELD
// says, such as 5m, under the same load: until it ends the server keeps every version of
// every row.
func BenchmarkHeldTransaction(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{Sync: true})
	held := 5 * time.Second
	if d, err := time.ParseDuration(os.Getenv("EVENT_RELAY_HELD")); err == nil {
		held = d
	}
	b.Run(held.String(), func(b *testing.B) {
		engines, dsns := beside(b, server)
		for _, db := range engines {
			passThrough(b, db, "x", 256)
		}
		conn, err := pgx.Connect(context.Background(), dsns[1])
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM "+DefaultSchema+".events", pgx.QueryExecModeSimpleProtocol); err != nil {
			b.Fatal(err)
		}
		events, began := 0, time.Now()
		for time.Since(began) < held {
			passThrough(b, engines[1], "x", 1000)
			events += 1000
		}
		compare(b, server, [2]string{"without", "held"}, func(i int) { passThrough(b, engines[i], "x", b.N) })
		b.ReportMetric(float64(events), "events-before")
	})
}
