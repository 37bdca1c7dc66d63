package inspect

import (
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

func TestStatus(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	if _, err := StatusOf(t.Context(), runtime); err == nil {
		t.Error("there is a status without a configuration")
	}
	configuration := relaytest.Configuration(relaytest.NewService(t), "/record")
	configuration.Version = "v1.2.3"
	configuration.Rules = nil
	configuration.Sources[0].Quiet = 1
	configuration.MaxPending, configuration.MinFree = 9, config.MinFreeOff
	generation := relaytest.Push(t, runtime, configuration)
	processtest.WaitFor(t, "the source to be found quiet", func() bool { return len(runtime.State().Quiet) == 1 })
	relaytest.Accept(t, runtime, generation, relaytest.Event("job_saved", `{}`), relaytest.Event("job_saved", `{}`))
	var status Status
	processtest.WaitFor(t, "the events to be counted", func() bool {
		var err error
		if status, err = StatusOf(t.Context(), runtime); err != nil {
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
