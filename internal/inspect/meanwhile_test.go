package inspect

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// What is switched on again says what gathered, and a delivery that waits says for
// which switch.
func TestSwitchedOffMeanwhile(t *testing.T) {
	target := relaytest.NewService(t)
	configuration := relaytest.Configuration(target, "/record")
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, configuration)
	turn := func(kind queue.SwitchKind, name string, off bool) Turned {
		t.Helper()
		turned, err := Turn(t.Context(), runtime, queue.Switch{Kind: kind, Name: name, Off: off, Reason: map[bool]string{true: "moving"}[off]}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return turned
	}
	paused := func(id string) *queue.Switch {
		t.Helper()
		detail, err := Show(t.Context(), runtime, id)
		if err != nil {
			t.Fatal(err)
		}
		listed := []queue.Summary{relaytest.Summary(t, runtime, id)}
		SayWhy(runtime, listed)
		if (listed[0].Deliveries[0].Paused == nil) != (detail.Deliveries[0].Paused == nil) {
			t.Errorf("a list and a page say different things")
		}
		return detail.Deliveries[0].Paused
	}

	if turned := turn(queue.SwitchAction, "record", true); turned.Meanwhile != nil {
		t.Errorf("turning off gave %+v", turned.Meanwhile)
	}
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	if s := paused(id); s == nil || s.Name != "record" || s.Reason != "moving" || s.Since.IsZero() {
		t.Errorf("a paused delivery says %+v", s)
	}
	turn(queue.SwitchAll, "", true)
	if s := paused(id); s == nil || s.Kind != queue.SwitchAll {
		t.Errorf("with everything off it says %+v", s)
	}
	for range 3 {
		relaytest.Post(t, runtime, generation, relaytest.Approved)
	}
	// What waits for a paused action does not go out with all the rest.
	all := turn(queue.SwitchAll, "", false).Meanwhile
	if all == nil || all.Events != 3 || all.More || all.Deliveries != 0 || !strings.HasPrefix(all.Decide, "caddy event-relay decide --since ") || !strings.HasSuffix(all.Decide, "Z --verdict disabled") {
		t.Errorf("turning everything on says %+v", all)
	}
	if since, err := time.Parse(time.RFC3339, all.Filter["since"]); err != nil || since.After(time.Now()) {
		t.Errorf("the filter is %v", all.Filter)
	}
	if m := turn(queue.SwitchAction, "record", false).Meanwhile; m == nil || m.Deliveries != 1 || m.Decide != "" {
		t.Errorf("resuming says %+v", m)
	}
	processtest.WaitFor(t, "the delivery", func() bool { return target.Got() != "" })
	if s := paused(id); s != nil {
		t.Errorf("a delivery that arrived says %+v", s)
	}
	if m := turn(queue.SwitchAction, "record", false).Meanwhile; m != nil {
		t.Errorf("resuming what is on says %+v", m)
	}

	turn(queue.SwitchEvent, "icfm:job_saved", true)
	relaytest.Post(t, runtime, generation, relaytest.Approved)
	relaytest.Post(t, runtime, generation, `{"event":"job_completed"}`)
	if m := turn(queue.SwitchEvent, "job_saved", false).Meanwhile; m == nil || m.Events < 1 || !strings.HasSuffix(m.Decide, " --source icfm --event job_saved") {
		t.Errorf("enabling an event says %+v", m)
	}

	target.Answer(http.StatusServiceUnavailable)
	waiting := relaytest.Post(t, runtime, generation, relaytest.Approved)
	processtest.WaitFor(t, "an attempt", func() bool { return relaytest.Summary(t, runtime, waiting).Deliveries[0].Attempts > 0 })
	configuration.Disabled = true
	configuration.Rules[0].Disabled = true
	relaytest.Push(t, runtime, configuration)
	if s := paused(waiting); s == nil || s.Kind != queue.SwitchAll || !s.Since.IsZero() {
		t.Errorf("with active off it says %+v", s)
	}
	if status, err := StatusOf(t.Context(), runtime); err != nil || !status.Off || len(status.Inactive) != 1 {
		t.Errorf("the status has the inactive rules %q, %v", status.Inactive, err)
	}
	if relay.HeldBy(runtime, "another") == nil {
		t.Error("active off holds only one action")
	}
}

// A delivery whose target is down says which one that is, and not while it is paused.
func TestWaitsForATargetThatIsDown(t *testing.T) {
	target := relaytest.NewService(t)
	target.Close()
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	processtest.WaitFor(t, "the target is down", func() bool { return len(runtime.State().Down) == 1 })
	check := func(down string) {
		t.Helper()
		detail, err := Show(t.Context(), runtime, id)
		if err != nil {
			t.Fatal(err)
		}
		listed := []queue.Summary{relaytest.Summary(t, runtime, id)}
		SayWhy(runtime, listed)
		if listed[0].Deliveries[0].Down != down || detail.Deliveries[0].Down != down {
			t.Errorf("a list says %q, a page %q, want %q", listed[0].Deliveries[0].Down, detail.Deliveries[0].Down, down)
		}
	}
	check(target.URL)
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	check("")
	if relay.DownFor(runtime, "another", "") != nil {
		t.Error("an action that there is not waits for a target")
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"icfm": "icfm", "Job saved": "'Job saved'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'"} {
		if got := quoted(word); got != want {
			t.Errorf("%q is written %s, want %s", word, got, want)
		}
	}
}
