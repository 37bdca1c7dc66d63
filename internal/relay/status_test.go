package relay

import (
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/rules"
)

func TestStatus(t *testing.T) {
	runtime := openRuntime(t, t.TempDir())
	if _, err := runtime.Status(t.Context()); err == nil {
		t.Error("there is a status without a configuration")
	}
	configuration := ownConfiguration("http://127.0.0.1:1", "http://127.0.0.1:1")
	configuration.Version = "v1.2.3"
	configuration.Rules = nil
	configuration.Quiet = map[string]time.Duration{"icfm": time.Nanosecond}
	configuration.Limits = Limits{MaxPending: 9, MinFree: -1}
	generation := push(t, runtime, configuration)
	until(t, "the source to be found quiet", func() bool { return len(runtime.watch.silent(generation, time.Now())) == 1 })
	accept(t, runtime, generation, orderless("job_saved", `{}`), orderless("job_saved", `{}`))
	var status Status
	until(t, "the events to be counted", func() bool {
		var err error
		if status, err = runtime.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		return status.LastHour[string(rules.Ignored)] >= 2
	})
	if status.Version != "v1.2.3" || status.Started.IsZero() || status.Loaded.Before(status.Started) || status.Off {
		t.Errorf("the status is %+v", status)
	}
	if status.Switches == nil || status.Backlog == nil || status.Down == nil || len(status.Quiet) != 1 || status.Quiet[0].Source != "icfm" {
		t.Errorf("the status is %+v", status)
	}
	if status.RetentionSeconds != 3600 || status.RetentionBytes != 1<<30 || status.MaxPending != 9 || status.MinFree != -1 || status.Queue.Dir == "" {
		t.Errorf("the status is %+v", status)
	}
}
