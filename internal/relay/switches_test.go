package relay_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestSwitches turns each kind of switch off and on, over a reload and a
// restart.
func TestSwitches(t *testing.T) {
	for _, test := range []struct {
		kind       queue.SwitchKind
		name, kept string
		decision   rules.Decision
		// other is what becomes of another event meanwhile.
		other rules.Decision
	}{
		{queue.SwitchAll, "", "", rules.Disabled, rules.Disabled},
		{queue.SwitchEvent, "Job Saved", "icfm:job_saved", rules.Disabled, rules.Act},
		{queue.SwitchEvent, "icfm:job_saved", "icfm:job_saved", rules.Disabled, rules.Act},
		{queue.SwitchAction, "record", "record", rules.Act, rules.Act},
	} {
		t.Run(string(test.kind)+" "+test.name, func(t *testing.T) {
			target := relaytest.NewService(t)
			configured := relaytest.Configuration(target, "/record")
			configured.Rules = append(configured.Rules, config.Rule{Place: "Caddyfile:3", Events: []string{"job_completed"}, Do: []string{"record"}})
			directory := t.TempDir()
			runtime := relaytest.Open(t, directory)
			generation := relaytest.Push(t, runtime, configured)

			off := relaytest.Turn(t, runtime, queue.Switch{Kind: test.kind, Name: test.name, Off: true, Reason: "works on the SAN"}, 24*time.Hour)
			check := func(when string) {
				t.Helper()
				switches := runtime.Switches()
				if len(switches) != 1 || switches[0] != off {
					t.Fatalf("%s: the switches are %+v, want %+v", when, switches, off)
				}
				detail := relaytest.Summary(t, runtime, relaytest.Post(t, runtime, generation, relaytest.Approved))
				if detail.Verdict.Decision != test.decision {
					t.Errorf("%s: verdict %+v, want %s", when, detail.Verdict, test.decision)
				}
				if test.decision == rules.Disabled {
					for _, part := range []string{"switched off since", "until", ": works on the SAN"} {
						if !strings.Contains(detail.Verdict.Reason, part) {
							t.Errorf("%s: the reason %q does not say %q", when, detail.Verdict.Reason, part)
						}
					}
				} else if detail.Deliveries[0].State != queue.Pending {
					t.Errorf("%s: a delivery of a paused action is %s", when, detail.Deliveries[0].State)
				}
			}
			if off.Name != test.kept || !off.Off || off.Since.IsZero() || !off.Until.After(off.Since) || off.Reason != "works on the SAN" {
				t.Errorf("the switch is %+v", off)
			}
			check("at first")
			other := relaytest.Summary(t, runtime, relaytest.Post(t, runtime, generation, `{"event":"job_completed","id":"other"}`))
			if other.Verdict.Decision != test.other {
				t.Errorf("another event has the verdict %+v, want %s", other.Verdict, test.other)
			}
			if test.kind == queue.SwitchEvent {
				// An attempt that the restart cuts off would be made again.
				processtest.WaitFor(t, "the other event's delivery", func() bool { return relaytest.Summary(t, runtime, other.ID).Deliveries[0].State == queue.Delivered })
			}
			generation = relaytest.Push(t, runtime, configured)
			check("after a reload")
			if err := runtime.Close(); err != nil {
				t.Fatal(err)
			}
			runtime = relaytest.Open(t, directory)
			generation = relaytest.Push(t, runtime, configured)
			check("after a restart")

			on := relaytest.Turn(t, runtime, queue.Switch{Kind: test.kind, Name: test.name}, 0)
			if on != (queue.Switch{Kind: test.kind, Name: test.kept}) || len(runtime.Switches()) != 0 {
				t.Errorf("turned on, the switch is %+v of %+v", on, runtime.Switches())
			}
			id := relaytest.Post(t, runtime, generation, relaytest.Approved)
			processtest.WaitFor(t, "the delivery", func() bool { return relaytest.Summary(t, runtime, id).Deliveries[0].State == queue.Delivered })
			processtest.WaitFor(t, "what was held back", func() bool {
				backlog, err := runtime.Store().Backlog(t.Context())
				return err == nil && len(backlog) == 0
			})
			want := map[queue.SwitchKind]int{queue.SwitchAll: 1, queue.SwitchEvent: 2, queue.SwitchAction: 5}[test.kind]
			if got := strings.Fields(target.Got()); len(got) != want {
				t.Errorf("the target got %q, want %d requests", got, want)
			}
		})
	}
}

