package replay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/replay"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// withSnapshot returns the configuration as the server loads it, with what it says.
func withSnapshot(t testing.TB, configuration relay.Configuration) relay.Configuration {
	t.Helper()
	var err error
	if configuration.Snapshot, err = resolve.Snapshot(configuration.Relay); err != nil {
		t.Fatal(err)
	}
	return configuration
}

// TestRehearse tries whole configurations and parts on stored events: the difference is
// that of deciding by the same configuration, and nothing is stored or sent.
func TestRehearse(t *testing.T) {
	t.Setenv("EVENT_RELAY_REHEARSED", "must not be read")
	target := relaytest.NewService(t)
	running := withSnapshot(t, relaytest.Configuration(target, "/record"))
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, running)
	approved := relaytest.Post(t, runtime, generation, relaytest.Approved)
	pencil := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":2,"status":"Pencil"}`)
	relaytest.WaitEnded(t, runtime)

	rule := func(when string, do ...string) config.Rule {
		return config.Rule{Place: "rehearsal:1", Events: []string{"job_saved"}, When: []string{when}, Do: do}
	}
	whole := relaytest.Configuration(target, "/record").Relay
	whole.Rules[0] = rule(`body.status == "Pencil"`, "record")
	whole.Sources[0].Auth[0].Values = []string{"{env.EVENT_RELAY_REHEARSED}"}
	ticket := config.Action{Name: "ticket", Method: "POST", URL: target.URL + "/ticket"}
	for _, test := range []struct {
		name      string
		rehearsal replay.Rehearsal
		// want is what fires and stops, problem an error.
		want, problem string
	}{
		{"a whole configuration", replay.Rehearsal{Settings: whole, Whole: true}, "map[record:1] map[record:1]", ""},
		{"the running one", replay.Rehearsal{Settings: running.Relay, Whole: true}, "map[] map[]", ""},
		{"a rule behind the others", replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{rule(`body.status == "Pencil"`, "record")}}}, "map[record:1] map[]", ""},
		{"a rule in the place of another", replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{rule(`body.status == "Pencil"`, "record")}},
			Replace: &replay.RuleAt{Number: 1, Place: "Caddyfile:1"}}, "map[record:1] map[record:1]", ""},
		{"two rules in the place of one", replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{rule(`body.status == "Pencil"`, "record"), rule("true", "record")}},
			Replace: &replay.RuleAt{Number: 1, Place: "Caddyfile:1"}}, "map[record:1] map[]", ""},
		{"a rule with a new action", replay.Rehearsal{Settings: config.Relay{Actions: []config.Action{ticket}, Rules: []config.Rule{rule("true", "ticket")}}}, "map[ticket:2] map[]", ""},
		{"a place that is another's", replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{rule("true", "record")}},
			Replace: &replay.RuleAt{Number: 2, Place: "Caddyfile:1"}}, "", "rule 2 is not at Caddyfile:1 any more"},
		{"a place that is not there", replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{rule("true", "record")}}, Replace: &replay.RuleAt{}}, "", "rule 0"},
		{"a part with a setting of the whole", replay.Rehearsal{Settings: config.Relay{MaxPending: 7}}, "", "event_relay { … }"},
		{"an unknown action", replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{rule("true", "recrod")}}}, "", "did you mean record?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			checked := test.rehearsal.Check(runtime)
			var progress steps
			rehearsed, err := replay.Rehearse(t.Context(), runtime, replay.Selection{}, test.rehearsal, progress.add)
			if test.problem != "" {
				for _, err := range []error{checked, err} {
					var input *relay.WrongInput
					if !errors.As(err, &input) {
						t.Fatalf("the error is %v", err)
					}
					relaytest.CheckWrong(t, err, input.Field, test.problem)
				}
				return
			}
			if got := fmt.Sprint(rehearsed.Fires, rehearsed.Stops); checked != nil || err != nil || got != test.want || rehearsed.Events != 2 || rehearsed.Cut != "" {
				t.Fatalf("%s, want %s: %+v, %v, %v", got, test.want, rehearsed, checked, err)
			}
			progress.check(t, 2)
		})
	}
	if a, p := relaytest.Summary(t, runtime, approved), relaytest.Summary(t, runtime, pencil); !a.Verdict.Decided.IsZero() || !p.Verdict.Decided.IsZero() || len(a.Deliveries) != 1 || len(p.Deliveries) != 0 || target.Got() != "/record?id=1" {
		t.Errorf("a rehearsal stored or sent something: %+v, %+v, %s", a, p, target.Got())
	}
}

