package inspect

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// TestNodesExplainByTheirOwnConfigurations: an event was decided by the configuration of
// the node that received it, whatever another loaded meanwhile.
func TestNodesExplainByTheirOwnConfigurations(t *testing.T) {
	shared, service := relaytest.NewNodes(t), relaytest.NewService(t)
	a, b := shared.Open(t, "a"), shared.Open(t, "b")
	onA := relaytest.Push(t, a, snapshotted(t, service, "new"))
	time.Sleep(2 * time.Millisecond) // engines may tell milliseconds apart only
	onB := relaytest.Push(t, b, snapshotted(t, service, "old"))
	event, other := relaytest.Event("job_saved", `{"status":"new"}`), relaytest.Event("job_saved", `{"status":"new"}`)
	relaytest.Accept(t, a, onA, event)
	relaytest.Accept(t, b, onB, other)
	for _, test := range []struct {
		id, node string
		want     Outcome
	}{{event.ID, "a", OutcomeAction}, {other.ID, "b", OutcomeIgnored}} {
		relaytest.Find(t, b, test.id)
		then, snapshot, err := ExplainThen(t.Context(), b, test.id)
		if err != nil || then.Outcome != test.want || snapshot.Node != test.node {
			t.Errorf("the event of %s: %s by %+v, %v; want %s", test.node, then.Outcome, snapshot, err, test.want)
		}
		if detail, err := Show(t.Context(), b, test.id); err != nil || detail.Node != test.node {
			t.Errorf("the event of %s is shown as %q, %v", test.node, detail.Node, err)
		}
	}
	early := relaytest.Event("job_saved", `{"status":"new"}`)
	early.Received = time.Now().Add(-time.Minute)
	relaytest.Accept(t, b, onB, early)
	relaytest.Find(t, b, early.ID)
	if _, _, err := ExplainThen(t.Context(), b, early.ID); !errors.Is(err, queue.ErrNotFound) || !strings.Contains(err.Error(), "of node b") {
		t.Errorf("of an event from before all snapshots of its node: %v", err)
	}

	// What changed is told of one node's configurations.
	time.Sleep(2 * time.Millisecond)
	relaytest.Push(t, a, snapshotted(t, service, "newer"))
	list, err := Snapshots(t.Context(), b)
	if err != nil || len(list) != 3 || list[0].Node != "a" || list[1].Node != "b" {
		t.Fatalf("there are %+v, %v", list, err)
	}
	if newest, err := FindSnapshot(t.Context(), b, list[0].ID); err != nil || !strings.Contains(newest.Changes, `-`+"\t\t"+`when `+"`"+`body.status == "new"`) {
		t.Errorf("the newest of a changes %q, %v", newest.Changes, err)
	}
	if first, err := FindSnapshot(t.Context(), b, list[1].ID); err != nil || first.Changes != "" {
		t.Errorf("the first of b changes %q, %v", first.Changes, err)
	}
}

