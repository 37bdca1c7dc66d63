package replay_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/replay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestDecideOnly makes a part of a difference: of the actions that are named, and
// nothing else.
func TestDecideOnly(t *testing.T) {
	target := relaytest.NewService(t)
	before := relaytest.Configuration(target, "/record")
	for _, name := range []string{"ticket", "mail"} {
		action := before.Actions[0]
		action.Name, action.URL = name, target.URL+"/"+name
		before.Actions = append(before.Actions, action)
	}
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, before)
	approved := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":"approved","status":"Approved"}`)
	pencil := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":"pencil","status":"Pencil"}`)
	relaytest.WaitEnded(t, runtime)
	after := before
	after.Rules = []config.Rule{
		{Place: "Caddyfile:3", Events: []string{"job_saved"}, When: []string{`body.status == "Pencil"`}, Do: []string{"ticket"}},
		{Place: "Caddyfile:7", Events: []string{"job_saved"}, Do: []string{"mail"}},
	}
	relaytest.Push(t, runtime, after)

	whole := decide(t, runtime, replay.DecideOptions{Dry: true})
	if got := fmt.Sprint(whole.Changed, whole.Fires, whole.Stops); got != "2 map[mail:2 ticket:1] map[record:1]" {
		t.Errorf("the whole difference is %s", got)
	}
	var groups []string
	for _, g := range whole.Groups {
		groups = append(groups, fmt.Sprintf("%s %s:%s %s +%d -%d %v", g.Action, g.Source, g.Event, g.Rule, g.Fires, g.Stops, g.Example == approved))
	}
	if got := strings.Join(groups, "; "); got != "mail icfm:job_saved Caddyfile:7 +2 -0 true; ticket icfm:job_saved Caddyfile:3 +1 -0 false; record icfm:job_saved Caddyfile:1 +0 -1 true" {
		t.Errorf("the groups are %s", got)
	}
	if d := whole.Differences[0]; d.RuleBefore != "Caddyfile:1" || d.ReasonBefore != "all conditions of a rule held" || d.Rule != "Caddyfile:7" {
		t.Errorf("the first difference is %+v", d)
	}
	if !whole.Oldest.Equal(relaytest.Summary(t, runtime, approved).Received) || !whole.Newest.Equal(relaytest.Summary(t, runtime, pencil).Received) || whole.Cut != "" {
		t.Errorf("events from %s to %s were looked at, cut %q", whole.Oldest, whole.Newest, whole.Cut)
	}

	for _, test := range []struct {
		only         []string
		want         string
		approved     string
		pencil       string
		targetGotAll string
	}{
		{[]string{"ticket"}, "1 map[ticket:1] map[]", "action record", "action ticket", "/record?id=approved /ticket?id=pencil"},
		{[]string{"record"}, "1 map[] map[record:1]", "ignored", "action ticket", "/record?id=approved /ticket?id=pencil"},
		{[]string{"mail", "ticket"}, "2 map[mail:2] map[]", "action mail", "action ticket mail",
			"/mail?id=approved /mail?id=pencil /record?id=approved /ticket?id=pencil"},
	} {
		for _, dry := range []bool{true, false} {
			decided := decide(t, runtime, replay.DecideOptions{Only: test.only, Dry: dry})
			if got := fmt.Sprint(decided.Changed, decided.Fires, decided.Stops); got != test.want || decided.Events != 2 || len(decided.Differences) != decided.Changed {
				t.Errorf("only %v, dry %v: %s of %d events, want %s", test.only, dry, got, decided.Events, test.want)
			}
		}
		relaytest.WaitEnded(t, runtime)
		for id, want := range map[string]string{approved: test.approved, pencil: test.pencil} {
			verdict := relaytest.Summary(t, runtime, id).Verdict
			words := []string{string(verdict.Decision)}
			for _, call := range verdict.Actions {
				words = append(words, call.Action)
			}
			if got := strings.Join(words, " "); got != want {
				t.Errorf("only %v: the verdict is %s, want %s: %+v", test.only, got, want, verdict)
			}
		}
		requests := strings.Fields(target.Got())
		slices.Sort(requests)
		if got := strings.Join(requests, " "); got != test.targetGotAll {
			t.Errorf("only %v: the target got %s, want %s", test.only, got, test.targetGotAll)
		}
	}
	if all := decide(t, runtime, replay.DecideOptions{}); len(all.Fires)+len(all.Stops) > 0 {
		t.Errorf("after all parts there is left %+v", all)
	}
}

// TestDecideOnlyUnknown refuses a name that no action has, and takes one that only the
// deciding configuration has.
func TestDecideOnlyUnknown(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	id := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":1,"status":"Pencil"}`)
	_, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.DecideOptions{Only: []string{"recrod"}}, nil)
	relaytest.CheckWrong(t, err, "only", "did you mean record?")

	other := relaytest.Configuration(target, "/record").Relay
	ticket := other.Actions[0]
	ticket.Name = "ticket"
	other.Actions = append(other.Actions, ticket)
	other.Rules[0].When, other.Rules[0].Do = nil, []string{"record", "ticket"}
	text, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	decided, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.DecideOptions{Configuration: text, Only: []string{"ticket"}, Dry: true}, nil)
	if err != nil || decided.Fires["ticket"] != 1 || len(decided.Fires) != 1 {
		t.Errorf("only an action of the other configuration: %+v, %v", decided, err)
	}
	// What the running configuration lacks does not stand in the way of what it has.
	decided, err = replay.Decide(t.Context(), runtime, replay.Selection{}, replay.DecideOptions{Configuration: text, Only: []string{"record"}}, nil)
	if err != nil || decided.Fires["record"] != 1 {
		t.Errorf("only an action that is running: %+v, %v", decided, err)
	}
	relaytest.WaitEnded(t, runtime)
	if s := relaytest.Summary(t, runtime, id); len(s.Deliveries) != 1 || s.Deliveries[0].State != queue.Delivered || s.Verdict.Decision != rules.Act || len(s.Verdict.Actions) != 1 {
		t.Errorf("the event is %+v", s)
	}
}
