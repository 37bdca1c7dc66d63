package inspect

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/internal/relay"
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

// TestStatusOfFailures: what failed for good calls for a look, unless it was a test.
func TestStatusOfFailures(t *testing.T) {
	service := relaytest.NewService(t)
	service.Answer(http.StatusUnprocessableEntity)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(service, "/record"))
	test := relaytest.Event("job_saved", `{"status":"Approved","id":1}`)
	test.Test = true
	relaytest.Accept(t, runtime, generation, test)
	relaytest.WaitEnded(t, runtime)
	if status, err := StatusOf(t.Context(), runtime); err != nil || status.Failed == nil || len(status.Failed) != 0 {
		t.Errorf("after a test: %+v, %v", status.Failed, err)
	}
	relaytest.Accept(t, runtime, generation, relaytest.Event("job_saved", `{"status":"Approved","id":2}`), relaytest.Event("job_saved", `{"status":"Approved","id":3}`))
	relaytest.WaitEnded(t, runtime)
	status, err := StatusOf(t.Context(), runtime)
	if err != nil || len(status.Failed) != 1 || status.Failed[0].Action != "record" || status.Failed[0].Count != 2 || status.Failed[0].More || status.Failed[0].Last.IsZero() {
		t.Errorf("got %+v, %v", status.Failed, err)
	}
	if later, err := failedLately(t.Context(), runtime, time.Now().Add(failedWithin+time.Minute)); err != nil || len(later) != 0 {
		t.Errorf("a day later: %+v, %v", later, err)
	}
}

// goneStore opens a queue whose storage cannot be reached any more.
type goneStore struct{ queue.Store }

func (s goneStore) Open(must bool, logger *zap.Logger) (queue.Engine, error) {
	engine, err := s.Store.Open(must, logger)
	return goneEngine{engine}, err
}

type goneEngine struct{ queue.Engine }

func (goneEngine) Backlog(context.Context) ([]queue.Backlog, error) {
	return nil, fmt.Errorf("%w: no connection", queue.ErrUnavailable)
}

// TestStatusWithoutTheStorage: a queue that was open and cannot be reached is told of,
// with all that is known without it.
func TestStatusWithoutTheStorage(t *testing.T) {
	runtime, err := relay.Open(goneStore{sqlite.Store{Dir: t.TempDir()}}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Close() })
	relaytest.Push(t, runtime, relaytest.Configuration(relaytest.NewService(t), "/record"))
	status, err := StatusOf(t.Context(), runtime)
	if err != nil || len(status.Troubles) != 1 || status.Troubles[0].Kind != queue.TroubleUnavailable || !status.Troubles[0].Refusing ||
		!strings.Contains(status.Troubles[0].Message, "no connection") || status.Queue.Dir == "" || status.Backlog == nil {
		t.Errorf("the status is %+v, %v", status, err)
	}
}