// TestStatusOfNodes: nodes that run different things, or vanished, call for a look.
func TestStatusOfNodes(t *testing.T) {
	shared, service := relaytest.NewNodes(t), relaytest.NewService(t)
	configuration := snapshotted(t, service, "new")
	configuration.Version = "v1.2.0"
	names := []string{"a", "b", "c"}
	var runtimes []*relay.Runtime
	for _, name := range names {
		runtimes = append(runtimes, shared.Open(t, name))
		relaytest.Push(t, runtimes[len(runtimes)-1], configuration)
	}
	var status Status
	check := func(when string, want ...string) {
		t.Helper()
		var err error
		if status, err = StatusOf(t.Context(), runtimes[0]); err != nil {
			t.Fatal(err)
		}
		if len(status.Warnings) != len(want) {
			t.Fatalf("%s: the warnings are %q, want %d", when, status.Warnings, len(want))
		}
		for i := range want {
			if !strings.Contains(status.Warnings[i], want[i]) {
				t.Errorf("%s: warning %d is %q, want %q in it", when, i, status.Warnings[i], want[i])
			}
		}
		checked, err := Check(t.Context(), runtimes[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, warning := range status.Warnings {
			if !slices.Contains(checked.Warnings, warning) {
				t.Errorf("%s: check does not say %q", when, warning)
			}
		}
	}
	check("all are alike")
	if len(status.Nodes) != len(names) || !status.Nodes[0].Self || status.Nodes[1].Self || status.Nodes[2].Version != "v1.2.0" || !status.Nodes[2].Delivers || status.ReceiveOnly {
		t.Errorf("the nodes are %+v", status.Nodes)
	}

	// Another place, and another setting of the queue, is no other configuration.
	moved := configuration
	moved.Rules = slices.Clone(configuration.Rules)
	moved.Rules[0].Place, moved.Queue = "Caddyfile:9", &config.Queue{Directory: "/srv/relay"}
	var err error
	if moved.Snapshot, err = resolve.Snapshot(moved.Relay); err != nil {
		t.Fatal(err)
	}
	relaytest.Push(t, runtimes[1], moved)
	check("one has its rules elsewhere")

	changed := snapshotted(t, service, "old")
	changed.Version = "v1.3.0"
	relaytest.Push(t, runtimes[1], changed)
	check("one differs", "node b runs another configuration than this one, a", "(a, c: v1.2.0; b: v1.3.0)")
	relaytest.Push(t, runtimes[2], changed)
	check("two differ", "nodes b, c run another configuration than this one, a", "(a: v1.2.0; b, c: v1.3.0)")
	relaytest.Push(t, runtimes[0], changed)
	check("all are alike again")

	if err := runtimes[2].Close(); err != nil {
		t.Fatal(err)
	}
	shared.Vanish("b", time.Now().Add(-time.Hour))
	check("one ended and one vanished", "node b vanished at ")
	if !status.Nodes[1].Vanished || status.Nodes[2].Vanished || !status.Nodes[2].Closed {
		t.Errorf("the nodes are %+v", status.Nodes)
	}
	shared.Vanish("b", time.Now().Add(-vanishedWithin-time.Minute))
	check("a day later")
}

// TestActionThatOneNodeHas: while a new configuration goes round, an action that one node
// does not know is carried out by the one that does, and is no reason to look.
func TestActionThatOneNodeHas(t *testing.T) {
	shared, service := relaytest.NewNodes(t), relaytest.NewService(t)
	without := snapshotted(t, service, "new")
	with := without
	with.Actions = slices.Clone(without.Actions)
	with.Actions[0].Name = "archive"
	with.Rules = slices.Clone(without.Rules)
	with.Rules[0].Do = []string{"archive"}
	var err error
	if with.Snapshot, err = resolve.Snapshot(with.Relay); err != nil {
		t.Fatal(err)
	}
	a, b := shared.Open(t, "a"), shared.Open(t, "b")
	relaytest.Push(t, a, without)
	generation := relaytest.Push(t, b, with)
	relaytest.Turn(t, b, queue.Switch{Kind: queue.SwitchAction, Name: "archive", Off: true}, 0)
	event := relaytest.Event("job_saved", `{"status":"new","id":7}`)
	relaytest.Accept(t, b, generation, event)
	line := func() BacklogLine {
		t.Helper()
		status, err := StatusOf(t.Context(), a)
		if err != nil || len(status.Backlog) != 1 {
			t.Fatalf("what waits is %+v, %v", status.Backlog, err)
		}
		return status.Backlog[0]
	}
	relaytest.Find(t, a, event.ID)
	if waits := line(); waits.Unknown || !slices.Equal(waits.Carriers, []string{"b"}) {
		t.Errorf("what waits is %+v, want b to carry it out", waits)
	}
	relaytest.Push(t, b, without)
	if waits := line(); !waits.Unknown || len(waits.Carriers) != 0 {
		t.Errorf("without a node that has the action, what waits is %+v", waits)
	}
	checked, err := Check(t.Context(), a)
	if want := "action archive: no node that runs has this action, and deliveries of it wait (1); move them to another action, cancel them, or start a node that has it"; err != nil || !slices.Contains(checked.Warnings, want) {
		t.Errorf("check warns %q, %v", checked.Warnings, err)
	}
	relaytest.Push(t, b, with)
	relaytest.Turn(t, a, queue.Switch{Kind: queue.SwitchAction, Name: "archive"}, 0)
	relaytest.WaitEnded(t, a)
	if got := service.Got(); got != "/record?id=7" {
		t.Errorf("the service got %q", got)
	}
}

// TestWhoseClockIsWrong: what all nodes agree on against the database is right.
func TestWhoseClockIsWrong(t *testing.T) {
	node := func(name string, ahead int64, lives bool) relay.Node {
		return relay.Node{Node: queue.Node{Name: name, Lives: lives}, Ahead: ahead}
	}
	for name, test := range map[string]struct {
		nodes []relay.Node
		want  []string
	}{
		"none":                  {[]relay.Node{node("a", 0, true), node("b", 0, true)}, nil},
		"one, ahead":            {[]relay.Node{node("a", 0, true), node("b", 3600, true)}, []string{"the clock of node b is 1h ahead of that of the database: "}},
		"one, behind":           {[]relay.Node{node("a", -90, true), node("b", 0, true)}, []string{"the clock of node a is 1m30s behind that of the database: "}},
		"two, differently":      {[]relay.Node{node("a", -3600, true), node("b", 10, true)}, []string{"node a is 1h behind ", "node b is 10s ahead of "}},
		"that of the database":  {[]relay.Node{node("a", 3600, true), node("b", 3605, true), node("c", 0, false)}, []string{"the clock of the database is 1h behind those of all nodes: "}},
		"of the only one":       {[]relay.Node{node("a", 600, true)}, []string{"the clock of node a is 10m ahead of "}},
		"of two that are alike": {[]relay.Node{node("a", 600, true), node("b", 600, true), node("c", 0, true)}, []string{"node a is 10m ahead", "node b is 10m ahead"}},
	} {
		got := clockWarnings(test.nodes)
		if len(got) != len(test.want) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i, want := range test.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%s: %q, want %q in it", name, got[i], want)
			}
		}
	}
}