// TestRehearseBounds looks at the newest events only, ends in time, ends when it is
// cancelled, and runs once at a time.
func TestRehearseBounds(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	running := withSnapshot(t, relaytest.Configuration(relaytest.NewService(t), "/record"))
	generation := relaytest.Push(t, runtime, running)
	const n = 1200
	for range n / 100 {
		var events []*event.Event
		for range 100 {
			events = append(events, relaytest.Event("job_saved", `{"status":"Pencil"}`))
		}
		relaytest.Accept(t, runtime, generation, events...)
	}
	processtest.WaitFor(t, "all events", func() bool { return len(relaytest.Stored(t, runtime, queue.Filter{})) >= n })
	all := replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{{Place: "rehearsal:1", Events: []string{"job_saved"}, Do: []string{"record"}}}}}
	options := replay.DecideOptions{Dry: true}

	bounded, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.Bounded(options, 1000, 0), nil)
	if err != nil || bounded.Cut != replay.CutEvents || bounded.Events < 1000 || bounded.Events > n {
		t.Errorf("of the newest 1000: %d events, cut %q, %v", bounded.Events, bounded.Cut, err)
	}
	if last := relaytest.Stored(t, runtime, queue.Filter{})[0]; !bounded.Newest.Equal(last.Received) {
		t.Errorf("the newest is of %s, want %s", bounded.Newest, last.Received)
	}
	exact, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.Bounded(options, n+1, 0), nil)
	if err != nil || exact.Cut != "" || exact.Events != n {
		t.Errorf("all: %d events, cut %q, %v", exact.Events, exact.Cut, err)
	}
	over, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.Bounded(options, 0, 1), nil)
	if err != nil || over.Cut != replay.CutTime || over.Events >= n {
		t.Errorf("without time: %d events, cut %q, %v", over.Events, over.Cut, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		first := true
		_, err := replay.Rehearse(ctx, runtime, replay.Selection{}, all, func(p replay.Progress) {
			if first && p.Done > 0 {
				first = false
				close(begun)
				<-ctx.Done()
			}
		})
		ended <- err
	}()
	<-begun
	if _, err := replay.Rehearse(t.Context(), runtime, replay.Selection{}, all, nil); !errors.Is(err, replay.ErrRehearsing) {
		t.Errorf("a second rehearsal: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a rehearsal that was cancelled: %v", err)
	}
	if again, err := replay.Rehearse(t.Context(), runtime, replay.Selection{}, all, nil); err != nil || again.Fires["record"] != n {
		t.Errorf("after it was cancelled: %+v, %v", again.Fires, err)
	}
}

// BenchmarkRehearse tries a rule on 2,000 stored events. A rehearsal of 100,000 must take
// less than 20 s on a small machine that has other work.
func BenchmarkRehearse(b *testing.B) {
	runtime := relaytest.Open(b, b.TempDir())
	generation := relaytest.Push(b, runtime, withSnapshot(b, relaytest.Configuration(relaytest.NewService(b), "/record")))
	const n = 2000
	for range n / 100 {
		var events []*event.Event
		for range 100 {
			events = append(events, relaytest.Event("job_saved", `{"status":"Pencil","notes":"`+strings.Repeat("As said by the client. ", 40)+`"}`))
		}
		relaytest.Accept(b, runtime, generation, events...)
	}
	// The history lags behind what is accepted.
	all := replay.Rehearsal{Settings: config.Relay{Rules: []config.Rule{{Place: "rehearsal:1", Events: []string{"job_saved"}, Do: []string{"record"}}}}}
	processtest.WaitFor(b, "all events", func() bool {
		rehearsed, err := replay.Rehearse(b.Context(), runtime, replay.Selection{}, all, nil)
		return err == nil && rehearsed.Events == n
	})
	b.ReportAllocs()
	for b.Loop() {
		if rehearsed, err := replay.Rehearse(b.Context(), runtime, replay.Selection{}, all, nil); err != nil || rehearsed.Fires["record"] != n {
			b.Fatalf("%+v, %v", rehearsed.Fires, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/event")
}
