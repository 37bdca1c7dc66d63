package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// TestBacklogIsSampled: the charts of a backlog are made of samples, one a
// minute.
func TestBacklogIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runtime := openRuntime(t, t.TempDir())
		generation := push(t, runtime, ownConfiguration("http://127.0.0.1:1", "http://127.0.0.1:1"))
		if _, err := runtime.Turn(t.Context(), queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		happen(t, runtime, generation, "job_saved", `{}`)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		series, err := runtime.Store().Series(t.Context(), began, time.Now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		sampled := 0
		for _, point := range series.Points {
			if point.Backlog["record"].Count == 1 {
				sampled++
			}
		}
		if sampled < 8 {
			t.Errorf("of ten minutes, %d have a sample of what waits", sampled)
		}
	})
}
