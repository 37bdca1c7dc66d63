package inspect

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// snapshotted is a configuration with its snapshot. It calls the service for the
// job_saved of a status.
func snapshotted(t *testing.T, service *relaytest.Service, status string) relay.Configuration {
	t.Helper()
	configuration := relaytest.Configuration(service, "/record")
	configuration.Rules = []config.Rule{{Place: "Caddyfile:1", Events: []string{"job_saved"},
		When: []string{fmt.Sprintf(`body.status == "%s"`, status)}, Do: []string{"record"}}}
	var err error
	if configuration.Snapshot, err = resolve.Snapshot(configuration.Relay); err != nil {
		t.Fatal(err)
	}
	return configuration
}

func TestSnapshots(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	digests := func() string {
		t.Helper()
		list, err := Snapshots(t.Context(), runtime)
		if err != nil {
			t.Fatal(err)
		}
		var digests []string
		for _, snapshot := range list {
			if snapshot.Text != "" || snapshot.Loaded.IsZero() || len(snapshot.Digest) != 12 {
				t.Errorf("listed is %+v", snapshot)
			}
			digests = append(digests, snapshot.Digest)
		}
		return strings.Join(digests, " ")
	}
	early := relaytest.Event("job_saved", `{"status":"new"}`)
	early.Received = time.Now().Add(-time.Minute)
	service := relaytest.NewService(t)
	compiled, err := relay.Compile(snapshotted(t, service, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if got := digests(); got != "" {
		t.Errorf("before any configuration is in force there are %q", got)
	}
	relaytest.Accept(t, runtime, compiled, early)
	var stack relay.Stack
	push := func(status string) *relay.Generation {
		generation := relaytest.Compile(t, snapshotted(t, service, status))
		stack.Push(runtime, generation)
		return generation
	}
	first := push("new")
	a := digests()
	again := push("new")
	if got := digests(); got != a || a == "" {
		t.Errorf("the same configuration again leaves %q after %q", got, a)
	}
	event := relaytest.Event("job_saved", `{"status":"new"}`)
	relaytest.Accept(t, runtime, again, event)
	time.Sleep(2 * time.Millisecond) // engines may tell milliseconds apart only
	second := push("old")
	b := strings.Fields(digests())[0]
	if digests() != b+" "+a {
		t.Errorf("there are %q", digests())
	}
	if state := runtime.State(); state.Configuration != b || time.Since(state.Loaded) > time.Minute {
		t.Errorf("in force is %s since %s", state.Configuration, state.Loaded)
	}

	list, err := Snapshots(t.Context(), runtime)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := FindSnapshot(t.Context(), runtime, list[0].ID)
	if err != nil || !strings.Contains(whole.Text, `"body.status == \"old\""`) {
		t.Fatalf("the snapshot is %+v, %v", whole, err)
	}
	for _, line := range []string{"-\t\twhen `body.status == \"new\"`\n", "+\t\twhen `body.status == \"old\"`\n"} {
		if !strings.Contains(whole.Changes, line) || whole.Moved {
			t.Errorf("the changes lack %q, or nothing but places changed (%v):\n%s", line, whole.Moved, whole.Changes)
		}
	}
	if oldest, err := FindSnapshot(t.Context(), runtime, list[1].ID); err != nil || oldest.Changes != "" {
		t.Errorf("the first snapshot has changes: %+v, %v", oldest, err)
	}
	if _, err := FindSnapshot(t.Context(), runtime, 1<<40); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("an unknown snapshot: %v", err)
	}

	// The rules of its time fire for the event, and those of now do not.
	then, snapshot, err := ExplainThen(t.Context(), runtime, event.ID)
	if err != nil || then.Outcome != OutcomeAction || snapshot.Digest != a || snapshot.Text != "" {
		t.Errorf("then: %+v by %+v, %v", then, snapshot, err)
	}
	if now, err := Explain(t.Context(), runtime, event.ID, time.Time{}); err != nil || now.Outcome != OutcomeIgnored {
		t.Errorf("now: %+v, %v", now, err)
	}
	if _, _, err := ExplainThen(t.Context(), runtime, early.ID); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("of an event from before all snapshots: %v", err)
	}

	// A reload that fails after the configuration came into force is a return to
	// the one before.
	stack.Remove(second)
	stack.Remove(first)
	if got := digests(); got != a+" "+b+" "+a {
		t.Errorf("after a failed reload there are %q", got)
	}
}

// TestSnapshotThatOnlyMoved: a line more above a rule changes where it is written and
// nothing that it says.
func TestSnapshotThatOnlyMoved(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	service := relaytest.NewService(t)
	var stack relay.Stack
	for _, place := range []string{"Caddyfile:1", "Caddyfile:2"} {
		configuration := snapshotted(t, service, "new")
		configuration.Rules[0].Place = place
		var err error
		if configuration.Snapshot, err = resolve.Snapshot(configuration.Relay); err != nil {
			t.Fatal(err)
		}
		stack.Push(runtime, relaytest.Compile(t, configuration))
		time.Sleep(2 * time.Millisecond) // engines may tell milliseconds apart only
	}
	list, err := Snapshots(t.Context(), runtime)
	if err != nil || len(list) != 2 {
		t.Fatalf("there are %+v, %v", list, err)
	}
	if newest, err := FindSnapshot(t.Context(), runtime, list[0].ID); err != nil || !newest.Moved || newest.Changes != "" {
		t.Errorf("the second is %+v, %v", newest, err)
	}
}
