package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// snapshotted is a configuration whose text decides: it says for which status
// of job_saved something is recorded.
func snapshotted(t *testing.T, status string) Configuration {
	t.Helper()
	text, err := json.Marshal(map[string]any{"status": status, "unchanged": []int{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	configuration := ownConfiguration("http://127.0.0.1:1", "http://127.0.0.1:1")
	configuration.Rules = []rules.Rule{{Place: "Caddyfile:1", Events: []string{"job_saved"},
		When: []string{fmt.Sprintf(`body.status == "%s"`, status)}, Do: []string{"record"}}}
	configuration.Off = true // so that nothing is sent
	configuration.Snapshot = text
	configuration.Compile = func(text json.RawMessage) (*Generation, error) {
		var said struct{ Status string }
		if err := json.Unmarshal(text, &said); err != nil {
			return nil, err
		}
		then := snapshotted(t, said.Status)
		then.Off = false
		return Compile(then)
	}
	return configuration
}

func TestSnapshots(t *testing.T) {
	runtime := openRuntime(t, t.TempDir())
	digests := func() string {
		t.Helper()
		list, err := runtime.Snapshots(t.Context())
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
	early := orderless("job_saved", `{"status":"new"}`)
	early.Received = time.Now().Add(-time.Minute)
	compiled, err := Compile(snapshotted(t, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if got := digests(); got != "" {
		t.Errorf("before any configuration is in force there are %q", got)
	}
	accept(t, runtime, compiled, early)
	first := push(t, runtime, snapshotted(t, "new"))
	a := digests()
	again := push(t, runtime, snapshotted(t, "new"))
	if got := digests(); got != a || a == "" {
		t.Errorf("the same configuration again leaves %q after %q", got, a)
	}
	event := orderless("job_saved", `{"status":"new"}`)
	accept(t, runtime, again, event)
	time.Sleep(2 * time.Millisecond) // engines may tell milliseconds apart only
	second := push(t, runtime, snapshotted(t, "old"))
	b := strings.Fields(digests())[0]
	if digests() != b+" "+a {
		t.Errorf("there are %q", digests())
	}
	if since, digest := runtime.loaded(); digest != b || time.Since(since) > time.Minute {
		t.Errorf("in force is %s since %s", digest, since)
	}

	list, err := runtime.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := runtime.Snapshot(t.Context(), list[0].ID)
	if err != nil || !strings.Contains(whole.Text, "  \"status\": \"old\",\n") {
		t.Fatalf("the snapshot is %+v, %v", whole, err)
	}
	for _, line := range []string{"-  \"status\": \"new\",\n", "+  \"status\": \"old\",\n"} {
		if !strings.Contains(whole.Changes, line) {
			t.Errorf("the changes lack %q:\n%s", line, whole.Changes)
		}
	}
	if oldest, err := runtime.Snapshot(t.Context(), list[1].ID); err != nil || oldest.Changes != "" {
		t.Errorf("the first snapshot has changes: %+v, %v", oldest, err)
	}
	if _, err := runtime.Snapshot(t.Context(), 1<<40); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("an unknown snapshot: %v", err)
	}

	// The rules of its time fire for the event, and those of now do not.
	then, snapshot, err := runtime.ExplainThen(t.Context(), event.ID)
	if err != nil || then.Outcome != OutcomeAction || snapshot.Digest != a || snapshot.Text != "" {
		t.Errorf("then: %+v by %+v, %v", then, snapshot, err)
	}
	if now, err := runtime.Explain(t.Context(), event.ID); err != nil || now.Outcome != OutcomeIgnored {
		t.Errorf("now: %+v, %v", now, err)
	}
	if _, _, err := runtime.ExplainThen(t.Context(), early.ID); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("of an event from before all snapshots: %v", err)
	}

	// A reload that fails after the configuration came into force is a return to
	// the one before.
	runtime.Remove(second)
	runtime.Remove(first)
	if got := digests(); got != a+" "+b+" "+a {
		t.Errorf("after a failed reload there are %q", got)
	}
}

// orderless is an event of icfm.
func orderless(name, body string) *event.Event {
	e := &event.Event{ID: newID(), Source: "icfm", Name: name, Received: time.Now(), RawBody: []byte(body), BodyIsRaw: true}
	e.Body, _ = event.DecodeJSON(e.RawBody)
	e.Parameters[event.Tenant] = ""
	return e
}
