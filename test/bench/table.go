package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// measure is one way to post many events as fast as possible.
type measure struct {
	name string
	// path and status are where the events are posted, and what they say.
	path, status string
	// arrive says that each leads to a request to the target; without it none may.
	arrive bool
}

const relayPath = "/listen?key=bench"

var (
	delivered = measure{"delivered", relayPath, "Approved", true}
	proxied   = measure{"proxied", "/proxy", "Approved", true}
	ignored   = measure{"ignored", relayPath, "Pencil", false}
	responded = measure{"responded", "/respond", "Pencil", false}
)

// steady is the rate, in events per second, at which latencies are measured.
const steady = 1000

// runTable measures in rounds, alternately, and prints the table.
func runTable(s settings, programs []program) error {
	all := map[string]figures{}
	var steps []func() error
	for _, p := range programs {
		f := figures{}
		all[p.name] = f
		for _, m := range []measure{delivered, proxied, ignored, responded} {
			steps = append(steps, func() error { return s.measure(p, m, f) })
		}
		steps = append(steps, func() error { return s.measureLatency(p, f) })
	}
	for round := range s.rounds {
		// Each round goes the other way than the last, so that what the machine does beside
		// it, or how warm it is, favours none.
		slices.Reverse(steps)
		for _, step := range steps {
			if err := step(); err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d is done\n", round+1, s.rounds)
	}
	if s.quick {
		fmt.Println("No event was lost. The figures of so short a run mean nothing:")
	}
	t := table{programs, all}
	t.head(fmt.Sprintf("medians of %d rounds (least to greatest)", s.rounds))
	ratio := func(over, under string) func(figures) []float64 {
		return func(f figures) []float64 { return f.ratio(over, under) }
	}
	of := func(name string) func(figures) []float64 {
		return func(f figures) []float64 { return f[name] }
	}
	t.row("CPU per delivered event ÷ per proxied request", "%.2f", ratio("delivered µs", "proxied µs"))
	t.row("CPU per ignored event ÷ per `respond`", "%.2f", ratio("ignored µs", "responded µs"))
	t.row("delivered ÷ `reverse_proxy`, per second", "%.2f", ratio("delivered/s", "proxied/s"))
	t.row("accepted ÷ `respond`, per second", "%.2f", ratio("ignored/s", "responded/s"))
	t.row(fmt.Sprintf("p99 accept at %d/s, ms", steady), "%.1f", of("p99 accept"))
	t.row(fmt.Sprintf("p99 end to end at %d/s, ms", steady), "%.1f", of("p99 arrive"))
	if len(programs) == 2 {
		for _, m := range []measure{delivered, ignored} {
			first, second := programs[0].name, programs[1].name
			quotients := figures{first: all[first][m.name+"/s"], second: all[second][m.name+"/s"]}.ratio(second, first)
			fmt.Printf("| %s per second, %s ÷ %s | | %.2f (%.2f to %.2f) |\n", m.name, second, first, median(quotients), slices.Min(quotients), slices.Max(quotients))
		}
	}
	for _, m := range []measure{delivered, proxied, ignored, responded} {
		t.row("CPU per event, "+m.name+", µs", "%.0f", of(m.name+" µs"))
	}
	for _, m := range []measure{delivered, proxied, ignored, responded} {
		t.row(m.name+" per second", "%.0f", of(m.name+"/s"))
	}
	t.row("came twice, of all events", "%.0f", func(f figures) []float64 {
		sum := 0.0
		for _, n := range f["twice"] {
			sum += n
		}
		return []float64{sum}
	})
	return nil
}

// bench is a Caddy with its target, for one measure.
type bench struct {
	*caddy
	target *target
}

// with runs something with a fresh Caddy and target.
func (s *settings) with(p program, relay string, do func(bench) error) (err error) {
	t, err := newTarget()
	if err != nil {
		return err
	}
	defer t.close()
	dir := filepath.Join(s.dir, "run")
	c, err := start(p, dir, site{target: t.address(), relay: relay})
	if err != nil {
		return err
	}
	err = do(bench{c, t})
	return errors.Join(err, c.stop(), os.RemoveAll(dir))
}

// measure adds what one way to post costs.
func (s *settings) measure(p program, m measure, to figures) error {
	err := s.with(p, "", func(b bench) error {
		// Connections, caches and the heap are as in use before anything is counted.
		if _, _, err := b.post(m, max(s.events/10, 2*s.senders), s.senders, s.size); err != nil {
			return err
		}
		before, err := b.idle()
		if err != nil {
			return err
		}
		stop := func() error { return nil }
		if s.profile != "" {
			stop = b.profile(filepath.Join(s.profile, p.name+"-"+m.name))
		}
		took, came, err := b.post(m, s.events, s.senders, s.size)
		if err = errors.Join(err, stop()); err != nil {
			return err
		}
		after, err := b.idle()
		if err != nil {
			return err
		}
		to.add(m.name+" µs", float64((after-before).Microseconds())/float64(s.events))
		to.add(m.name+"/s", float64(s.events)/took.Seconds())
		to.add("twice", float64(came.again.Load()))
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s, %s: %w", p.name, m.name, err)
	}
	return nil
}

// post posts events one way and returns how long that took until the last answer and
// the last arrival.
func (b *bench) post(m measure, n, senders, size int) (time.Duration, *arrivals, error) {
	came := b.target.expect(n)
	start := time.Now()
	l := load{address: b.address, path: m.path, status: m.status, n: n, senders: senders, size: size}
	if _, err := post(l); err != nil {
		return 0, nil, err
	}
	if m.arrive {
		if err := came.wait(n); err != nil {
			return 0, nil, err
		}
	}
	took := time.Since(start)
	if stray := came.stray.Load(); stray > 0 {
		return 0, nil, fmt.Errorf("%d requests came to the target that were no events", stray)
	}
	if first := came.first.Load(); !m.arrive && first > 0 {
		return 0, nil, fmt.Errorf("%d events led to a request that no rule asked for", first)
	}
	return took, came, nil
}

// deliverAt posts n events at a rate, and waits until they have arrived.
func (b *bench) deliverAt(s *settings, rate float64, n int) (*posted, *arrivals, error) {
	came := b.target.expect(n)
	p, err := post(load{address: b.address, path: delivered.path, status: delivered.status, n: n, senders: s.senders, size: s.size, rate: rate})
	if err != nil {
		return nil, nil, err
	}
	return p, came, came.wait(n)
}

// measureLatency adds how long it takes at a steady rate until an event is answered,
// and until it is at the target.
func (s *settings) measureLatency(p program, to figures) error {
	err := s.with(p, "", func(b bench) error {
		if _, _, err := b.post(delivered, 2*s.senders, s.senders, s.size); err != nil {
			return err
		}
		p, came, err := b.deliverAt(s, steady, min(s.events, 10*steady))
		if err != nil {
			return err
		}
		to.add("p99 accept", quantile(p.latencies(), 0.99))
		to.add("p99 arrive", quantile(p.latenciesTo(came), 0.99))
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s, latency: %w", p.name, err)
	}
	return nil
}