// TestSwitchedOffEverythingHoldsDeliveriesBack checks that what waits already
// is not sent either.
func TestSwitchedOffEverythingHoldsDeliveriesBack(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAll, Off: true}, 0)
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record"}, 0)
	relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	if state := relaytest.Summary(t, runtime, id).Deliveries[0].State; state != queue.Pending || target.Got() != "" {
		t.Errorf("while everything is off, the delivery is %s and the target got %q", state, target.Got())
	}
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAll}, 0)
	processtest.WaitFor(t, "the delivery", func() bool { return target.Got() == "/record?id=1" })
}

// TestSwitchedOffEventMarksNothingAsDone is TestSwitchedOffRelayMarksNothingAsDone
// for a switch.
func TestSwitchedOffEventMarksNothingAsDone(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	deduped := relaytest.Configuration(target, "/record")
	deduped.Sources[0].Dedupe = &config.Dedupe{Window: config.Duration(time.Hour), Key: "body.id"}
	generation := relaytest.Push(t, runtime, deduped)
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchEvent, Name: "job_saved", Off: true}, 0)
	relaytest.Post(t, runtime, generation, relaytest.Approved)
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchEvent, Name: "job_saved"}, 0)
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	if detail := relaytest.Summary(t, runtime, id); detail.DuplicateOf != "" || detail.Verdict.Decision != rules.Act {
		t.Errorf("the first event that was not switched off is %+v", detail)
	}
}

// TestSwitchesEnd checks that a switch is on again when its time has come, also
// if that was while the relay was not running, and that the log says so.
func TestSwitchesEnd(t *testing.T) {
	for _, kind := range []queue.SwitchKind{queue.SwitchAll, queue.SwitchEvent, queue.SwitchAction} {
		for _, restart := range []bool{false, true} {
			name := map[queue.SwitchKind]string{queue.SwitchEvent: "job_saved", queue.SwitchAction: "record"}[kind]
			t.Run(string(kind)+map[bool]string{true: " over a restart"}[restart], func(t *testing.T) {
				target := relaytest.NewService(t)
				core, logs := observer.New(zapcore.InfoLevel)
				logged := relaytest.Configuration(target, "/record")
				logged.Logger = zap.New(core)
				directory := t.TempDir()
				runtime := relaytest.Open(t, directory)
				generation := relaytest.Push(t, runtime, logged)
				off := relaytest.Turn(t, runtime, queue.Switch{Kind: kind, Name: name, Off: true}, 100*time.Millisecond)
				if restart {
					if err := runtime.Close(); err != nil {
						t.Fatal(err)
					}
					processtest.WaitFor(t, "the end", func() bool { return time.Now().After(off.Until) })
					runtime = relaytest.Open(t, directory)
					generation = relaytest.Push(t, runtime, logged)
				}
				processtest.WaitFor(t, "the switch to be on", func() bool {
					return len(runtime.Switches()) == 0 && logs.FilterMessageSnippet("is on again").Len() == 1
				})
				relaytest.Post(t, runtime, generation, relaytest.Approved)
				processtest.WaitFor(t, "the delivery", func() bool { return target.Got() == "/record?id=1" })
			})
		}
	}
}

// TestSwitchOutlivesItsConfiguration checks that what is no longer configured
// can still be turned on.
func TestSwitchOutlivesItsConfiguration(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	configured := relaytest.Configuration(relaytest.NewService(t), "/record")
	relaytest.Push(t, runtime, configured)
	names := map[queue.SwitchKind]string{queue.SwitchEvent: "icfm:job_saved", queue.SwitchAction: "record"}
	for kind, name := range names {
		relaytest.Turn(t, runtime, queue.Switch{Kind: kind, Name: name, Off: true}, 0)
	}
	relaytest.Push(t, runtime, relay.Configuration{})
	if len(runtime.Switches()) != len(names) {
		t.Errorf("the switches are %+v", runtime.Switches())
	}
	for kind, name := range names {
		relaytest.Turn(t, runtime, queue.Switch{Kind: kind, Name: name}, 0)
	}
	if len(runtime.Switches()) != 0 {
		t.Errorf("the switches are %+v", runtime.Switches())
	}
}

