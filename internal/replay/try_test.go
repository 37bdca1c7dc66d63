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
