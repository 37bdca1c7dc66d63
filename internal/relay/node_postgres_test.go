package relay_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestNodesOnPostgres has three runtimes share a real PostgreSQL.
func TestNodesOnPostgres(t *testing.T) {
	dsn, schema := pgtest.Schema(t)
	target, hears := relaytest.NewService(t), relaytest.NewService(t)
	configuration := snapshot(reporting(target, hears), "the same")
	configuration.Actions[0].OneNode = true
	configuration.Version = "v1.2.0"
	nodeNames := []string{"a", "b", "c"}
	var runtimes []*relay.Runtime
	var generations []*relay.Generation
	for _, name := range nodeNames {
		runtime, err := relay.Open(postgres.Store{DSN: dsn, Schema: schema, Node: name}, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := runtime.Close(); err != nil {
				t.Error(err)
			}
		})
		runtimes = append(runtimes, runtime)
		generations = append(generations, relaytest.Push(t, runtime, configuration))
	}
	processtest.WaitFor(t, "each node to say what it runs", func() bool {
		nodes, err := relay.Nodes(t.Context(), runtimes[0])
		return err == nil && len(nodes) == 3 && !slices.ContainsFunc(nodes, func(node relay.Node) bool {
			return !node.Lives || node.Version != "v1.2.0" || node.Configuration != runtimes[0].State().Configuration || node.Differs || !node.Delivers
		})
	})

	// Switches that the queue only keeps hold on every node when the call returns.
	for round := range 6 {
		s := queue.Switch{Kind: queue.SwitchEvent, Name: "job_saved"}
		if round%2 == 1 {
			s = queue.Switch{Kind: queue.SwitchAll}
		}
		for _, off := range []bool{true, false} {
			s.Off = off
			relaytest.Turn(t, runtimes[round%3], s, 0)
			want := map[bool]rules.Decision{true: rules.Disabled, false: rules.Act}[off]
			for i, runtime := range runtimes {
				if got := relaytest.Summary(t, runtime, relaytest.Post(t, runtime, generations[i], relaytest.Approved)); got.Verdict.Decision != want || got.Node != nodeNames[i] {
					t.Errorf("%s off=%t turned by %d: node %d decides %s as %q", s.Kind, off, round%3, i, got.Verdict.Decision, got.Node)
				}
			}
		}
	}
	relaytest.WaitEnded(t, runtimes[0])
	if got := len(strings.Fields(target.Got())); got != 18 {
		t.Errorf("the target got %d requests, want 18", got)
	}

	// A switch that ends by itself is turned on once.
	relaytest.Turn(t, runtimes[1], queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 50*time.Millisecond)
	for _, runtime := range runtimes {
		processtest.WaitFor(t, "the switch to be on again", func() bool { return len(runtime.Switches()) == 0 })
	}
	relaytest.Turn(t, runtimes[2], queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	notes, err := runtimes[0].Store().Notes(t.Context(), queue.NoteSwitch, time.Time{}, time.Time{}, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	on := 0
	for _, note := range notes {
		if strings.Contains(note.Name, "record") && !strings.Contains(note.Text, `"off":true`) {
			on++
		}
	}
	if on != 1 {
		t.Errorf("it was turned on %d times, want once", on)
	}
	relaytest.Turn(t, runtimes[0], queue.Switch{Kind: queue.SwitchAction, Name: "record"}, 0)

	// A target is told to be down once, whichever node finds it so.
	called := generations[0].Actions[0].Targets()[0]
	for _, down := range []bool{true, false} {
		for _, runtime := range runtimes {
			relay.FindDown(runtime, forward.TargetChange{Target: called, Action: "record", Down: down, Error: "refused"})
		}
		for _, runtime := range runtimes {
			relay.Report(runtime, t.Context(), time.Now())
		}
		relaytest.WaitEnded(t, runtimes[0])
	}
	if got := hears.Got(); got != "/tell/target_down /tell/target_up" {
		t.Errorf("the service heard %q", got)
	}

	// So is a silence, by the node that leads.
	quiet := configuration
	quiet.Sources = slices.Clone(configuration.Sources)
	quiet.Sources[0].Quiet = config.Duration(time.Second)
	for _, runtime := range runtimes {
		relaytest.Push(t, runtime, quiet)
	}
	processtest.WaitFor(t, "the silence to be told", func() bool { return strings.Contains(hears.Got(), "/tell/source_quiet") })
	for _, runtime := range runtimes {
		relay.Report(runtime, t.Context(), time.Now().Add(time.Minute))
	}
	relaytest.WaitEnded(t, runtimes[0])
	if got := strings.Count(hears.Got(), "/tell/source_quiet"); got != 1 {
		t.Errorf("the silence was told %d times, want once", got)
	}

	if err := runtimes[2].Close(); err != nil {
		t.Fatal(err)
	}
	processtest.WaitFor(t, "the node that ended to be listed so", func() bool {
		nodes, err := relay.Nodes(t.Context(), runtimes[0])
		return err == nil && len(nodes) == 3 && nodes[2].Closed && !nodes[2].Vanished
	})
}
