package relay

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/rules"
)

// ownConfiguration sends job_saved to a service and the relay's own events to a
// mail service.
func ownConfiguration(service, mail string) Configuration {
	return Configuration{Relay: config.Relay{
		Sources: []config.Source{{Name: "icfm", Preset: "icfm", Auth: []config.Credential{{Kind: auth.None}}}},
		Actions: []config.Action{
			{Name: "record", Method: "POST", URL: service + "/record", RetryFor: -1, Timeout: config.Duration(5 * time.Second)},
			{Name: "mail", Method: "POST", URL: mail + "/mail", Body: &config.Body{Kind: config.BodyForward},
				Headers: []config.NameValue{{Name: "X-Event", Value: "{{event}}"}}, RetryFor: -1, Timeout: config.Duration(5 * time.Second)},
		},
		Rules: []config.Rule{
			{Place: "Caddyfile:1", Events: []string{"job_saved"}, Do: []string{"record"}},
			{Place: "Caddyfile:2", Events: []string{"relay:*"}, Do: []string{"mail"}},
		},
		Retention: &config.Retention{Age: config.Duration(time.Hour), Size: 1 << 30},
	}}
}

// mails is a service that keeps what it is sent, by event.
type mails struct {
	*httptest.Server
	mutex sync.Mutex
	got   []mailed
}

type mailed struct {
	event string
	body  map[string]any
}

func newMails(t *testing.T) *mails {
	m := new(mails)
	m.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		one := mailed{event: r.Header.Get("X-Event")}
		_ = json.NewDecoder(r.Body).Decode(&one.body)
		m.mutex.Lock()
		defer m.mutex.Unlock()
		m.got = append(m.got, one)
	}))
	t.Cleanup(m.Close)
	return m
}

// of returns the bodies of the mails about an event.
func (m *mails) of(event string) (bodies []map[string]any) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, one := range m.got {
		if one.event == event {
			bodies = append(bodies, one.body)
		}
	}
	return bodies
}

func openRuntime(t *testing.T, directory string) *Runtime {
	t.Helper()
	runtime, err := Open(sqlite.Store{Dir: directory}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.Close() })
	return runtime
}

func push(t *testing.T, runtime *Runtime, configuration Configuration) *Generation {
	t.Helper()
	generation, err := Compile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	new(Stack).Push(runtime, generation)
	return generation
}

