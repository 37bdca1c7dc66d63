package replay_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/replay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// TestSend sends test events the whole way: the source reads them, rules and
// templates know them for what they are, and so does the target.
func TestSend(t *testing.T) {
	var mutex sync.Mutex
	var marked []string
	target := &relaytest.Service{Server: httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		marked = append(marked, r.Header.Get("X-Event-Test")+" "+r.URL.RequestURI())
	}))}
	t.Cleanup(target.Close)
	configured := relaytest.Configuration(target, "/record")
	configured.Sources = []config.Source{{
		Name: "erp", Events: []config.EventType{{Name: "order_paid"}}, Auth: []config.Credential{{Kind: auth.Bearer, Values: []string{"x"}}},
		NameFrom: "body.type", Fields: []config.Field{{Name: "order", Expression: `body.order ?? query.order`}},
		Dedupe: &config.Dedupe{Window: config.Duration(time.Hour)},
	}}
	configured.Addresses = map[string]string{"erp": "https://events.studio.example/listen.php"}
	configured.Actions[0].Query = []config.NameValue{{Name: "order", Value: "{{order}}"}, {Name: "test", Value: "{{test}}"}}
	configured.Rules = []config.Rule{{Place: "Caddyfile:1", Events: []string{"order_paid"}, When: []string{`order != nil`}, Do: []string{"record"}}}
	runtime := relaytest.Open(t, t.TempDir())
	relaytest.Push(t, runtime, configured)

	for _, test := range []struct {
		name     string
		event    replay.TestEvent
		decision rules.Decision
		requests []string
	}{
		{"a body", replay.TestEvent{Event: "order_paid", Body: `{"order":7}`, ContentType: "application/json"}, rules.Act, []string{"1 /record?order=7&test=true"}},
		{"the same again", replay.TestEvent{Event: "order_paid", Body: `{"order":7}`, ContentType: "application/json"}, rules.Act, []string{"1 /record?order=7&test=true"}},
		{"values", replay.TestEvent{Event: "Order Paid", Values: map[string]string{"order": "a&b"}}, rules.Act, []string{"1 /record?order=a%26b&test=true"}},
		{"a form", replay.TestEvent{Event: "order_paid", Body: "order=x", ContentType: "application/x-www-form-urlencoded"}, rules.Act, []string{"1 /record?order=x&test=true"}},
		{"nothing", replay.TestEvent{Event: "order_paid"}, rules.Ignored, nil},
		{"a batch", replay.TestEvent{Event: "order_paid", Body: `[{"order":1},{"order":1}]`}, rules.Act, []string{"1 /record?order=1&test=true", "1 /record?order=1&test=true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.event.Source = "erp"
			sent, err := replay.Send(t.Context(), runtime, test.event)
			if err != nil || len(sent.IDs) != max(len(test.requests), 1) {
				t.Fatalf("sent %+v, %v", sent, err)
			}
			for _, id := range sent.IDs {
				history := relaytest.Find(t, runtime, id)
				if detail := history.Summary; !detail.Test || detail.Event != "order_paid" || history.Event.Path != "/listen.php/order_paid" || detail.Verdict.Decision != test.decision || detail.DuplicateOf != "" {
					t.Errorf("stored as %+v", detail)
				}
			}
			processtest.WaitFor(t, "the requests", func() bool {
				mutex.Lock()
				defer mutex.Unlock()
				return len(marked) >= len(test.requests)
			})
			if !slices.Equal(marked, test.requests) {
				t.Errorf("the target got %q, want %q", marked, test.requests)
			}
			marked = nil
		})
	}

	for _, test := range []struct {
		event          replay.TestEvent
		field, problem string
	}{
		{replay.TestEvent{Source: "epr", Event: "order_paid"}, "source", "did you mean erp?"},
		{replay.TestEvent{Source: "erp", Event: "order_piad"}, "event", "did you mean order_paid?"},
		{replay.TestEvent{Source: "erp", Event: "order_*"}, "event", "name one"},
		{replay.TestEvent{Source: "erp"}, "event", "give the name"},
		{replay.TestEvent{Source: "erp", Event: "order_paid", Body: strings.Repeat("x", config.DefaultMaxBody+1)}, "body", "413"},
	} {
		_, err := replay.Send(t.Context(), runtime, test.event)
		relaytest.CheckWrong(t, err, test.field, test.problem)
	}
	if events := relaytest.Stored(t, runtime, queue.Filter{}); len(events) != 7 {
		t.Errorf("%d events are stored, want 7", len(events))
	}
}

// TestSendOwn tries whether an event of the relay itself would reach anybody.
func TestSendOwn(t *testing.T) {
	target := relaytest.NewService(t)
	configured := relaytest.Configuration(target, "/record")
	configured.Rules = []config.Rule{{Place: "Caddyfile:1", Events: []string{relay.TargetIsDown}, When: []string{`test and source == "relay"`}, Do: []string{"record"}}}
	configured.Actions[0].Query = []config.NameValue{{Name: "target", Value: "{{body.target}}"}, {Name: "note", Value: "{{query.note}}"}}
	runtime := relaytest.Open(t, t.TempDir())
	relaytest.Push(t, runtime, configured)
	sent, err := replay.Send(t.Context(), runtime, replay.TestEvent{Source: names.RelaySource, Event: "Target Down", Body: `{"target":"x"}`, Values: map[string]string{"note": "trial"}})
	if err != nil {
		t.Fatal(err)
	}
	processtest.WaitFor(t, "the request", func() bool { return target.Got() == "/record?target=x&note=trial" })
	if detail := relaytest.Summary(t, runtime, sent.IDs[0]); !detail.Test || detail.Event != relay.TargetIsDown {
		t.Errorf("stored as %+v", detail)
	}
	if _, err := replay.Send(t.Context(), runtime, replay.TestEvent{Source: names.RelaySource, Event: relay.TargetIsDown}); err != nil {
		t.Errorf("without a body: %v", err)
	}
	for _, body := range []string{"[1]", "{"} {
		_, err := replay.Send(t.Context(), runtime, replay.TestEvent{Source: names.RelaySource, Event: relay.TargetIsDown, Body: body})
		relaytest.CheckWrong(t, err, "body", "")
	}
}
