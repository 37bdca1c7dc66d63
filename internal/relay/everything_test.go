package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// counting is a service that counts the requests it answers with 200, by their
// Idempotency-Key. Each eleventh request gets 503.
type counting struct {
	*httptest.Server
	mutex    sync.Mutex
	requests int
	taken    map[string]int  // by key
	events   map[string]bool // of those that were taken
}

func newCounting(t *testing.T) *counting {
	c := &counting{taken: map[string]int{}, events: map[string]bool{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		if c.requests++; c.requests%11 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		c.taken[r.Header.Get("Idempotency-Key")]++
		c.events[r.Header.Get("X-Event-Id")] = true
	}))
	t.Cleanup(c.Close)
	return c
}

// everything is a relay behind its API, under reloads.
type everything struct {
	t       *testing.T
	runtime *relay.Runtime
	api     *httptest.Server
	good    *counting
	bad     *httptest.Server // which answers 503 to all

	stack relay.Stack

	until time.Time
	done  sync.WaitGroup
}

// generation is the configuration in its nth version. What is kept for the sender
// differs between them, so that deciding again has something to do.
func (e *everything) generation(n int) *relay.Generation {
	action := func(name, url string) config.Action {
		return config.Action{Name: name, Method: "POST", URL: url + "/" + name, RetryInterval: &config.RetryInterval{First: config.Duration(20 * time.Millisecond), Cap: config.Duration(50 * time.Millisecond)}}
	}
	generation, err := relay.Compile(relay.Configuration{
		Version:  fmt.Sprint(n),
		Snapshot: json.RawMessage(fmt.Sprintf(`{"version":%d}`, n)),
		Relay: config.Relay{MaxPending: 1_000_000, MinFree: config.MinFreeOff, Sources: []config.Source{{
			Name: "icfm", Preset: "icfm",
			Auth: []config.Credential{{Kind: auth.APIKey, In: auth.InQuery, Name: "key", Values: []string{"icfm-key"}}},
		}},
			Actions: []config.Action{
				action("record", e.good.URL), action("paused", e.good.URL), action("cancelled", e.good.URL), action("moved", e.bad.URL),
			},
			Rules: []config.Rule{
				{Place: "Caddyfile:1", Events: []string{"job_saved"}, When: []string{`body.to == "record"`}, Do: []string{"record"}},
				{Place: "Caddyfile:2", Events: []string{"job_saved"}, When: []string{`body.to == "paused"`}, Do: []string{"paused"}},
				{Place: "Caddyfile:3", Events: []string{"job_saved"}, When: []string{`body.to == "cancelled"`}, Do: []string{"cancelled"}},
				{Place: "Caddyfile:4", Events: []string{"job_saved"}, When: []string{`body.to == "moved"`}, Do: []string{"moved"}},
				{Place: "Caddyfile:5", Events: []string{"job_saved"}, When: []string{fmt.Sprintf(`body.to == "later" and body.n %% 3 == %d`, n%3)}, Do: []string{"record"}},
			},
			Retention: &config.Retention{Age: config.Duration(time.Hour), Size: 1 << 30},
		}})
	if err != nil {
		panic(err) // this is called by any goroutine
	}
	return generation
}

// replace puts a generation in service, as a reload does.
func (e *everything) replace(before, after *relay.Generation) {
	e.stack.Push(e.runtime, after)
	if before != nil {
		e.stack.Remove(before)
	}
}

// often does something again and again until the time is over, with a pause in
// between.
func (e *everything) often(pause time.Duration, do func(n int)) {
	e.done.Go(func() {
		for n := 0; time.Now().Before(e.until) && !e.t.Failed(); n++ {
			do(n)
			time.Sleep(pause)
		}
	})
}

