// Command bench measures what an event costs, side by side with what Caddy alone does
// with the same requests: its reverse_proxy, which stores nothing, and its respond.
//
//	go run ./test/bench	print the table: five rounds, about seven minutes
//	go run ./test/bench -quick	see in some seconds that no event is lost; its times mean nothing
//	go run ./test/bench -large	print how cost grows: waiting deliveries, rules, actions, body size, queries
//	go run ./test/bench -against OLD	measure another build of cmd/caddy alternately with this one
//	go run ./test/bench -postgres DSN	measure with the queue in SQLite and in PostgreSQL alternately
//	go run ./test/bench -large -postgres DSN	print what waiting deliveries cost in PostgreSQL
//
// Each measure has a Caddy of its own that is started for it, with the same Caddyfile.
// The CPU time is that of the whole process, read from /proc, so it needs Linux. The
// exit status is 1 if an event was refused, lost, or arrived without being asked for.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// settings are those of the command line.
type settings struct {
	rounds, events, senders, size int
	waiting                       int
	quick, large                  bool
	dir, caddy, against, profile  string
	postgres                      string
}

// program is a build of cmd/caddy that is measured.
type program struct {
	name, path string
	// postgres is the data source name of the database for its queues. Without one they
	// are SQLite's.
	postgres string
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "how many rounds there are; the table has their medians")
	flag.IntVar(&s.events, "events", 40000, "how many events a measure of CPU time and throughput has")
	flag.IntVar(&s.senders, "senders", 64, "how many senders post at once")
	flag.IntVar(&s.size, "size", 600, "how many bytes the body of an event has, roughly")
	flag.BoolVar(&s.quick, "quick", false, "one short round that only shows that nothing is lost")
	flag.BoolVar(&s.large, "large", false, "how cost grows, instead of the table")
	flag.IntVar(&s.waiting, "waiting", 1000000, "how many deliveries wait for a dead target with -large")
	flag.StringVar(&s.dir, "dir", "", "where the queues are made, on the disk that is to be measured (default: the directory for temporary files)")
	flag.StringVar(&s.caddy, "caddy", "", "the build of cmd/caddy to measure (default: it is built from this source)")
	flag.StringVar(&s.against, "against", "", "another build that is measured alternately with it")
	flag.StringVar(&s.postgres, "postgres", "", "the data source name of a PostgreSQL database: each measure makes a schema there, and leaves it")
	flag.StringVar(&s.profile, "profile", "", "a directory for profiles of CPU time and allocations of each measure, for go tool pprof")
	flag.Parse()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(s settings) (err error) {
	if s.quick {
		s.rounds, s.events = 1, min(s.events, 1000)
	}
	if s.rounds < 1 || s.events < 100 || s.senders < 1 {
		return errors.New("reading the flags: there must be a round, 100 events and a sender at least")
	}
	if s.dir, err = os.MkdirTemp(s.dir, "event-relay-bench"); err != nil {
		return fmt.Errorf("making a directory for the queues: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	programs, err := s.programs()
	if err != nil {
		return err
	}
	if err := printMachine(os.Stdout, s.dir); err != nil {
		return err
	}
	if s.large {
		return runLarge(s, programs[len(programs)-1])
	}
	return runTable(s, programs)
}

// programs returns what is measured: first the older, if there are two.
func (s *settings) programs() ([]program, error) {
	if s.caddy == "" {
		s.caddy = filepath.Join(s.dir, "caddy")
		build := exec.Command("go", "build", "-o", s.caddy, "github.com/caddy-event-relay/event-relay/cmd/caddy")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("building cmd/caddy: %w", err)
		}
	}
	programs := []program{{name: "now", path: s.caddy}}
	switch {
	case s.against != "" && s.postgres != "":
		return nil, errors.New("reading the flags: use -against or -postgres, not both")
	case s.against != "":
		programs = []program{{name: "before", path: s.against}, {name: "now", path: s.caddy}}
	case s.postgres != "":
		programs = []program{{name: "SQLite", path: s.caddy}, {name: "PostgreSQL", path: s.caddy, postgres: s.postgres}}
	}
	for _, p := range programs {
		if _, err := os.Stat(p.path); err != nil {
			return nil, fmt.Errorf("looking for the program to measure: %w", err)
		}
	}
	return programs, nil
}

// figures are what the rounds of one program showed, by name.
type figures map[string][]float64

func (f figures) add(name string, value float64) { f[name] = append(f[name], value) }

// ratio returns the quotients of two measures, round by round.
func (f figures) ratio(over, under string) (quotients []float64) {
	for i := range min(len(f[over]), len(f[under])) {
		quotients = append(quotients, f[over][i]/f[under][i])
	}
	return quotients
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value that a share of all do not exceed, 0 without any.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// table prints lines of a table for a manual: one column for the name, one for each
// program.
type table struct {
	programs []program
	all      map[string]figures
}

func (t table) head(first string) {
	fmt.Printf("\n| %s |", first)
	for _, p := range t.programs {
		fmt.Printf(" %s |", p.name)
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("---|", len(t.programs)))
}

// row prints medians, and the least and the greatest of all rounds behind them.
func (t table) row(name, format string, of func(figures) []float64) {
	fmt.Printf("| %s |", name)
	for _, p := range t.programs {
		values := of(t.all[p.name])
		if len(values) == 0 {
			fmt.Print(" – |")
			continue
		}
		fmt.Printf(" "+format, median(values))
		if len(values) > 1 {
			fmt.Printf(" ("+format+" to "+format+")", slices.Min(values), slices.Max(values))
		}
		fmt.Print(" |")
	}
	fmt.Println()
}
