package relay_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

// nodes opens nodes that run the same configuration.
func openNodes(t *testing.T, of *relaytest.Nodes, configuration relay.Configuration, names ...string) (runtimes []*relay.Runtime, generations []*relay.Generation) {
	t.Helper()
	for _, name := range names {
		runtime := of.Open(t, name)
		runtimes = append(runtimes, runtime)
		generations = append(generations, relaytest.Push(t, runtime, configuration))
	}
	return runtimes, generations
}

// snapshot gives a configuration a snapshot of its own.
func snapshot(configuration relay.Configuration, text string) relay.Configuration {
	configuration.Snapshot = json.RawMessage(fmt.Sprintf("%q", text))
	return configuration
}

// TestNodesSayWhatTheyRun: each node names its version and configuration, also after a
// reload, and notes its configuration whatever the others note.
func TestNodesSayWhatTheyRun(t *testing.T) {
	shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
	configuration := snapshot(relaytest.Configuration(target, "/record"), "first")
	configuration.Version = "v1.2.0"
	runtimes, _ := openNodes(t, shared, configuration, "a", "b")
	said := func() (all []string) {
		t.Helper()
		nodes, err := relay.Nodes(t.Context(), runtimes[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range nodes {
			all = append(all, fmt.Sprint(node.Name, " ", node.Version, " ", node.Configuration == runtimes[0].State().Configuration, " ", node.Delivers))
		}
		return all
	}
	if got, want := said(), []string{"a v1.2.0 true true", "b v1.2.0 true true"}; !slices.Equal(got, want) {
		t.Errorf("the nodes say %q, want %q", got, want)
	}
	configuration = snapshot(configuration, "second")
	configuration.Version = "v1.3.0"
	configuration.Actions = slices.Clone(configuration.Actions)
	configuration.Actions[0].OneNode = true
	relaytest.Push(t, runtimes[1], configuration)
	if got, want := said(), []string{"a v1.2.0 true true", "b v1.3.0 false true"}; !slices.Equal(got, want) {
		t.Errorf("after a reload of b they say %q, want %q", got, want)
	}
	if a, b := shared.OneNode("a"), shared.OneNode("b"); a != "" || b != "record" {
		t.Errorf("one node at a time takes %q of a and %q of b", a, b)
	}
	// The same again is no other configuration, though b noted one in between.
	relaytest.Push(t, runtimes[0], snapshot(configuration, "first"))
	notes, err := runtimes[0].Store().Notes(t.Context(), queue.NoteConfiguration, time.Time{}, time.Time{}, 100, false)
	if err != nil {
		t.Fatal(err)
	}
	var noted []string
	for _, note := range slices.Backward(notes) {
		noted = append(noted, note.Node)
	}
	if want := []string{"a", "b", "b"}; !slices.Equal(noted, want) {
		t.Errorf("configurations are noted by %q, want %q", noted, want)
	}
	alone := relaytest.Open(t, t.TempDir())
	if nodes, err := relay.Nodes(t.Context(), alone); err != nil || len(nodes) != 0 {
		t.Errorf("a relay that shares no queue has the nodes %v, %v", nodes, err)
	}
}

// TestSwitchesHoldOnEveryNode: what is turned on one node is obeyed by the others once
// the call returns.
func TestSwitchesHoldOnEveryNode(t *testing.T) {
	shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
	runtimes, generations := openNodes(t, shared, relaytest.Configuration(target, "/record"), "a", "b", "c")
	for round := range 5 {
		for _, s := range []queue.Switch{{Kind: queue.SwitchEvent, Name: "job_saved"}, {Kind: queue.SwitchAll}} {
			by := round % len(runtimes)
			for _, off := range []bool{true, false} {
				s.Off = off
				relaytest.Turn(t, runtimes[by], s, 0)
				want := map[bool]rules.Decision{true: rules.Disabled, false: rules.Act}[off]
				for i, runtime := range runtimes {
					if got := relaytest.Summary(t, runtime, relaytest.Post(t, runtime, generations[i], relaytest.Approved)).Verdict.Decision; got != want {
						t.Errorf("the switch of %s turned off=%t by node %d: node %d decides %s", s.Kind, off, by, i, got)
					}
				}
			}
		}
	}
	relaytest.WaitEnded(t, runtimes[0])
	relaytest.Turn(t, runtimes[0], queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	id := relaytest.Post(t, runtimes[1], generations[1], relaytest.Approved)
	relaytest.Turn(t, runtimes[2], queue.Switch{Kind: queue.SwitchAll, Off: true}, 0)
	relaytest.Turn(t, runtimes[0], queue.Switch{Kind: queue.SwitchAction, Name: "record"}, 0)
	if state := relaytest.Summary(t, runtimes[0], id).Deliveries[0].State; state != queue.Pending {
		t.Errorf("while everything is off on each node, a delivery is %s", state)
	}
	relaytest.Turn(t, runtimes[1], queue.Switch{Kind: queue.SwitchAll}, 0)
	relaytest.WaitEnded(t, runtimes[0])
}

// TestSwitchEndsOnce: of three nodes one turns a switch on again when its time has come.
func TestSwitchEndsOnce(t *testing.T) {
	shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
	core, logs := observer.New(zapcore.InfoLevel)
	configuration := relaytest.Configuration(target, "/record")
	configuration.Logger = zap.New(core)
	runtimes, _ := openNodes(t, shared, configuration, "a", "b", "c")
	relaytest.Turn(t, runtimes[0], queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 50*time.Millisecond)
	const again = "a switch is on again, as its time has come"
	for _, runtime := range runtimes {
		processtest.WaitFor(t, "the switch to be on again", func() bool { return len(runtime.Switches()) == 0 })
	}
	// The second has found it on.
	relaytest.Turn(t, runtimes[1], queue.Switch{Kind: queue.SwitchAll, Off: true}, 0)
	if n := logs.FilterMessage(again).Len(); n != 1 {
		t.Errorf("it was turned on %d times, want once", n)
	}
}

// reporting sends the relay's own events to a service, which hears of what and by whom.
func reporting(target, hears *relaytest.Service) relay.Configuration {
	configuration := relaytest.Configuration(target, "/record")
	configuration.Actions[0].RetryFor = config.RetryOff
	configuration.Actions = append(configuration.Actions, config.Action{Name: "tell", Method: "POST", URL: hears.URL + "/tell/{{event}}"})
	configuration.Rules = append(configuration.Rules, config.Rule{Place: "Caddyfile:3", Events: []string{"relay:*"}, Do: []string{"tell"}})
	return configuration
}

// told returns the relay's own events that are no duplicates, oldest first.
func told(t *testing.T, runtime *relay.Runtime) (events []string) {
	t.Helper()
	for _, event := range slices.Backward(relaytest.Stored(t, runtime, queue.Filter{Source: names.RelaySource})) {
		if event.DuplicateOf == "" {
			events = append(events, event.Event+" "+event.Node)
		}
	}
	return events
}

func TestTargetIsReportedDownOnce(t *testing.T) {
	shared, target, hears := relaytest.NewNodes(t), relaytest.NewService(t), relaytest.NewService(t)
	runtimes, generations := openNodes(t, shared, reporting(target, hears), "a", "b", "c")
	called := generations[0].Actions[0].Targets()[0]
	report := func(at time.Duration, by ...int) {
		if at > 0 {
			shared.EndWindows()
		}
		for _, i := range by {
			relay.Report(runtimes[i], t.Context(), time.Now().Add(at))
		}
	}
	find := func(down bool, by ...int) {
		for _, i := range by {
			relay.FindDown(runtimes[i], forward.TargetChange{Target: called, Action: "record", Down: down, Error: "refused"})
			report(0, i)
		}
	}
	check := func(when string, want ...string) {
		t.Helper()
		if got := told(t, runtimes[0]); !slices.Equal(got, want) {
			t.Fatalf("%s: told is %q, want %q", when, got, want)
		}
	}
	find(true, 1, 0)
	check("two find it down", "target_down b")
	report(time.Hour, 0, 1, 2)
	check("time goes on", "target_down b")
	find(false, 0, 1)
	check("the other finds it up first", "target_down b", "target_up a")
	find(true, 2)
	check("a third finds it down within a minute", "target_down b", "target_up a")
	report(2*time.Minute, 2)
	check("after the minute", "target_down b", "target_up a", "target_down c")
	// Closing would cut short what is just being told, and it would be told again.
	relaytest.WaitEnded(t, runtimes[0])
	if err := runtimes[2].Close(); err != nil {
		t.Fatal(err)
	}
	find(true, 1)
	report(4*time.Minute, 1)
	check("the node that reported it has ended", "target_down b", "target_up a", "target_down c", "target_down b")
	relaytest.WaitEnded(t, runtimes[0])
	if got := hears.Got(); strings.Count(got, "/tell/target_down") != 3 || strings.Count(got, "/tell/target_up") != 1 {
		t.Errorf("the service heard %s", got)
	}
}

// TestFoundDownAtOnce: of nodes that find a target down at the same moment, one tells.
func TestFoundDownAtOnce(t *testing.T) {
	shared, hears := relaytest.NewNodes(t), relaytest.NewService(t)
	runtimes, generations := openNodes(t, shared, reporting(relaytest.NewService(t), hears), "a", "b", "c", "d")
	called := generations[0].Actions[0].Targets()[0]
	for _, runtime := range runtimes {
		relay.FindDown(runtime, forward.TargetChange{Target: called, Action: "record", Down: true, Error: "refused"})
	}
	for _, runtime := range runtimes {
		relay.Report(runtime, t.Context(), time.Now())
	}
	relaytest.WaitEnded(t, runtimes[0])
	if got := told(t, runtimes[0]); len(got) != 1 || hears.Got() != "/tell/target_down" {
		t.Errorf("told is %q, and the service heard %s", got, hears.Got())
	}
}

// TestFailuresOfAllNodesAreReported: at most once a minute for all nodes, and each
// failure is counted in the end.
func TestFailuresOfAllNodesAreReported(t *testing.T) {
	shared, target, hears := relaytest.NewNodes(t), relaytest.NewService(t), relaytest.NewService(t)
	target.Answer(http.StatusTeapot)
	runtimes, generations := openNodes(t, shared, reporting(target, hears), "a", "b", "c")
	const each = 4
	for range each {
		for i, runtime := range runtimes {
			relaytest.Post(t, runtime, generations[i], relaytest.Approved)
		}
	}
	relaytest.WaitEnded(t, runtimes[0])
	counted := func() (count, events int) {
		t.Helper()
		page, err := runtimes[0].Store().Events(t.Context(), queue.Filter{Source: names.RelaySource, Event: relay.DeliveryFailed}, queue.NewestFirst, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, stored := range page.Events {
			if body, _ := stored.Event.Body.(map[string]any); stored.Summary.DuplicateOf == "" {
				n, _ := body["count"].(int64)
				count, events = count+int(n), events+1
			}
		}
		return count, events
	}
	for _, runtime := range runtimes {
		relay.Report(runtime, t.Context(), time.Now())
	}
	if count, events := counted(); events != 1 || count >= len(runtimes)*each {
		t.Errorf("within a minute there are %d events about %d failures, want one event", events, count)
	}
	for minute := 2; minute < 20; minute += 2 {
		shared.EndWindows()
		for _, runtime := range runtimes {
			relay.Report(runtime, t.Context(), time.Now().Add(time.Duration(minute)*time.Minute))
		}
	}
	if count, _ := counted(); count != len(runtimes)*each {
		t.Errorf("in the end %d failures are reported, want %d", count, len(runtimes)*each)
	}
}

// TestQuietIsAskedOfTheHistory: a source is silent if no node received anything of it,
// and the node that leads tells, once.
func TestQuietIsAskedOfTheHistory(t *testing.T) {
	shared, target, hears := relaytest.NewNodes(t), relaytest.NewService(t), relaytest.NewService(t)
	configuration := reporting(target, hears)
	configuration.Sources[0].Quiet = config.Duration(time.Hour)
	runtimes, generations := openNodes(t, shared, configuration, "a", "b", "c")
	shared.Lead("a")
	check := func(when string, after time.Duration, want ...string) {
		t.Helper()
		now := time.Now().Add(after)
		for i, runtime := range runtimes {
			relay.Report(runtime, t.Context(), now)
			if quiet := len(relay.Silent(runtime, generations[i], now)) == 1; quiet != (len(want) > 0) {
				t.Errorf("%s: node %d says quiet=%t", when, i, quiet)
			}
		}
		if got := told(t, runtimes[0]); !slices.Equal(got, want) {
			t.Fatalf("%s: told is %q, want %q", when, got, want)
		}
	}
	for _, runtime := range runtimes {
		relay.Report(runtime, t.Context(), time.Now())
	}
	e := relaytest.Event("job_saved", `{}`)
	e.Received = time.Now().Add(30 * time.Minute)
	relaytest.Accept(t, runtimes[1], generations[1], e)
	check("another node received one half an hour ago", time.Hour+10*time.Minute)
	check("an hour after that", 91*time.Minute, "source_quiet a")
	shared.Lead("c")
	check("another leads now", 95*time.Minute, "source_quiet a")
	check("much later", 5*time.Hour, "source_quiet a")
	relaytest.WaitEnded(t, runtimes[0])
	if got := hears.Got(); got != "/tell/source_quiet" {
		t.Errorf("the service heard %s", got)
	}
}

// TestRefusalsOfNodesStandBesideEachOther: what one node stores of the requests that it
// refused does not take the place of another's.
func TestRefusalsOfNodesStandBesideEachOther(t *testing.T) {
	shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
	var stack relay.Stack
	configuration := relaytest.Configuration(target, "/record")
	for i, name := range []string{"a", "b"} {
		runtime := shared.Open(t, name)
		generation := relaytest.Compile(t, configuration)
		stack.Push(runtime, generation)
		for range i + 1 {
			refuse(t, &stack, generation)
		}
		stack.Remove(generation)
		if err := runtime.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"a", "b"} {
		list := shared.Open(t, name).Rejections()
		if len(list) != 1 || list[0].Count != i+1 {
			t.Errorf("after a restart node %s knows of %+v, want %d", name, list, i+1)
		}
	}
}

// refuse posts an event with a wrong key.
func refuse(t *testing.T, stack *relay.Stack, generation *relay.Generation) {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/listen.php?key=wrong", strings.NewReader("{}"))
	_, err := stack.Ingest(generation, request, receive.Origin{Mount: "/listen.php", Client: netip.MustParseAddr("203.0.113.9")})
	if _, isRefusal := errors.AsType[*receive.Refusal](err); !isRefusal {
		t.Fatalf("it is not refused: %v", err)
	}
}

// TestNodeThatOnlyReceives: with deliver off it stores, and another node delivers; so it
// is again after a reload without it.
func TestNodeThatOnlyReceives(t *testing.T) {
	shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
	delivers := relaytest.Configuration(target, "/record")
	receives := delivers
	receives.Queue = &config.Queue{Engine: config.QueuePostgres, DSN: "host=db", ReceiveOnly: true}
	outside := shared.Open(t, "outside")
	generation := relaytest.Push(t, outside, receives)
	id := relaytest.Post(t, outside, generation, relaytest.Approved)
	nodes, err := relay.Nodes(t.Context(), outside)
	if err != nil || len(nodes) != 1 || nodes[0].Delivers {
		t.Errorf("the nodes are %+v, %v", nodes, err)
	}
	inside := shared.Open(t, "inside")
	relaytest.Push(t, inside, delivers)
	relaytest.WaitEnded(t, outside)
	if n := relay.AttemptsOf(t, inside, "record", "delivered"); n != 1 || relaytest.Summary(t, outside, id).Node != "outside" {
		t.Errorf("the other node delivered %v", n)
	}
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	generation = relaytest.Push(t, outside, delivers)
	relaytest.Post(t, outside, generation, relaytest.Approved)
	relaytest.WaitEnded(t, outside)
	if n := relay.AttemptsOf(t, outside, "record", "delivered"); n != 1 {
		t.Errorf("once it delivers too, it delivered %v", n)
	}
}
