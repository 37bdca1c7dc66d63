package relay

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

// TestRetentionIsThatOfTheNewestGeneration prunes under three configurations:
// one that keeps, one that keeps nothing, and one that wants next to no bytes.
// What is still to be delivered stays throughout.
func TestRetentionIsThatOfTheNewestGeneration(t *testing.T) {
	runtime, err := Open(sqlite.Store{Dir: t.TempDir()}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close()
	with := func(retention *config.Retention) *Generation {
		generation, err := Compile(Configuration{Relay: config.Relay{
			Sources:   []config.Source{{Name: "icfm", Preset: "icfm", Auth: []config.Credential{{Kind: auth.None}}}},
			Actions:   []config.Action{{Name: "record", Method: "POST", URL: "http://127.0.0.1:1/"}},
			Rules:     []config.Rule{{Place: "Caddyfile:1", Events: []string{"job_completed"}, Do: []string{"record"}}},
			Retention: retention,
		}})
		if err != nil {
			t.Fatal(err)
		}
		return generation
	}
	keeping := with(&config.Retention{Age: config.Duration(time.Hour), Size: 1 << 30})
	post := func(event string) {
		request := httptest.NewRequest("POST", "/"+event, strings.NewReader("{}"))
		received, err := keeping.Receiver.Receive(request, receive.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		if err := runtime.Accept(t.Context(), keeping, received); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() (names []string) {
		page, err := runtime.Store().Page(t.Context(), queue.Filter{}, queue.NewestFirst, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range page.Events {
			names = append(names, event.Event)
		}
		return names
	}
	// Nothing is pushed yet, so that the delivery waits.
	post("job_completed")
	post("job_saved")
	post("job_saved")

	for _, step := range []struct {
		name      string
		retention *config.Retention
		want      string
	}{
		{"no configuration", nil, "job_saved job_saved job_completed"},
		{"an hour", &config.Retention{Age: config.Duration(time.Hour), Size: 1 << 30}, "job_saved job_saved job_completed"},
		{"nothing", &config.Retention{Age: config.Duration(time.Nanosecond), Size: 1 << 30}, "job_completed"},
	} {
		if step.retention != nil {
			// Only what Push does to retention: the dispatcher stays idle.
			runtime.newest.Store(with(step.retention))
		}
		if err := runtime.pruneOnce(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := strings.Join(kept(), " "); got != step.want {
			t.Errorf("%s: %q is kept, want %q", step.name, got, step.want)
		}
	}
	post("job_saved")
	runtime.newest.Store(with(&config.Retention{Age: config.Duration(time.Hour), Size: 1}))
	if err := runtime.pruneOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(kept(), " "); got != "job_completed" {
		t.Errorf("with one byte of history, %q is kept, want job_completed", got)
	}
}