// happen posts an event as a source does, and returns its id.
func happen(t *testing.T, runtime *Runtime, generation *Generation, event, body string) string {
	t.Helper()
	request := httptest.NewRequest("POST", "/"+event, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	received, err := generation.Receiver.Receive(request, receive.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Accept(t.Context(), generation, received); err != nil {
		t.Fatal(err)
	}
	return received.Events[0].ID
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ownEvents returns the names of the relay's own events that are stored, oldest
// first.
func ownEvents(t *testing.T, runtime *Runtime) []string {
	t.Helper()
	page, err := runtime.Store().Page(t.Context(), queue.Filter{Source: names.RelaySource}, queue.NewestFirst, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, event := range slices.Backward(page.Events) {
		names = append(names, event.Event)
	}
	return names
}

func attempts(t *testing.T, runtime *Runtime, action, result string) uint64 {
	t.Helper()
	return uint64(Samples(t, runtime.metrics, new(Stack))["attempts_total{"+action+","+result+"}"])
}

// TestFailedDeliveriesAreReportedTogether: the first failure is reported at once, the
// others of a minute with one event.
func TestFailedDeliveriesAreReportedTogether(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer refusing.Close()
	mail := newMails(t)
	runtime := openRuntime(t, t.TempDir())
	configuration := ownConfiguration(refusing.URL, mail.URL)
	var emitted atomic.Int64
	configuration.Emit = func(name string, data map[string]any) {
		if name == EmitFailed && data["action"] == "record" {
			emitted.Add(1)
		}
	}
	generation := push(t, runtime, configuration)
	first := happen(t, runtime, generation, "job_saved", `{"tenant":"north","job_id":730114}`)
	until(t, "the first mail", func() bool { return len(mail.of(DeliveryFailed)) == 1 })

	const more = 5
	var last string
	for i := range more {
		last = happen(t, runtime, generation, "job_saved", `{}`)
		until(t, "the next failure", func() bool { return attempts(t, runtime, "record", "failed") == uint64(i)+2 })
	}
	runtime.watch.report(t.Context(), time.Now().Add(reportEvery-10*time.Second))
	if got := ownEvents(t, runtime); len(got) != 1 {
		t.Fatalf("within a minute there are %v, want one event", got)
	}
	runtime.watch.report(t.Context(), time.Now().Add(reportEvery))
	until(t, "the second mail", func() bool { return len(mail.of(DeliveryFailed)) == 2 })
	// However long nothing fails, nothing is reported.
	runtime.watch.report(t.Context(), time.Now().Add(3*reportEvery))
	if got := ownEvents(t, runtime); len(got) != 2 {
		t.Fatalf("there are %v, want two events", got)
	}

	bodies := mail.of(DeliveryFailed)
	for i, want := range []struct {
		count float64
		id    string
	}{{1, first}, {more, last}} {
		body := bodies[i]
		event, _ := body["event"].(map[string]any)
		if body["count"] != want.count || event["id"] != want.id || event["source"] != "icfm" || event["name"] != "job_saved" {
			t.Errorf("mail %d says %v, want %v deliveries, the last one of %s", i, body, want.count, want.id)
		}
		if body["action"] != "record" || body["target"] != refusing.URL || body["status"] != float64(http.StatusTeapot) || !strings.Contains(fmt.Sprint(body["error"]), "418") {
			t.Errorf("mail %d says %v, which is not what happened", i, body)
		}
	}
	of := bodies[0]["event"].(map[string]any)
	if of["tenant"] != "north" || of["subject"] != "Job 730114" {
		t.Errorf("the first is about %v, want tenant north and job 730114", of)
	}
	var subjects []string
	page, err := runtime.Store().Page(t.Context(), queue.Filter{Source: names.RelaySource}, queue.NewestFirst, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range page.Events {
		subjects = append(subjects, own.Subject)
	}
	slices.Sort(subjects)
	if want := []string{"record: Job 730114", fmt.Sprintf("record: job_saved (and %d more)", more-1)}; !slices.Equal(subjects, want) {
		t.Errorf("the subjects are %q, want %q", subjects, want)
	}
	until(t, "each failure to be emitted", func() bool { return emitted.Load() == more+1 })
}

// TestHangingSubscriber: a subscriber of Emit that does not return holds up
// neither deliveries nor events nor the end.
func TestHangingSubscriber(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer refusing.Close()
	mail := newMails(t)
	runtime := openRuntime(t, t.TempDir())
	configuration := ownConfiguration(refusing.URL, mail.URL)
	hang := make(chan struct{})
	defer close(hang)
	configuration.Emit = func(string, map[string]any) { <-hang }
	generation := push(t, runtime, configuration)
	for i := range 3 {
		happen(t, runtime, generation, "job_saved", `{}`)
		until(t, "the failure", func() bool { return attempts(t, runtime, "record", "failed") == uint64(i)+1 })
	}
	until(t, "the mail", func() bool { return len(mail.of(DeliveryFailed)) == 1 })
	for range 2 * mostToEmit {
		runtime.watch.emit(generation, EmitFailed, nil)
	}
	if missed := runtime.watch.missed.Load(); missed < mostToEmit {
		t.Errorf("only %d emissions were left out", missed)
	}
	if err := runtime.Close(); err != nil {
		t.Error(err)
	}
}

// unreachable returns the URL of a target at which nobody listens.
func unreachable(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "http://" + listener.Addr().String()
}

func TestTargetsDownAndUpAreTold(t *testing.T) {
	mail := newMails(t)
	runtime := openRuntime(t, t.TempDir())
	away := unreachable(t)
	configuration := ownConfiguration(away, mail.URL)
	configuration.Actions[0].RetryFor = config.Duration(time.Hour)
	configuration.Actions[0].RetryInterval = &config.RetryInterval{First: config.Duration(time.Millisecond), Cap: config.Duration(10 * time.Millisecond)}
	var emitted atomic.Value
	configuration.Emit = func(name string, data map[string]any) {
		if name == EmitTargetDown {
			emitted.Store(data["target"])
		}
	}
	generation := push(t, runtime, configuration)
	happen(t, runtime, generation, "job_saved", `{}`)
	until(t, "mail that the target is down", func() bool { return len(mail.of(TargetIsDown)) == 1 })
	until(t, "the same to be emitted", func() bool { return emitted.Load() == away })
	body := mail.of(TargetIsDown)[0]
	if body["target"] != away || body["action"] != "record" || body["error"] == "" || body["since"] == nil {
		t.Errorf("the mail says %v", body)
	}
	if down := runtime.watch.down(generation); len(down) != 1 || down[0].Target != away || down[0].Since.IsZero() {
		t.Errorf("down are %+v, want %s", down, away)
	}
	// Time alone makes no further mail.
	runtime.watch.report(t.Context(), time.Now().Add(time.Hour))

	listener, err := net.Listen("tcp", strings.TrimPrefix(away, "http://"))
	if err != nil {
		t.Skip("the port was taken meanwhile")
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	server.Start()
	defer server.Close()
	until(t, "mail that the target is up", func() bool { return len(mail.of(TargetIsUp)) == 1 })
	if body := mail.of(TargetIsUp)[0]; body["target"] != away || body["down_for"] == nil {
		t.Errorf("the mail says %v", body)
	}
	if down := runtime.watch.down(generation); len(down) != 0 {
		t.Errorf("down are %+v, want none", down)
	}
	if got := ownEvents(t, runtime); !slices.Equal(got, []string{TargetIsDown, TargetIsUp}) {
		t.Errorf("own events %v", got)
	}
}

// TestOwnEventsMakeNoLoop has the mails about failures fail themselves, in each
// way they can.
func TestOwnEventsMakeNoLoop(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer refusing.Close()
	away := unreachable(t)
	for _, test := range []struct {
		name, service, mail string
		want                []string
		failed              uint64 // mails
	}{
		{"mails are refused", refusing.URL, refusing.URL, []string{DeliveryFailed}, 1},
		{"the mail service is down", refusing.URL, away, []string{DeliveryFailed, TargetIsDown}, 2},
		{"all is down", away, away, []string{TargetIsDown, DeliveryFailed}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			runtime := openRuntime(t, t.TempDir())
			generation := push(t, runtime, ownConfiguration(test.service, test.mail))
			happen(t, runtime, generation, "job_saved", `{}`)
			until(t, "all mails to fail", func() bool {
				backlog, err := runtime.Store().Backlog(t.Context())
				return err == nil && len(backlog) == 0 && attempts(t, runtime, "mail", "failed") == test.failed
			})
			for i := range 5 {
				runtime.watch.report(t.Context(), time.Now().Add(time.Duration(i+1)*2*reportEvery))
			}
			got := ownEvents(t, runtime)
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("own events %v, want %v", got, test.want)
			}
		})
	}
}

// TestFlappingTargetIsReportedOnceAMinute: of a target that comes and goes, and of
// one that only the mails about it find down, administrators get few mails.
func TestFlappingTargetIsReportedOnceAMinute(t *testing.T) {
	runtime := openRuntime(t, t.TempDir())
	generation := push(t, runtime, ownConfiguration("http://127.0.0.1:1", "http://127.0.0.1:1"))
	target := generation.Actions[0].Targets()[0]
	change := func(down bool, event *event.Event) {
		runtime.watch.target(forward.TargetChange{Target: target, Action: "mail", Down: down, Event: event, Error: "refused"})
	}
	w := runtime.watch
	now := time.Now()
	reported := func(at time.Duration) (names []string) {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		for _, fact := range w.targetFacts(generation, now.Add(at), func(time.Time) {}) {
			names = append(names, fact.name)
		}
		return names
	}
	runtime.use(nil) // so that only this test reports
	about, err := generation.OwnEvent(TargetIsDown, now, map[string]any{"target": target})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at   time.Duration
		down bool
		by   *event.Event
		want string
	}{
		{0, true, nil, TargetIsDown},
		{time.Second, false, nil, TargetIsUp},
		{2 * time.Second, true, nil, ""},
		{3 * time.Second, false, nil, ""},
		{4 * time.Second, true, nil, ""},
		{61 * time.Second, true, nil, TargetIsDown}, // a second way there
		{62 * time.Second, false, nil, ""},
		{63 * time.Second, false, about, TargetIsUp},
		{3 * time.Minute, true, about, ""},
		{4 * time.Minute, false, about, ""},
		{5 * time.Minute, true, nil, TargetIsDown},
	} {
		change(step.down, step.by)
		if got := strings.Join(reported(step.at), " "); got != step.want {
			t.Errorf("at %s: reported %q, want %q", step.at, got, step.want)
		}
	}
}

// TestNewsOfATargetMayOvertake: the last news of a target is not always what
// happened last, and nobody must take it for down ever after.
func TestNewsOfATargetMayOvertake(t *testing.T) {
	runtime := openRuntime(t, t.TempDir())
	generation := push(t, runtime, ownConfiguration("http://127.0.0.1:1", "http://127.0.0.1:1"))
	target := generation.Actions[0].Targets()[0]
	runtime.watch.target(forward.TargetChange{Target: target, Action: "record", DownFor: time.Millisecond})
	runtime.watch.report(t.Context(), time.Now().Add(time.Hour))
	runtime.watch.target(forward.TargetChange{Target: target, Action: "record", Down: true, Error: "refused"})
	if down := runtime.watch.down(generation); len(down) != 0 {
		t.Errorf("down are %+v, want none", down)
	}
	runtime.watch.report(t.Context(), time.Now().Add(time.Hour))
	if got := ownEvents(t, runtime); len(got) != 0 {
		t.Errorf("own events %v, want none", got)
	}
	runtime.watch.target(forward.TargetChange{Target: target, Action: "record", Down: true, Error: "refused"})
	if down := runtime.watch.down(generation); len(down) != 1 {
		t.Errorf("down are %+v, want %s", down, target)
	}
}

func TestOwnSourceIsReserved(t *testing.T) {
	configuration := ownConfiguration("http://127.0.0.1:1", "http://127.0.0.1:1")
	configuration.Sources[0].Name = names.RelaySource
	if _, err := Compile(configuration); err == nil || !strings.Contains(err.Error(), "choose another") {
		t.Errorf("a source called relay: %v", err)
	}
}

// TestSwitchedOffRelayTellsNobody: its own events are stored, as all are.
func TestSwitchedOffRelayTellsNobody(t *testing.T) {
	mail := newMails(t)
	runtime := openRuntime(t, t.TempDir())
	configuration := ownConfiguration("http://127.0.0.1:1", mail.URL)
	configuration.Disabled = true
	configuration.Sources[0].Quiet = 1
	push(t, runtime, configuration)
	until(t, "the event", func() bool { return len(ownEvents(t, runtime)) == 1 })
	page, err := runtime.Store().Page(t.Context(), queue.Filter{Source: names.RelaySource}, queue.NewestFirst, "", 1)
	if err != nil || page.Events[0].Verdict.Decision != rules.Disabled {
		t.Errorf("the event is %+v, %v; want it disabled", page.Events, err)
	}
}

func TestQuietSource(t *testing.T) {
	directory := t.TempDir()
	configuration := ownConfiguration("http://127.0.0.1:1", "http://127.0.0.1:1")
	configuration.Rules = nil
	configuration.Sources[0].Quiet = config.Duration(time.Hour)
	runtime := openRuntime(t, directory)
	generation := push(t, runtime, configuration)
	count := func(after time.Duration) int {
		t.Helper()
		runtime.watch.report(t.Context(), time.Now().Add(after))
		return len(ownEvents(t, runtime))
	}
	quiet := func(after time.Duration) int { return len(runtime.watch.silent(generation, time.Now().Add(after))) }
	if got := count(59 * time.Minute); got != 0 || quiet(59*time.Minute) != 0 {
		t.Errorf("before the hour is over there are %d events, %d sources are quiet; want none", got, quiet(59*time.Minute))
	}
	if got := count(61 * time.Minute); got != 1 || quiet(61*time.Minute) != 1 {
		t.Errorf("after an hour there are %d events, %d sources are quiet; want 1 and 1", got, quiet(61*time.Minute))
	}
	if got := count(5 * time.Hour); got != 1 {
		t.Errorf("after five hours there are %d events, want still 1", got)
	}
	generation = push(t, runtime, configuration)
	if got := count(5 * time.Hour); got != 1 {
		t.Errorf("after a reload there are %d events, want still 1", got)
	}
	happen(t, runtime, generation, "job_saved", `{}`) // which is ignored
	if got := count(59 * time.Minute); got != 1 || quiet(59*time.Minute) != 0 {
		t.Errorf("after another event there are %d events, %d sources are quiet; want 1 and none", got, quiet(59*time.Minute))
	}
	if got := count(61 * time.Minute); got != 2 {
		t.Errorf("silent again, there are %d events, want 2", got)
	}

	// After a restart the history says when the last event of the source came.
	last := runtime.watch.lastEvent("icfm")
	if err := runtime.Close(); err != nil {
		t.Fatal(err)
	}
	runtime = openRuntime(t, directory)
	generation = push(t, runtime, configuration)
	until(t, "the source to be known", func() bool { return len(runtime.watch.silent(generation, last.Add(61*time.Minute))) == 1 })
	if silent := runtime.watch.silent(generation, last.Add(61*time.Minute)); silent[0].Last.UnixMilli() != last.UnixMilli() {
		t.Errorf("the last event came at %v, want %v", silent[0].Last, last)
	}
	if got := count(61 * time.Minute); got != 2 {
		t.Errorf("after a restart there are %d events, want still 2", got)
	}
}

func TestMetricsTellWhatIsWrong(t *testing.T) {
	const lan = "http://127.0.0.1:9000"
	configuration := ownConfiguration(lan, "http://127.0.0.1:9001")
	// Nothing is to be sent, by which more targets would be found down.
	configuration.Rules = nil
	configuration.Sources = append(configuration.Sources, config.Source{Name: "erp", Quiet: config.Duration(time.Hour), Auth: []config.Credential{{Kind: auth.None}}})
	configuration.Sources[0].Quiet = config.Duration(time.Millisecond)
	runtime := openRuntime(t, t.TempDir())
	generation, err := Compile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	var stack Stack
	stack.Push(runtime, generation)
	runtime.watch.target(forward.TargetChange{Target: lan, Action: "record", Down: true, Error: "refused"})
	want := map[string]float64{"targets_down{record}": 1, "targets_down{mail}": 0, "source_quiet{icfm}": 1, "source_quiet{erp}": 0}
	until(t, "what is wrong to be seen", func() bool {
		samples := Samples(t, runtime.metrics, &stack)
		maps.DeleteFunc(samples, func(name string, _ float64) bool {
			return !strings.HasPrefix(name, "targets_down") && !strings.HasPrefix(name, "source_quiet")
		})
		return maps.Equal(samples, want)
	})
}
