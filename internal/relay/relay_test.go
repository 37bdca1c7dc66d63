package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

func TestEventGoesItsWay(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))

	for _, test := range []struct {
		name, body string
		decision   rules.Decision
		rule       string
		requests   string
	}{
		{"a rule holds", `{"event":"job_saved","id":1,"status":"Approved"}`, rules.Act, "Caddyfile:1", "/record?id=1"},
		{"no condition holds", `{"event":"job_saved","id":2,"status":"Pencil"}`, rules.Ignored, "", "/record?id=1"},
		{"a field is absent", `{"event":"job_saved","id":3}`, rules.Ignored, "", "/record?id=1"},
		{"a rule ignores", `{"event":"dmg_work_started","id":4}`, rules.Ignored, "Caddyfile:2", "/record?id=1"},
		{"the event is unknown", `{"event":"timesheet_approved","id":5}`, rules.Ignored, "", "/record?id=1"},
		{"the types differ", `{"event":"job_saved","id":6,"status":7}`, rules.RuleError, "Caddyfile:1", "/record?id=1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := relaytest.Post(t, runtime, generation, test.body)
			history := relaytest.Find(t, runtime, id)
			if got := history.Summary.Verdict; got.Decision != test.decision || got.Rule != test.rule {
				t.Errorf("verdict %+v, want %s by %q", got, test.decision, test.rule)
			}
			if body := string(history.Event.RawBody); body != test.body {
				t.Errorf("stored body %q, want %q", body, test.body)
			}
			processtest.WaitFor(t, "deliveries to end", func() bool {
				waiting, err := runtime.Store().Backlog(t.Context())
				return err == nil && len(waiting) == 0
			})
			if got := target.Got(); got != test.requests {
				t.Errorf("target got %q, want %q", got, test.requests)
			}
		})
	}
}

func TestSwitchedOffRelayStoresAndDoesNothing(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	off := relaytest.Configuration(target, "/record")
	off.Disabled = true
	generation := relaytest.Push(t, runtime, off)
	id := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":1,"status":"Approved"}`)
	if detail := relaytest.Summary(t, runtime, id); detail.Verdict.Decision != rules.Disabled || len(detail.Deliveries) > 0 {
		t.Errorf("verdict %+v with %d deliveries, want disabled with none", detail.Verdict, len(detail.Deliveries))
	}
}

// TestDeliveriesOutliveTheirAction removes an action while deliveries of it
// wait, and brings it back: they are held meanwhile, and then carried out as
// the action now says.
func TestDeliveriesOutliveTheirAction(t *testing.T) {
	target := relaytest.NewService(t)
	directory := t.TempDir()
	runtime := relaytest.Open(t, directory)
	old := relaytest.Compile(t, relaytest.Configuration(target, "/old"))
	without := relaytest.Configuration(target, "/none")
	without.Actions, without.Rules = nil, nil
	relaytest.Push(t, runtime, without)
	id := relaytest.Post(t, runtime, old, `{"event":"job_saved","id":1,"status":"Approved"}`)

	backlog, err := runtime.Store().Backlog(t.Context())
	if err != nil || len(backlog) != 1 || backlog[0].Action != "record" || backlog[0].Count != 1 {
		t.Fatalf("backlog %+v, %v; want one delivery of record", backlog, err)
	}
	relaytest.Push(t, runtime, relaytest.Configuration(target, "/new"))
	processtest.WaitFor(t, "the delivery to end", func() bool {
		return relaytest.Summary(t, runtime, id).Deliveries[0].State == queue.Delivered
	})
	if got := target.Got(); got != "/new?id=1" {
		t.Errorf("target got %q, want /new?id=1", got)
	}
}

// TestRemovedGenerationRevivesTheOneBelow is what a failed reload does.
func TestRemovedGenerationRevivesTheOneBelow(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	first := relaytest.Compile(t, relaytest.Configuration(target, "/first"))
	second := relaytest.Compile(t, relaytest.Configuration(target, "/second"))
	var stack relay.Stack
	stack.Push(runtime, first)
	stack.Push(runtime, second)
	if runtime.Generation() != second {
		t.Error("the pushed generation is not the newest")
	}
	stack.Remove(second)
	stack.Remove(second)
	if runtime.Generation() != first {
		t.Error("the first generation was not revived")
	}
	relaytest.Post(t, runtime, first, `{"event":"job_saved","id":1,"status":"Approved"}`)
	processtest.WaitFor(t, "the delivery", func() bool { return target.Got() == "/first?id=1" })
	stack.Remove(first)
	if runtime.Generation() != nil {
		t.Error("there is a newest generation after the last was removed")
	}
}

// TestCompileReportsEverything checks that mistakes in different rooms come
// together, each with its place.
func TestCompileReportsEverything(t *testing.T) {
	wrong := relaytest.Configuration(relaytest.NewService(t), "/record")
	wrong.Sources[0].Auth = nil
	wrong.Actions[0].Query[0].Value = "{{studio_tokn}}"
	wrong.Rules[0].Do = []string{"recrod"}
	wrong.Rules[1].Events = []string{"job_svaed"}
	wrong.Targets = []string{"http://x"}
	_, err := relay.Compile(wrong)
	for _, part := range []string{"icfm", "studio_tokn", "recrod", "did you mean record?", "job_svaed", "did you mean job_saved?", "Caddyfile:2", "targets"} {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("the error does not mention %q:\n%v", part, err)
		}
	}
}

func TestHandlerSources(t *testing.T) {
	target := relaytest.NewService(t)
	two := relaytest.Configuration(target, "/record")
	two.Sources = append(two.Sources, config.Source{Name: "lobby", Events: []config.EventType{{Name: "door_opened"}},
		Auth: []config.Credential{{Kind: auth.None}}})
	generation := relaytest.Compile(t, two)
	for _, test := range []struct {
		sources []string
		problem string
	}{
		{nil, "lobby"},
		{[]string{"icfm"}, ""},
		{[]string{"lobby"}, ""},
		{[]string{"icfm", "lobby"}, "auth none"},
		{[]string{"icmf"}, "did you mean icfm?"},
	} {
		_, err := generation.HandlerSources(test.sources)
		if (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("sources %v: %v, want %q", test.sources, err, test.problem)
		}
	}
}

// TestSwitchedOffRelayMarksNothingAsDone: what came while nothing was done may
// come again once something is.
func TestSwitchedOffRelayMarksNothingAsDone(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	on := relaytest.Configuration(target, "/record")
	on.Sources[0].Dedupe = &config.Dedupe{Window: config.Duration(time.Hour), Key: "body.id"}
	off := on
	off.Disabled = true
	body := `{"event":"job_saved","id":1,"status":"Approved"}`
	disabled, enabled := relaytest.Push(t, runtime, off), relaytest.Compile(t, on)
	relaytest.Post(t, runtime, disabled, body)
	new(relay.Stack).Push(runtime, enabled)
	relaytest.Post(t, runtime, enabled, body)
	processtest.WaitFor(t, "the delivery", func() bool { return target.Got() == "/record?id=1" })
	id := relaytest.Post(t, runtime, enabled, body)
	if detail := relaytest.Summary(t, runtime, id); detail.DuplicateOf == "" || len(detail.Deliveries) > 0 {
		t.Errorf("a repeated event is %+v, want a duplicate without deliveries", detail)
	}
}
