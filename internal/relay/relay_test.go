package relay_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// service is a LAN service that remembers what it was sent.
type service struct {
	*httptest.Server
	mutex    sync.Mutex
	requests []string
}

func newService(t *testing.T) *service {
	s := new(service)
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.requests = append(s.requests, r.URL.RequestURI())
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) got() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return strings.Join(s.requests, " ")
}

// configuration is one source and one action that calls path.
func configuration(s *service, path string) relay.Configuration {
	return relay.Configuration{
		Sources: []receive.Source{{
			Name: "icfm", Preset: "icfm",
			Credentials: []receive.Credential{{Kind: receive.APIKey, In: receive.InQuery, Name: "key", Values: []string{"icfm-key"}}},
		}},
		Actions: []forward.Action{{
			Name: "record", Method: "POST", URL: s.URL + path, Query: []forward.Pair{{Name: "id", Value: "{{body.id}}"}},
		}},
		Rules: []rules.Rule{
			{Place: "Caddyfile:1", Events: []string{"job_saved"}, When: []string{`body.status == "Approved"`}, Do: []string{"record"}},
			{Place: "Caddyfile:2", Events: []string{"dmg_*"}, Ignore: true, IgnoreReason: "not automated"},
		},
		Retention: relay.Retention{Age: time.Hour, Size: 1 << 30},
	}
}

func compile(t *testing.T, configuration relay.Configuration) *relay.Generation {
	t.Helper()
	generation, err := relay.Compile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	return generation
}

func open(t *testing.T, directory string) *relay.Runtime {
	t.Helper()
	runtime, err := relay.Open(relay.Storage{Directory: directory, Required: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	return runtime
}

// post sends an event the way a sender does and returns its id.
func post(t *testing.T, runtime *relay.Runtime, generation *relay.Generation, body string) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/listen.php?key=icfm-key", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	received, err := generation.Receive(request, receive.Origin{Mount: "/listen.php"})
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Accept(t.Context(), generation, received); err != nil {
		t.Fatal(err)
	}
	return received.Events[0].ID
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func show(t *testing.T, runtime *relay.Runtime, id string) relay.Detail {
	t.Helper()
	var detail relay.Detail
	waitFor(t, "the event in the activity", func() bool {
		var err error
		detail, err = runtime.Show(context.Background(), id)
		return err == nil
	})
	return detail
}

func TestEventGoesItsWay(t *testing.T) {
	target := newService(t)
	runtime := open(t, t.TempDir())
	generation := compile(t, configuration(target, "/record"))
	runtime.Push(generation)

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
			id := post(t, runtime, generation, test.body)
			detail := show(t, runtime, id)
			if got := detail.Verdict; got.Decision != test.decision || got.Rule != test.rule {
				t.Errorf("verdict %+v, want %s by %q", got, test.decision, test.rule)
			}
			if detail.Request.Body != test.body {
				t.Errorf("stored body %q, want %q", detail.Request.Body, test.body)
			}
			waitFor(t, "deliveries to end", func() bool {
				waiting, err := runtime.Backlog(t.Context())
				return err == nil && len(waiting) == 0
			})
			if got := target.got(); got != test.requests {
				t.Errorf("target got %q, want %q", got, test.requests)
			}
		})
	}
}

func TestSwitchedOffRelayStoresAndDoesNothing(t *testing.T) {
	target := newService(t)
	runtime := open(t, t.TempDir())
	off := configuration(target, "/record")
	off.Off = true
	generation := compile(t, off)
	runtime.Push(generation)
	id := post(t, runtime, generation, `{"event":"job_saved","id":1,"status":"Approved"}`)
	if detail := show(t, runtime, id); detail.Verdict.Decision != rules.Disabled || len(detail.Deliveries) > 0 {
		t.Errorf("verdict %+v with %d deliveries, want disabled with none", detail.Verdict, len(detail.Deliveries))
	}
}

// TestDeliveriesOutliveTheirAction removes an action while deliveries of it
// wait, and brings it back: they are held meanwhile, and then carried out as
// the action now says.
func TestDeliveriesOutliveTheirAction(t *testing.T) {
	target := newService(t)
	directory := t.TempDir()
	runtime := open(t, directory)
	old := compile(t, configuration(target, "/old"))
	without := configuration(target, "/none")
	without.Actions, without.Rules = nil, nil
	runtime.Push(compile(t, without))
	id := post(t, runtime, old, `{"event":"job_saved","id":1,"status":"Approved"}`)

	backlog, err := runtime.Backlog(t.Context())
	if err != nil || len(backlog) != 1 || backlog[0].Action != "record" || backlog[0].Count != 1 {
		t.Fatalf("backlog %+v, %v; want one delivery of record", backlog, err)
	}
	runtime.Push(compile(t, configuration(target, "/new")))
	waitFor(t, "the delivery to end", func() bool {
		return show(t, runtime, id).Deliveries[0].State == queue.Delivered
	})
	if got := target.got(); got != "/new?id=1" {
		t.Errorf("target got %q, want /new?id=1", got)
	}
}

// TestRemovedGenerationRevivesTheOneBelow is what a failed reload does.
func TestRemovedGenerationRevivesTheOneBelow(t *testing.T) {
	target := newService(t)
	runtime := open(t, t.TempDir())
	first := compile(t, configuration(target, "/first"))
	second := compile(t, configuration(target, "/second"))
	runtime.Push(first)
	runtime.Push(second)
	if runtime.Newest() != second {
		t.Error("the pushed generation is not the newest")
	}
	runtime.Remove(second)
	runtime.Remove(second)
	if runtime.Newest() != first {
		t.Error("the first generation was not revived")
	}
	post(t, runtime, first, `{"event":"job_saved","id":1,"status":"Approved"}`)
	waitFor(t, "the delivery", func() bool { return target.got() == "/first?id=1" })
	runtime.Remove(first)
	if runtime.Newest() != nil {
		t.Error("there is a newest generation after the last was removed")
	}
}

// TestCompileReportsEverything checks that mistakes in different rooms come
// together, each with its place.
func TestCompileReportsEverything(t *testing.T) {
	wrong := configuration(newService(t), "/record")
	wrong.Sources[0].Credentials = nil
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
	target := newService(t)
	two := configuration(target, "/record")
	two.Sources = append(two.Sources, receive.Source{Name: "lobby", Events: []event.Type{{Name: "door_opened"}},
		Credentials: []receive.Credential{{Kind: receive.None}}})
	generation := compile(t, two)
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
	target := newService(t)
	runtime := open(t, t.TempDir())
	on := configuration(target, "/record")
	on.Sources[0].DedupeWindow, on.Sources[0].DedupeKey = time.Hour, "body.id"
	off := on
	off.Off = true
	body := `{"event":"job_saved","id":1,"status":"Approved"}`
	disabled, enabled := compile(t, off), compile(t, on)
	runtime.Push(disabled)
	post(t, runtime, disabled, body)
	runtime.Push(enabled)
	post(t, runtime, enabled, body)
	waitFor(t, "the delivery", func() bool { return target.got() == "/record?id=1" })
	id := post(t, runtime, enabled, body)
	if detail := show(t, runtime, id); detail.DuplicateOf == "" || len(detail.Deliveries) > 0 {
		t.Errorf("a repeated event is %+v, want a duplicate without deliveries", detail.Summary)
	}
}