// call calls the API, and fails the test if that does not answer 200.
func (e *everything) call(method, path, body string) []byte {
	request, err := http.NewRequest(method, e.api.URL+"/"+path, strings.NewReader(body))
	if err != nil {
		e.t.Error(err)
		return nil
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := e.api.Client().Do(request)
	if err != nil {
		e.t.Errorf("%s: %v", path, err)
		return nil
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		e.t.Errorf("%s is answered with %d %.500s (%v)", path, response.StatusCode, data, err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, `{"error"`) {
			e.t.Errorf("%s ends with %s", path, line)
		}
	}
	return data
}

// TestEverythingAtOnce does at once all that can be done with a relay. What was
// accepted must be delivered once, or cancelled if it was, and the check must find
// nothing meanwhile. EVENT_RELAY_EVERYTHING says for how long, such as 20s.
func TestEverythingAtOnce(t *testing.T) {
	long := 2 * time.Second
	if text := os.Getenv("EVENT_RELAY_EVERYTHING"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatalf("EVENT_RELAY_EVERYTHING: %v", err)
		}
	}
	e := &everything{t: t, runtime: relaytest.Open(t, t.TempDir()), good: newCounting(t)}
	e.bad = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(e.bad.Close)
	e.api = httptest.NewServer(api.NewAdminAPI(func() (api.Running, error) {
		return api.Running{Runtime: e.runtime, Ending: e.stack.Newest().Removed()}, nil
	}))
	t.Cleanup(e.api.Close)
	newest := e.generation(0)
	e.replace(nil, newest)
	merged := e.elsewhere()

	// What was accepted, by the id of the event: where it is to go.
	var accepted sync.Map
	var count atomic.Int64
	e.until = time.Now().Add(long)
	destinations := []string{"record", "paused", "cancelled", "moved", "later", "old"}
	for worker := range 3 {
		e.often(2*time.Millisecond, func(n int) {
			to := destinations[n%len(destinations)]
			path := to
			if to == "old" {
				path = "record"
			}
			id, err := e.post(fmt.Sprintf(`{"event":"job_saved","id":"%d-%d","n":%d,"to":"%s","text":"%s"}`, worker, n, n, path, strings.Repeat("x", n%3000)), to == "old")
			if err != nil {
				t.Errorf("an event is not accepted: %v", err)
				return
			}
			accepted.Store(id, to)
			count.Add(1)
		})
	}
	e.often(20*time.Millisecond, func(n int) {
		next := e.generation(n + 1)
		if n%4 == 3 { // a reload that fails
			e.stack.Push(e.runtime, next)
			e.stack.Remove(next)
			return
		}
		e.replace(newest, next)
		newest = next
	})
	e.often(10*time.Millisecond, func(n int) {
		e.call("POST", "switch", fmt.Sprintf(`{"kind":"action","name":"paused","off":%t,"reason":"again"}`, n%2 == 0))
	})
	e.often(30*time.Millisecond, func(int) { e.call("POST", "cancel", `{"action":"cancelled"}`) })
	e.often(30*time.Millisecond, func(int) { e.call("POST", "move", `{"from":"moved","to":"record"}`) })
	e.often(50*time.Millisecond, func(n int) {
		e.call("POST", "resend", fmt.Sprintf(`{"filter":{"state":"%s"},"dry_run":%t}`, []string{"failed", "cancelled"}[n%2], n%3 == 0))
	})
	e.often(50*time.Millisecond, func(n int) {
		e.call("POST", "decide", fmt.Sprintf(`{"filter":{"verdict":"ignored"},"dry_run":%t}`, n%2 == 0))
	})
	e.often(50*time.Millisecond, func(n int) {
		backup := string(e.call("GET", "backup", ""))
		if !strings.HasPrefix(backup, "SQLite format 3") {
			t.Errorf("a backup begins with %.100q", backup)
		}
		e.call("POST", "merge", []string{merged, backup}[n%2])
	})
	e.often(50*time.Millisecond, func(int) {
		var checked inspect.Checked
		if err := json.Unmarshal(e.call("GET", "check", ""), &checked); err != nil || len(checked.Database) > 0 {
			t.Errorf("the check finds %q (%v)", checked.Database, err)
		}
	})
	e.often(20*time.Millisecond, func(int) {
		if err := relay.PruneOnce(e.runtime, t.Context()); err != nil {
			t.Errorf("removing old activity: %v", err)
		}
	})
	for view := range 3 {
		e.often(time.Millisecond, func(n int) { e.watch(time.Duration(n*(view+1)%50) * time.Millisecond) })
	}
	for _, path := range []string{"activity?text=xxxx&n=50", "activity?state=delivered", "status", "backlog", "series", "fields?source=icfm&event=job_saved", "snapshots", "actions", "catalogue", "parameters", "rejections"} {
		e.often(20*time.Millisecond, func(int) { e.call("GET", path, "") })
	}
	e.done.Wait()

	e.call("POST", "switch", `{"kind":"action","name":"paused","off":false}`)
	e.call("POST", "move", `{"from":"moved","to":"record"}`)
	relaytest.WaitEnded(t, e.runtime)
	accepted.Range(func(id, to any) bool {
		e.checkEvent(id.(string), to.(string))
		return true
	})
	for key, n := range e.good.taken {
		if n != 1 {
			t.Errorf("delivery %s was made %d times", key, n)
		}
	}
	t.Logf("%d events were accepted, %d deliveries made", count.Load(), len(e.good.taken))
	if count.Load() == 0 {
		t.Error("no event was accepted")
	}
}