func TestWrongSwitches(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	two := relaytest.Configuration(relaytest.NewService(t), "/record")
	two.Sources = append(two.Sources, config.Source{Name: "erp", Events: []config.EventType{{Name: "job_saved"}, {Name: "order_paid"}},
		Auth: []config.Credential{{Kind: auth.Bearer, Values: []string{"x"}}}})
	two.Rules[0].Events = []string{"icfm:job_saved"}
	relaytest.Push(t, runtime, two)
	for _, test := range []struct {
		s              queue.Switch
		during         time.Duration
		field, problem string
	}{
		{queue.Switch{Kind: "source", Name: "icfm", Off: true}, 0, "kind", "action, event and all"},
		{queue.Switch{Off: true}, 0, "kind", "action, event and all"},
		{queue.Switch{Kind: queue.SwitchAll, Name: "record", Off: true}, 0, "name", "no name"},
		{queue.Switch{Kind: queue.SwitchAction, Off: true}, 0, "name", "give the name"},
		{queue.Switch{Kind: queue.SwitchAction, Name: "recrod", Off: true}, 0, "name", "did you mean record?"},
		{queue.Switch{Kind: queue.SwitchAction, Name: "zzz", Off: true}, 0, "name", "What exists: record"},
		{queue.Switch{Kind: queue.SwitchEvent, Name: "job_svaed", Off: true}, 0, "name", "did you mean job_saved?"},
		{queue.Switch{Kind: queue.SwitchEvent, Name: "icfm:job_svaed", Off: true}, 0, "name", "did you mean job_saved?"},
		{queue.Switch{Kind: queue.SwitchEvent, Name: "icmf:order_paid", Off: true}, 0, "name", "did you mean icfm?"},
		{queue.Switch{Kind: queue.SwitchEvent, Name: "job_saved", Off: true}, 0, "name", "icfm:job_saved, erp:job_saved"},
		{queue.Switch{Kind: queue.SwitchEvent, Name: "unknown", Off: true}, 0, "name", "icfm:unknown, erp:unknown"},
		{queue.Switch{Kind: queue.SwitchEvent, Name: "dmg_*", Off: true}, 0, "name", "many events"},
		{queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, -time.Hour, "for", "-1h"},
		{queue.Switch{Kind: queue.SwitchAction, Name: "record"}, time.Hour, "for", "only what is switched off"},
		{queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true, Reason: strings.Repeat("x", 501)}, 0, "reason", "at most 500"},
	} {
		_, err := runtime.Turn(t.Context(), test.s, test.during)
		relaytest.CheckWrong(t, err, test.field, test.problem)
	}
	if len(runtime.Switches()) != 0 {
		t.Errorf("a refused switch is off: %+v", runtime.Switches())
	}
}

// TestCancelAndMove ends and moves what waits for a paused and for a removed
// action.
func TestCancelAndMove(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	configured := relaytest.Configuration(target, "/record")
	generation := relaytest.Push(t, runtime, configured)
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	var ids []string
	for range 4 {
		ids = append(ids, relaytest.Post(t, runtime, generation, relaytest.Approved))
	}
	renamed := relaytest.Configuration(target, "/renamed")
	renamed.Actions[0].Name, renamed.Rules[0].Do = "renamed", []string{"renamed"}
	relaytest.Push(t, runtime, renamed)

	if n, err := runtime.Cancel(t.Context(), strings.ToUpper(relaytest.Summary(t, runtime, ids[0]).Deliveries[0].ID[:30]), ""); n != 1 || err != nil {
		t.Errorf("cancelled %d deliveries of 1, %v", n, err)
	}
	for _, none := range []string{"01900000-0000-7000-8000-000000000000", ids[1]} {
		if _, err := runtime.Cancel(t.Context(), none, ""); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("cancelling %s: %v", none, err)
		}
	}
	if n, err := runtime.Move(t.Context(), "record", "renamed"); n != 3 || err != nil {
		t.Errorf("moved %d deliveries of 3, %v", n, err)
	}
	processtest.WaitFor(t, "what was moved", func() bool { return target.Got() == strings.Repeat("/renamed?id=1 ", 2)+"/renamed?id=1" })

	generation = relaytest.Push(t, runtime, configured)
	relaytest.Post(t, runtime, generation, relaytest.Approved)
	relaytest.Push(t, runtime, renamed)
	if n, err := runtime.Cancel(t.Context(), "", "record"); n != 1 || err != nil {
		t.Errorf("cancelled %d deliveries of 1, %v", n, err)
	}

	for _, test := range []struct {
		call           func() (int, error)
		field, problem string
	}{
		{func() (int, error) { return runtime.Cancel(t.Context(), "", "") }, "delivery", "give the id"},
		{func() (int, error) { return runtime.Cancel(t.Context(), ids[0], "renamed") }, "action", "not both"},
		{func() (int, error) { return runtime.Cancel(t.Context(), "", "remaned") }, "action", "did you mean renamed?"},
		{func() (int, error) { return runtime.Move(t.Context(), "renamed", "remaned") }, "to", "did you mean renamed?"},
		{func() (int, error) { return runtime.Move(t.Context(), "renamed", "renamed") }, "to", "there already"},
		{func() (int, error) { return runtime.Move(t.Context(), "nothing", "renamed") }, "from", "unknown action"},
		{func() (int, error) { return runtime.Move(t.Context(), "", "renamed") }, "from", "give the name"},
	} {
		_, err := test.call()
		relaytest.CheckWrong(t, err, test.field, test.problem)
	}
}
