package replay_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/replay"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// away is a target that is down at first.
func away(t *testing.T) (target *relaytest.Service, comes func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	target = relaytest.NewService(t)
	handler := target.Config.Handler
	target.URL = "http://" + address
	return target, func() {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
		server.Start()
		t.Cleanup(server.Close)
	}
}

func saysAll(tried replay.Tried, want ...string) bool {
	text := strings.Join(tried.Says, " ")
	return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(text, w) })
}

// TestTry tries what waits for a target that is down, and then is not.
func TestTry(t *testing.T) {
	target, comes := away(t)
	slow := relaytest.Configuration(target, "/record")
	slow.Actions[0].RetryInterval = &config.RetryInterval{First: config.Duration(time.Hour), Cap: config.Duration(2 * time.Hour)}
	slow.Actions[0].OrderBy = "body.key"
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, slow)
	attempts := func(id string) func() int {
		return func() int { return relaytest.Summary(t, runtime, id).Deliveries[0].Attempts }
	}
	waitFor := func(what string, of func() int, n int) {
		t.Helper()
		processtest.WaitFor(t, what, func() bool { return of() == n })
	}
	first := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":1,"status":"Approved","key":"k"}`)
	waitFor("the first attempt", attempts(first), 1)
	processtest.WaitFor(t, "the target is down", func() bool { return len(runtime.State().Down) == 1 })
	behind := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":2,"status":"Approved","key":"k"}`)
	head := relaytest.Summary(t, runtime, first).Deliveries[0].ID

	tried, err := replay.TryDelivery(t.Context(), runtime, strings.ToUpper(head))
	if err != nil || tried.Deliveries != 1 || !slices.Equal(tried.Tested, []string{target.URL}) || !saysAll(tried, target.URL+" is down", "tested with this delivery") {
		t.Errorf("trying one: %+v, %v", tried, err)
	}
	waitFor("the second attempt", attempts(first), 2)
	tried, err = replay.TryDelivery(t.Context(), runtime, behind)
	if err != nil || !saysAll(tried, "still waits for the delivery "+head) {
		t.Errorf("trying one behind it: %+v, %v", tried, err)
	}
	tried, err = replay.TryTarget(t.Context(), runtime, target.URL+"/")
	if err != nil || tried.Deliveries != 1 || !saysAll(tried, "is tested with one delivery now", "2 wait") {
		t.Errorf("trying the target: %+v, %v", tried, err)
	}
	waitFor("the third attempt", attempts(first), 3)

	// While its action is paused, and when it is on again.
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	if tried, err := replay.TryDelivery(t.Context(), runtime, first); err != nil || !saysAll(tried, "The action record is paused") {
		t.Errorf("trying what is paused: %+v, %v", tried, err)
	}
	comes()
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record"}, 0)
	if tried, err := replay.TryTarget(t.Context(), runtime, target.URL); err != nil || len(tried.Tested) != 1 {
		t.Errorf("trying a target that is back: %+v, %v", tried, err)
	}
	relaytest.WaitEnded(t, runtime)
	if got := target.Got(); got != "/record?id=1 /record?id=2" {
		t.Errorf("the target got %s", got)
	}
	if n := attempts(first)(); n != 4 {
		t.Errorf("it took %d attempts, want 4", n)
	}

	for _, id := range []string{first, head} {
		_, err := replay.TryDelivery(t.Context(), runtime, id)
		relaytest.CheckWrong(t, err, "delivery", "use resend")
	}
	if _, err := replay.TryDelivery(t.Context(), runtime, "01900000-0000-7000-8000-000000000000"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("an id that there is not: %v", err)
	}
	_, err = replay.TryTarget(t.Context(), runtime, "http://192.168.1.20")
	relaytest.CheckWrong(t, err, "target", target.URL)
	if tried, err := replay.TryTarget(t.Context(), runtime, target.URL); err != nil || !saysAll(tried, "No delivery waits") {
		t.Errorf("with nothing to try: %+v, %v", tried, err)
	}
}

// TestTryOnANodeThatDoesNotHaveTheAction: it is due, and another node carries it out.
func TestTryOnANodeThatDoesNotHaveTheAction(t *testing.T) {
	target := relaytest.NewService(t)
	target.Answer(http.StatusServiceUnavailable)
	shared := relaytest.NewNodes(t)
	configuration := relaytest.Configuration(target, "/record")
	configuration.Actions[0].RetryInterval = &config.RetryInterval{First: config.Duration(time.Hour), Cap: config.Duration(2 * time.Hour)}
	var err error
	if configuration.Snapshot, err = resolve.Snapshot(configuration.Relay); err != nil {
		t.Fatal(err)
	}
	b := shared.Open(t, "b")
	id := relaytest.Post(t, b, relaytest.Push(t, b, configuration), relaytest.Approved)
	processtest.WaitFor(t, "the first attempt", func() bool { return relaytest.Summary(t, b, id).Deliveries[0].Attempts == 1 })
	target.Answer(http.StatusOK)

	without := relaytest.Configuration(target, "/record")
	without.Actions[0].Name, without.Rules = "other", nil
	a := shared.Open(t, "a")
	relaytest.Push(t, a, without)
	tried, err := replay.TryDelivery(t.Context(), a, id)
	if err != nil || tried.Deliveries != 1 || !saysAll(tried, "has no action record", "carried out by b") {
		t.Errorf("trying gives %+v, %v", tried, err)
	}
	processtest.WaitFor(t, "the other node's attempt", func() bool { return target.Got() == "/record?id=1" })
}

// TestTryOnANodeThatOnlyReceives names the nodes that deliver.
func TestTryOnANodeThatOnlyReceives(t *testing.T) {
	shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
	receives := relaytest.Configuration(target, "/record")
	receives.Queue = &config.Queue{Engine: config.QueuePostgres, DSN: "host=db", ReceiveOnly: true}
	outside := shared.Open(t, "outside")
	id := relaytest.Post(t, outside, relaytest.Push(t, outside, receives), relaytest.Approved)
	relaytest.Find(t, outside, id)
	for _, try := range []func() (replay.Tried, error){
		func() (replay.Tried, error) { return replay.TryDelivery(t.Context(), outside, id) },
		func() (replay.Tried, error) { return replay.TryTarget(t.Context(), outside, target.URL) },
	} {
		if tried, err := try(); err != nil || !saysAll(tried, "only receives (deliver off)", "no other carries out deliveries of record") {
			t.Errorf("alone, trying gives %+v, %v", tried, err)
		}
	}
	delivers := relaytest.Configuration(target, "/record")
	var err error
	if delivers.Snapshot, err = resolve.Snapshot(delivers.Relay); err != nil {
		t.Fatal(err)
	}
	relaytest.Turn(t, outside, queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	inside := shared.Open(t, "inside")
	relaytest.Push(t, inside, delivers)
	if tried, err := replay.TryDelivery(t.Context(), outside, id); err != nil || !saysAll(tried, "is paused") {
		t.Errorf("paused, trying gives %+v, %v", tried, err)
	}
	relaytest.Turn(t, inside, queue.Switch{Kind: queue.SwitchAction, Name: "record"}, 0)
	relaytest.WaitEnded(t, inside)
	if target.Got() != "/record?id=1" {
		t.Errorf("the target got %q", target.Got())
	}
}