// post sends an event to the newest generation. One that is old is removed as soon
// as it is finished.
func (e *everything) post(body string, old bool) (id string, err error) {
	generation := e.runtime.Generation()
	request := httptest.NewRequest(http.MethodPost, "/listen.php?key=icfm-key", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	received, err := generation.Receiver.Receive(request, receive.Origin{Mount: "/listen.php"})
	if err != nil {
		return "", err
	}
	if old {
		received.Events[0].Received = time.Now().Add(-2 * time.Hour)
	}
	return received.Events[0].ID, e.runtime.Accept(e.t.Context(), generation, received)
}

// elsewhere returns a backup of another relay.
func (e *everything) elsewhere() string {
	other := relaytest.Open(e.t, e.t.TempDir())
	generation := e.generation(0)
	new(relay.Stack).Push(other, generation)
	for n := range 20 {
		relaytest.Post(e.t, other, generation, fmt.Sprintf(`{"event":"job_saved","id":%d,"to":"nowhere"}`, n))
	}
	file := filepath.Join(e.t.TempDir(), "other")
	if err := other.Store().(queue.Backuper).Backup(e.t.Context(), file); err != nil {
		e.t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(data)
}

// watch opens a live view, reads it for a while, and leaves.
func (e *everything) watch(long time.Duration) {
	ctx, leave := context.WithTimeout(e.t.Context(), long+time.Millisecond)
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.api.URL+"/live", nil)
	if err != nil {
		e.t.Error(err)
		return
	}
	response, err := e.api.Client().Do(request)
	if err != nil {
		if ctx.Err() == nil {
			e.t.Errorf("opening a live view: %v", err)
		}
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		e.t.Errorf("a live view is answered with %s", response.Status)
	}
	_, _ = io.Copy(io.Discard, response.Body)
}

// checkEvent checks what became of an event.
func (e *everything) checkEvent(id, to string) {
	detail, err := inspect.Show(e.t.Context(), e.runtime, id)
	if to == "old" {
		if !e.good.events[id] {
			e.t.Errorf("the old event %s was not delivered (%v)", id, err)
		}
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			e.t.Error(err)
		}
		return
	}
	if err != nil {
		e.t.Errorf("the event %s to %s: %v", id, to, err)
		return
	}
	if len(detail.Deliveries) == 0 && to != "later" {
		e.t.Errorf("the event %s to %s has no delivery", id, to)
	}
	for _, delivery := range detail.Deliveries {
		taken := e.good.taken[delivery.ID]
		switch {
		case delivery.State == queue.Delivered && taken == 1:
		case delivery.State == queue.Cancelled && to == "cancelled":
			// An attempt that was under way ends by itself.
		default:
			e.t.Errorf("delivery %s of event %s to %s is %s and was made %d times: %s", delivery.ID, id, to, delivery.State, taken, delivery.Error)
		}
	}
}
